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

"""Constraints on properties of containers."""

from __future__ import annotations

import re
from typing import Any

from heat.engine import constraints


class _Pattern(constraints.BaseCustomConstraint):
    """A value is of a form that a pattern tells."""

    pattern: re.Pattern[str]

    def validate(self, value: Any, context: Any, template: Any = None
                 ) -> bool:
        return bool(self.pattern.fullmatch(str(value)))

    def error(self, value: Any) -> str:
        return f'{value!r} is {self.message}'


class DurationConstraint(_Pattern):
    """A duration as Compose writes it: ``1m30s``, ``500ms``."""

    message = 'not a duration such as 1m30s or 500ms'
    pattern = re.compile(
        r'(?=.)(\d+h)?(\d+m(?!s))?(\d+(\.\d+)?s)?(\d+ms)?(\d+us)?')


class SizeConstraint(_Pattern):
    """A size as Compose writes it: ``64m``, ``1gb``, or bytes."""

    message = 'not a size such as 64m or 1gb'
    pattern = re.compile(r'\d{1,18}(\.\d{1,9})?\s*([kmgtp]i?b?|b)?', re.I)


class EnvironmentNameConstraint(_Pattern):
    """The name of an environment variable."""

    message = 'not the name of an environment variable'
    pattern = re.compile(r'[^=\x00-\x1f\x7f]{1,256}')


class PortConstraint(_Pattern):
    """A port or a range of them: ``80``, ``53/udp``, ``7000-7010/tcp``."""

    message = 'not a port such as 80, 53/udp or 7000-7010/tcp'
    pattern = re.compile(r'\d{1,5}(-\d{1,5})?(/(tcp|udp|sctp))?')

    def validate(self, value: Any, context: Any, template: Any = None
                 ) -> bool:
        if not super().validate(value, context, template):
            return False
        ports = [int(port) for port in str(value).split('/')[0].split('-')]
        return ports == sorted(ports) and all(
            0 < port < 65536 for port in ports)


_HOST = (r'(localhost|[a-z0-9-]+(\.[a-z0-9-]+)+|[a-z0-9.-]+(?=:)'
         r'|\[[0-9a-f:]+\])(:\d{1,5})?')
_NAME = r'[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*'


class ImageReferenceConstraint(_Pattern):
    """A reference to an image in a registry.

    ``host/path/name``, with a tag or a digest or both; the host has to be
    named.
    """

    message = ('not a reference with a registry, such as '
               'registry.example.org/team/web:1')
    pattern = re.compile(
        rf'(?=.{{1,255}}$){_HOST}/{_NAME}(/{_NAME})*'
        r'(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?')
