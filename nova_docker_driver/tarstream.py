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

"""Finds the members of a tar archive in pieces of any size. Pure.

The caller pushes bytes and is told of members and of their content. Nothing
is held but one header: an archive of any size passes through, and one that
claims a name of a gigabyte is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
import dataclasses
import re
import tarfile
from typing import Literal, TypeAlias

from nova_docker_driver import errors

BLOCK = 512

#: No honest set of attributes, and no honest name, is longer.
_EXTENSION_LIMIT = 256 * 1024
_NAME_LIMIT = 4096

_DIGITS = re.compile(r'[0-9]{1,19}')

Kind: TypeAlias = Literal['file', 'directory', 'symlink', 'hardlink',
                          'device', 'fifo']

_KINDS: dict[bytes, Kind] = {
    tarfile.REGTYPE: 'file', tarfile.AREGTYPE: 'file',
    tarfile.DIRTYPE: 'directory', tarfile.SYMTYPE: 'symlink',
    tarfile.LNKTYPE: 'hardlink', tarfile.CHRTYPE: 'device',
    tarfile.BLKTYPE: 'device', tarfile.FIFOTYPE: 'fifo'}


#: Attributes that change what a header says.
_TOLD = ('path', 'linkpath', 'size')

#: Of a header: where its format is told, and the beginning of a long name,
#: which one format alone has there.
_MAGIC, _PREFIX = slice(257, 263), 345


@dataclasses.dataclass(frozen=True)
class Member:
    """What a header says."""

    name: str
    kind: Kind
    #: Bytes of content that follow.
    size: int
    #: Where a link leads.
    target: str


#: A header, a piece of the content of its member, or the content's end.
Found: TypeAlias = 'Member | memoryview | None'


class Scanner:
    """Knows where in an archive the next byte belongs."""

    def __init__(self) -> None:
        #: Headers seen so far, of members and of their extensions.
        self.headers = 0
        self._part = b''
        self._left = 0
        self._gap = 0
        self._in_member = False
        #: The kind of extension whose content is being collected.
        self._extension = b''
        self._extended: dict[str, str] = {}
        self._empty_blocks = 0

    def feed(self, piece: bytes | memoryview) -> Iterator[Found]:
        """What is in the next bytes of the archive.

        After each member comes its content, in pieces, and then None.

        :raises InvalidImage: if this is no tar, or not one that is told alike
            by all who read it
        """
        view = memoryview(piece)
        at = 0
        while at < len(view):
            if self._left:
                taken = min(self._left, len(view) - at)
                yield from self._take(view[at:at + taken])
                at += taken
            elif self._gap:
                taken = min(self._gap, len(view) - at)
                self._gap -= taken
                at += taken
            elif self._empty_blocks == 2:
                # Tools fill up the last record; nobody reads on.
                return
            else:
                taken = min(BLOCK - len(self._part), len(view) - at)
                self._part += view[at:at + taken]
                at += taken
                if len(self._part) == BLOCK:
                    yield from self._header()

    def finish(self) -> None:
        """:raises InvalidImage: if the archive ends in the middle"""
        if self._left or self._gap or self._part or self._extended:
            raise errors.InvalidImage('it ends in the middle')
        if not self.headers and not self._empty_blocks:
            raise errors.InvalidImage('it is not a tar archive')

    def _take(self, content: memoryview) -> Iterator[Found]:
        self._left -= len(content)
        if self._extension:
            self._part += content
            if not self._left:
                self._extend()
            return
        yield content
        if not self._left:
            yield None

    def _header(self) -> Iterator[Found]:
        block, self._part = self._part, b''
        if not any(block):
            self._empty_blocks += 1
            return
        if self._empty_blocks:
            raise errors.InvalidImage('it goes on after its end')
        self.headers += 1
        try:
            info = tarfile.TarInfo.frombuf(block, 'utf-8', 'surrogateescape')
        except (tarfile.HeaderError, ValueError) as error:
            raise errors.InvalidImage(
                f'it is not a tar archive: {error}') from error
        if block[_PREFIX] and block[_MAGIC] != b'ustar\0':
            raise errors.InvalidImage('it has a name that readers differ in')
        if info.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
                         tarfile.XHDTYPE, tarfile.XGLTYPE):
            self._begin_extension(info)
        else:
            yield from self._begin_member(info)

    def _begin_extension(self, info: tarfile.TarInfo) -> None:
        if not 0 < info.size <= _EXTENSION_LIMIT:
            raise errors.InvalidImage(
                f'it has a name or attributes of {info.size} bytes')
        self._extension = info.type
        self._left, self._gap = info.size, -info.size % BLOCK

    def _extend(self) -> None:
        content, self._part = self._part, b''
        kind, self._extension = self._extension, b''
        if kind == tarfile.GNUTYPE_LONGNAME:
            found = {'path': _text(content.partition(b'\0')[0])}
        elif kind == tarfile.GNUTYPE_LONGLINK:
            found = {'linkpath': _text(content.partition(b'\0')[0])}
        else:
            found = _attributes(content)
        told = {key: found[key] for key in _TOLD if key in found}
        if kind == tarfile.XGLTYPE and told:
            # Some readers apply it to all that follows, others do not.
            raise errors.InvalidImage('it names all of its members at once')
        if any(not value or key in self._extended
               for key, value in told.items()):
            # Readers differ in what they make of it.
            raise errors.InvalidImage(
                'it tells a name, a link or a size twice, or not at all')
        if kind != tarfile.XGLTYPE:
            self._extended.update(found)

    def _begin_member(self, info: tarfile.TarInfo) -> Iterator[Found]:
        extended, self._extended = self._extended, {}
        name = extended.get('path', info.name)
        kind = _KINDS.get(info.type)
        if kind is None or any(key.startswith('GNU.sparse')
                               for key in extended):
            # A sparse file is a few bytes that stand for any number.
            raise errors.InvalidImage(
                f'{shown(name)} is neither a plain file nor a directory, '
                'a link or a device')
        if kind == 'file' and name.endswith('/'):
            # As the oldest of archives wrote it; others do not agree.
            raise errors.InvalidImage(
                f'{shown(name)} is a file and a directory')
        target = extended.get('linkpath', info.linkname)
        if len(name) > _NAME_LIMIT or len(target) > _NAME_LIMIT:
            raise errors.InvalidImage(
                f'{shown(name)} ... has a name that is too long')
        size = _size(extended.get('size'), info.size)
        if kind != 'file':
            # No reader looks for content there, whatever the header says.
            size = 0
        self._left, self._gap = size, -size % BLOCK
        yield Member(name, kind, size, target)
        if not size:
            yield None


def _size(extended: str | None, plain: int) -> int:
    if extended is not None and not _DIGITS.fullmatch(extended):
        size = -1
    else:
        size = plain if extended is None else int(extended)
    if size < 0:
        raise errors.InvalidImage('it has a member of a size that is no size')
    return size


def shown(name: str) -> str:
    """A name of a tenant's, as it can be written anywhere."""
    return ascii(name[:255])


def _text(content: bytes) -> str:
    return content.decode('utf-8', 'surrogateescape')


def _attributes(content: bytes) -> dict[str, str]:
    """Records of the form ``LENGTH KEY=VALUE\\n``."""
    found: dict[str, str] = {}
    at = 0
    while at < len(content):
        length, space, _ = content[at:at + 21].partition(b' ')
        if not space or not length.isdigit():
            raise errors.InvalidImage('it has attributes that are broken')
        end = at + int(length)
        key, equals, value = content[at + len(length) + 1:end - 1].partition(
            b'=')
        if not equals or end > len(content) or content[end - 1:end] != b'\n':
            raise errors.InvalidImage('it has attributes that are broken')
        if _text(key) in found:
            raise errors.InvalidImage('it has an attribute twice')
        found[_text(key)] = _text(value)
        at = end
    return found
