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

from collections.abc import Mapping
from typing import Any

import yaml

from heat_plugins.compose import models

#: Characters; Heat bounds the whole request anyway.
_MOST = 2 ** 20


def load(text: str) -> dict[str, Any]:
    """The document that a text is.

    :raises Refused: if it is none, or refers to parts of itself: a short text
                     could be a huge document then
    """
    if len(text) > _MOST:
        raise models.Refused([models.Problem('', 'is longer than 1 MiB')])
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise models.Refused([models.Problem(
                    f'alias {event.anchor}', models.NORMALISE)])
        document = yaml.load(text, Loader=yaml.CSafeLoader)  # noqa: S506
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, models.Refused):
            raise
        raise models.Refused([models.Problem(
            '', f'is no YAML: {str(error)[:200]}')]) from error
    if not isinstance(document, dict):
        raise models.Refused([models.Problem('', 'is no mapping')])
    return document


def contents(given: Mapping[str, Any], escaped: bool = False
             ) -> dict[str, Any]:
    """Definitions of configs or secrets by their contents.

    :param escaped: as a Compose file writes a dollar
    """
    return {name: {'content': str(content).replace('$', '$$') if escaped
                   else str(content)} for name, content in given.items()}


def completed(document: Mapping[str, Any],
              given: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A document with contents that came beside it, by kind and name.

    :raises Refused: if it has something else in their place
    """
    found = dict(document)
    for kind, definitions in given.items():
        there = found.get(kind) or {}
        if not isinstance(there, dict):
            raise models.Refused([models.Problem(kind, models.NORMALISE)])
        found[kind] = {**there, **contents(definitions, escaped=True)}
    return found
