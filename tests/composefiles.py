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

"""Compose files of realistic shapes, and what is expected of each.

The first lines of a file may say so: ``# refused:`` and the keys that are,
``# publish:`` and the choice that it needs.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

ROOT = Path(__file__).parent / 'compose'


@dataclasses.dataclass(frozen=True)
class Sample:
    """One file."""

    name: str
    path: Path
    refused: frozenset[str] = frozenset()
    publish: str = 'floating_ip'


def samples() -> list[Sample]:
    """All of them."""
    return [_sample(path) for path in sorted(ROOT.glob('*/compose.yaml'))]


def _sample(path: Path) -> Sample:
    notes = dict(
        line[2:].split(': ', 1) for line in path.read_text().splitlines()
        if line.startswith(('# refused: ', '# publish: ')))
    return Sample(path.parent.name, path,
                  frozenset(notes.get('refused', '').split()),
                  notes.get('publish', 'floating_ip').replace('-', '_'))
