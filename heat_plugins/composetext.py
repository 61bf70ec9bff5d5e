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

"""The text of a Compose file in the normalised form: pure functions."""

from __future__ import annotations

from typing import Any

import yaml

from heat_plugins import compose

#: Characters; Heat bounds the whole request anyway.
_MOST = 2 ** 20


def load(text: str) -> dict[str, Any]:
    """The document that a text is.

    :raises Refused: if it is none, or refers to parts of itself: a short text
                     could be a huge document then
    """
    if len(text) > _MOST:
        raise compose.Refused([compose.Problem('', 'is longer than 1 MiB')])
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise compose.Refused([compose.Problem(
                    f'alias {event.anchor}', compose.NORMALISE)])
        document = yaml.load(text, Loader=yaml.CSafeLoader)  # noqa: S506
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, compose.Refused):
            raise
        raise compose.Refused([compose.Problem(
            '', f'is no YAML: {str(error)[:200]}')]) from error
    if not isinstance(document, dict):
        raise compose.Refused([compose.Problem('', 'is no mapping')])
    return document
