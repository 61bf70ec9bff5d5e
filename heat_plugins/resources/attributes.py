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

"""What a container tells about itself, beside what every server does."""

from __future__ import annotations

from typing import Any

from heat_plugins import translate

_IN_METADATA = {'health': translate.HEALTH, 'spec_digest': translate.SPEC_KEY,
                'image_digest': translate.IMAGE_DIGEST}


def live(name: str, found: Any, plugin: Any) -> Any:
    """The value of an attribute, as Nova tells it now.

    :param name: one of ``schemas.ATTRIBUTES`` that Nova's server has not
    :param found: the server, of novaclient
    :param plugin: the client plugin that reads its log
    """
    match name:
        case 'status':
            return found.status
        case 'exit_code':
            return translate.exit_code(found.metadata)
        case 'logs':
            return plugin.logs(found)
        case 'logs_tail':
            return plugin.logs(found, 5)
        case 'started_at':
            return getattr(found, 'OS-SRV-USG:launched_at', None)
    return found.metadata.get(_IN_METADATA[name])
