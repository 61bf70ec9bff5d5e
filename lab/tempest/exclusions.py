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

"""Which tests are left out, why, and which of those that run were skipped.

Nothing is left out that a container could have. What the driver cannot do yet
is switched off in tempest.conf by the support matrix, and Tempest skips it.
"""

from __future__ import annotations

from collections import abc
import dataclasses
from pathlib import Path
import re
from typing import Any

import yaml

FILE = Path(__file__).with_name('exclusions.yaml')


@dataclasses.dataclass(frozen=True)
class Exclusion:
    """Tests that ask for what a container has not."""

    #: A regular expression that their ids begin with.
    tests: str
    reason: str
    #: Of the support matrix; it must be missing there. None: see the reason.
    feature: str = ''


def read(path: Path = FILE) -> tuple[Exclusion, ...]:
    """Those of a file.

    :raises TypeError: if an entry has other keys
    """
    return tuple(Exclusion(**entry)
                 for entry in yaml.safe_load(path.read_text()))


def stale(exclusions: abc.Sequence[Exclusion],
          tests: abc.Collection[str], matrix: abc.Sequence[dict[str, Any]]
          ) -> list[str]:
    """What is wrong with them: no reason any more, or no such test."""
    status = {row['feature']: row['status'] for row in matrix}
    found = []
    for one in exclusions:
        if not any(re.match(one.tests, test) for test in tests):
            found.append(f'{one.tests}: there is no such test')
        if one.feature and status.get(one.feature) != 'missing':
            found.append(f'{one.tests}: {one.feature} is not missing')
    return found


def excluded(exclusions: abc.Sequence[Exclusion],
             tests: abc.Iterable[str]) -> dict[str, str]:
    """Id of each test that is left out to the reason."""
    found = {}
    for test in tests:
        for one in exclusions:
            if re.match(one.tests, test):
                found[test] = one.reason
                break
    return found
