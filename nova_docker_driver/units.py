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

"""Compose's way to write durations, sizes and signals. Pure.

Each function raises ValueError with a reason that does not repeat the input:
what a tenant wrote may be secret.
"""

from __future__ import annotations

import re
import signal

from nova_docker_driver import models

_DURATION = re.compile(
    r'(?=.)(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m(?!s))?'
    r'(?:(?P<s>\d+(?:\.\d+)?)s)?(?:(?P<ms>\d+)ms)?(?:(?P<us>\d+)us)?',
    re.ASCII)
_UNITS = {'h': 3600 * models.SECOND, 'm': 60 * models.SECOND,
          's': models.SECOND, 'ms': models.SECOND // 1000,
          'us': models.SECOND // 1_000_000}

_SIZE = re.compile(r'(\d+)(b|kb?|mb?|gb?)?', re.ASCII | re.IGNORECASE)
_FACTORS = {'b': 1, 'k': 1024, 'm': 1024 ** 2, 'g': 1024 ** 3}

#: What the Engine stores in 64 bits, less than it could hold.
_LARGEST = 2 ** 62


def duration(text: str) -> int:
    """Nanoseconds of a duration such as ``1m30s``."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError('not a duration such as 1m30s')
    found = int(sum(float(number) * _UNITS[unit]
                    for unit, number in match.groupdict().items()
                    if number is not None))
    if found > _LARGEST:
        raise ValueError('too long a duration')
    return found


def size(value: str | int) -> int:
    """Bytes of a size such as ``64m``; a bare number is bytes."""
    match = _SIZE.fullmatch(str(value))
    if match is None:
        raise ValueError('not a size such as 64m')
    found = int(match[1]) * _FACTORS[(match[2] or 'b')[0].lower()]
    if found > _LARGEST:
        raise ValueError('too large a size')
    return found


def signal_name(value: str | int) -> str:
    """The name of a signal that was given by number or by name."""
    text = str(value).upper()
    try:
        if text.isascii() and text.isdigit():
            return signal.Signals(int(text)).name
        return signal.Signals['SIG' + text.removeprefix('SIG')].name
    except (KeyError, ValueError):
        raise ValueError('not a signal such as SIGTERM') from None
