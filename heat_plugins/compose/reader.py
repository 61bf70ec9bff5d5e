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

"""Values of a document, each checked when it is taken."""

from __future__ import annotations

from collections.abc import Mapping
import math
import re
import shlex
from typing import Any

from heat_plugins.compose import models

MIB = 2 ** 20
_LARGEST = 2 ** 31
_MOST_NODES = 50_000
_DEEPEST = 30

_UNITS = {'': 1, 'k': 2 ** 10, 'm': 2 ** 20, 'g': 2 ** 30, 't': 2 ** 40}
_SIZE = re.compile(r'(\d{1,15}(?:\.\d{1,9})?)\s*([kmgt]?)i?b?', re.I)
_DURATION = re.compile(
    r'(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?')
_VARIABLE = re.compile(r'\$(?:\$|[A-Za-z_]|\{)')


class Reading:
    """One document: its values, checked, and all that is wrong with them."""

    def __init__(self, document: Mapping[str, Any], escaped: bool) -> None:
        """:param escaped: ``$$`` stands for ``$``, as in a Compose file"""
        self.problems: list[models.Problem] = []
        self.secrets: dict[str, str] = {}
        self._escaped = escaped
        self._nodes = 0
        self.document = self._plain(document, '')

    def refuse(self, where: str, reason: str) -> None:
        """Goes on, to tell of everything at once."""
        self.problems.append(models.Problem(where, reason))

    def _plain(self, value: Any, where: str, depth: int = 0) -> Any:
        """Without the escapes of a Compose file."""
        self._nodes += 1
        if self._nodes > _MOST_NODES or depth > _DEEPEST:
            # Parts that refer to each other can be more than they look.
            raise models.Refused(
                [models.Problem(where, 'the document is too large')])
        if isinstance(value, Mapping):
            return {str(key): self._plain(entry, f'{where}.{key}'.strip('.'),
                                          depth + 1)
                    for key, entry in value.items()}
        if isinstance(value, list):
            return [self._plain(entry, where, depth + 1) for entry in value]
        if isinstance(value, str) and self._escaped:
            for found in _VARIABLE.finditer(value):
                if found.group() != '$$':
                    self.refuse(where, 'has a variable; ' + models.NORMALISE)
                    break
            return value.replace('$$', '$')
        return value

    def mapping(self, value: Any, where: str) -> Mapping[str, Any]:
        """The value, if it is one."""
        if isinstance(value, Mapping):
            return value
        self.refuse(where, models.NORMALISE)
        return {}

    def child(self, parent: Mapping[str, Any], key: str, where: str = ''
              ) -> Mapping[str, Any]:
        """The mapping under a key, if there is one."""
        return self.mapping(parent.get(key) or {},
                            f'{where}.{key}'.strip('.'))

    def sequence(self, value: Any, where: str) -> list[Any]:
        """The value, if it is a list; nothing is an empty one."""
        if value is None:
            return []
        if isinstance(value, list):
            return value
        self.refuse(where, models.NORMALISE)
        return []

    def pairs(self, value: Any, where: str) -> dict[str, Any]:
        """A mapping, or a list of name=value."""
        if isinstance(value, list):
            parts = [str(entry).partition('=') for entry in value]
            return {name: entry if equals else None
                    for name, equals, entry in parts}
        return dict(self.mapping(value, where))

    def words(self, value: Any, where: str) -> list[str]:
        """The words of a command, or of a line for a shell."""
        if isinstance(value, str):
            try:
                return shlex.split(value)
            except ValueError as error:
                self.refuse(where, str(error))
                return []
        return [str(word) for word in self.sequence(value, where)]

    def mebibytes(self, value: Any, where: str) -> int:
        """MiB of a size, rounded up."""
        found = _SIZE.fullmatch(str(value).strip())
        if not found:
            self.refuse(where, f'{value!r} is not a size')
            return 0
        return math.ceil(float(found.group(1))
                         * _UNITS[found.group(2).lower()] / MIB)

    def seconds(self, value: Any, where: str) -> int:
        """Seconds of a duration, rounded up."""
        found = _DURATION.fullmatch(str(value))
        if not found or not value:
            self.refuse(where, f'{value!r} is not a duration')
            return 0
        hours, minutes, seconds, milliseconds = (
            float(part or 0) for part in found.groups())
        return math.ceil(hours * 3600 + minutes * 60 + seconds
                         + milliseconds / 1000)

    def number(self, value: Any, where: str) -> float:
        """A number that can be: 0 or more, and no wonder."""
        try:
            found = float(value)
            if 0 <= found <= _LARGEST:
                return found
        except (TypeError, ValueError, OverflowError):
            pass
        self.refuse(where, f'{value!r} is not a number that can be')
        return 0
