# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Validators of the flavor extra specs ``docker:*``.

nova-api loads this module and nothing else of ours. With it, a mistyped key
is a 400 when the flavor is made, not a limit that is silently missing later.
"""

from __future__ import annotations

from nova.api.validation.extra_specs import base


def register() -> list[base.ExtraSpecValidator]:
    """The validators, as nova-api's plug-in loader wants them."""
    return [
        base.ExtraSpecValidator(
            name='docker:pids_limit',
            description=(
                'The number of processes and threads that a server may have '
                'at once. Defaults to [docker] pids_limit.'),
            value={'type': int, 'min': 1, 'max': 4194304}),
    ]
