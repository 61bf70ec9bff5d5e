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

"""What the documentation tells its readers to write and to run."""

from __future__ import annotations

from collections.abc import Iterator
import dataclasses
from pathlib import Path
import re

PAGES = Path(__file__).parents[2] / 'doc/source'

_BLOCK = re.compile(
    r'^\.\. code-block:: (?P<kind>\w+)\n(?P<options>(?:   :.*\n)*)\n'
    r'(?P<text>(?:(?:   .*)?\n)+)', re.MULTILINE)
_CAPTION = re.compile(r':caption: (\S+)')


@dataclasses.dataclass(frozen=True)
class Block:
    """A literal block of a page."""

    #: console: commands that are run; others are not.
    kind: str
    #: The file that it is, or empty.
    name: str
    text: str


def blocks(page: str) -> Iterator[Block]:
    """The literal blocks of a page, in their order."""
    for match in _BLOCK.finditer((PAGES / f'{page}.rst').read_text()):
        caption = _CAPTION.search(match['options'])
        text = re.sub('^   ', '', match['text'], flags=re.MULTILINE)
        yield Block(match['kind'], caption[1] if caption else '',
                    text.strip('\n') + '\n')


def pages() -> list[str]:
    """Names of the pages that have commands to run."""
    return sorted(
        path.stem for path in PAGES.glob('*.rst')
        if any(block.kind == 'console' for block in blocks(path.stem)))
