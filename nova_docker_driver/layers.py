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

"""Looks into a layer while it passes. Pure."""

from __future__ import annotations

from collections.abc import Iterator
import hashlib
import posixpath
import tarfile

from nova_docker_driver import errors
from nova_docker_driver import imagemodels
from nova_docker_driver import tarstream
from nova_docker_driver import unpacking

#: Where the kernel's own file systems are mounted: a link there would lead
#: the mount elsewhere.
_KERNELS = frozenset(('dev', 'proc', 'sys'))


class Budget:
    """What all parts of one archive may use together."""

    def __init__(self, bounds: imagemodels.ImageBounds) -> None:
        self._bounds = bounds
        self._size = 0
        self._members = 0

    def spend(self, size: int = 0, members: int = 0) -> None:
        """:raises InvalidImage: if that is more than is left"""
        self._size += size
        self._members += members
        if self._size > self._bounds.size:
            raise errors.InvalidImage(
                f'it is larger than {self._bounds.size} bytes, unpacked')
        if self._members > self._bounds.members:
            raise errors.InvalidImage(
                f'it has more than {self._bounds.members} members')


class Layer:
    """One layer, compressed or not, that comes in pieces."""

    def __init__(self, bounds: imagemodels.ImageBounds,
                 budget: Budget) -> None:
        self._budget = budget
        self._unpacker = unpacking.Unpacker(bounds)
        self._scanner = tarstream.Scanner()
        self._digest = hashlib.sha256()

    def feed(self, piece: bytes | memoryview
             ) -> Iterator[bytes | memoryview]:
        """Takes the next piece; answers what it stands for, unpacked.

        :raises InvalidImage: if no container is to have these files
        """
        for part in self._unpacker.feed(piece):
            self._look(part)
            yield part

    def finish(self) -> imagemodels.LayerReport:
        """What is known of it.

        :raises InvalidImage: if it ends in the middle
        """
        for part in self._unpacker.finish():
            self._look(part)
        self._scanner.finish()
        return imagemodels.LayerReport(
            'sha256:' + self._digest.hexdigest(), self._unpacker.given)

    def _look(self, part: bytes | memoryview) -> None:
        self._digest.update(part)
        self._budget.spend(size=len(part))
        before = self._scanner.headers
        for found in self._scanner.feed(part):
            if isinstance(found, tarstream.Member):
                _judge(found)
        self._budget.spend(members=self._scanner.headers - before)


def is_layer(head: bytes | memoryview) -> bool:
    """Whether what begins so may be a layer.

    :param head: its first 512 bytes, or all of it if it is shorter
    """
    if unpacking.compression(head):
        return True
    if len(head) < tarstream.BLOCK:
        return False
    if not any(head[:tarstream.BLOCK]):
        # Nothing but the end of an archive: a layer without files.
        return True
    try:
        tarfile.TarInfo.frombuf(bytes(head[:tarstream.BLOCK]), 'utf-8',
                                'surrogateescape')
    except (tarfile.HeaderError, ValueError):
        return False
    return True


def _judge(member: tarstream.Member) -> None:
    parts = posixpath.normpath('/' + member.name).strip('/').split('/')
    if '..' in member.name.split('/') or '\0' in member.name:
        raise errors.InvalidImage(
            f'{tarstream.shown(member.name)} leads out of a layer')
    if len(parts) == 1 and parts[0] in _KERNELS and (
            member.kind != 'directory'):
        raise errors.InvalidImage(f'its /{parts[0]} is no directory')
