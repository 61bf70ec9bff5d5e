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

"""Inspects and rewrites an image archive while it streams by.

An archive comes in as chunks, of ``docker save`` or in the OCI layout, as a
whole compressed or not. It goes out as chunks that the Engine loads, and is
never held: constant memory, no file. On the way every member is checked, and
every layer is looked into. What describes the image is kept back and written
anew at the end, so that the Engine can do nothing with the rest before all of
it has passed; only the layers go through as they are.

Pure: chunks in, chunks out. A refused archive raises InvalidImage.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
import json
import posixpath
import tarfile

from nova_docker_driver import errors
from nova_docker_driver import imageconfig
from nova_docker_driver import imagedocs
from nova_docker_driver import imagemodels
from nova_docker_driver import layers
from nova_docker_driver import tarstream
from nova_docker_driver import unpacking

#: Bytes of documents that are remembered until the end, all together.
_DOCUMENTS_LIMIT = 8 * 1024 * 1024

_ROOTFS = 'layer-0.tar'

_JSON_SPACE = b' \t\r\n'


def rewrite(chunks: Iterable[bytes], terms: imagemodels.Terms,
            verdict: imagemodels.Verdict) -> Iterator[bytes | memoryview]:
    """The archive with our tag, and our words about it, instead of its own.

    :param chunks: the bytes of a docker-save tar or of an OCI layout
    :param verdict: is filled in once the last chunk was taken
    :raises InvalidImage: with a reason that a tenant understands
    """
    inspector = _Inspector(terms)
    unpacker, scanner = unpacking.Unpacker(terms.bounds), tarstream.Scanner()
    whole = layers.Budget(terms.bounds)
    for chunk in chunks:
        for plain in unpacker.feed(chunk):
            whole.spend(size=len(plain))
            for found in scanner.feed(plain):
                yield from inspector.take(found)
    for plain in unpacker.finish():
        for found in scanner.feed(plain):
            yield from inspector.take(found)
    scanner.finish()
    yield from inspector.conclude(verdict)


def rewrite_rootfs(chunks: Iterable[bytes], size: int,
                   terms: imagemodels.Terms, verdict: imagemodels.Verdict
                   ) -> Iterator[bytes | memoryview]:
    """The archive of an image that has these files and no description.

    :param chunks: the bytes of a root file system's tar
    :param size: how many they are
    """
    layer = _LayerMember(_ROOTFS, size, terms.bounds,
                         layers.Budget(terms.bounds))
    for chunk in chunks:
        yield from layer.feed(chunk)
    report = yield from layer.finish()
    configuration = imageconfig.described((report.diff_id,), terms)
    yield from _description(configuration, [_ROOTFS], terms)
    verdict.image_id, verdict.size = configuration.digest, report.size
    verdict.architecture = configuration.architecture


class _Inspector:
    """Judges the members one by one and remembers what the end needs."""

    def __init__(self, terms: imagemodels.Terms) -> None:
        self._terms = terms
        self._budget = layers.Budget(terms.bounds)
        self._seen: set[str] = set()
        self._documents: dict[str, bytes] = {}
        #: Bytes of documents and of names, all together.
        self._held = 0
        #: Under which name a layer goes on: never under the tenant's, which
        #: may mean something to an Engine.
        self._outgoing: dict[str, str] = {}
        self._layers: dict[str, imagemodels.LayerReport] = {}
        #: A layer that is there already is a link to its first place.
        self._links: dict[str, str] = {}
        self._name = ''
        self._size = 0
        #: The first bytes of a member, until it is known what it is.
        self._head: bytes | None = None
        self._document = False
        self._layer: _LayerMember | None = None

    def take(self, found: tarstream.Found) -> Iterator[bytes | memoryview]:
        """What of a member, or of its content, goes on to the Engine."""
        if isinstance(found, tarstream.Member):
            self._begin(found)
        elif found is None:
            yield from self._end()
        elif self._head is not None:
            self._head += found
            if len(self._head) >= tarstream.BLOCK:
                yield from self._decide()
        elif self._layer is not None:
            yield from self._layer.feed(found)
        elif self._document:
            self._documents[self._name] += bytes(found)

    def _begin(self, member: tarstream.Member) -> None:
        self._budget.spend(members=1)
        name = _safe_name(member.name)
        if name in self._seen:
            raise errors.InvalidImage(
                f'{tarstream.shown(name)} is in it twice')
        self._seen.add(name)
        self._held += len(name) + len(member.target)
        if self._held > _DOCUMENTS_LIMIT:
            raise errors.InvalidImage('its names and documents are too long')
        self._name, self._size = name, member.size
        self._layer, self._document = None, False
        if member.kind == 'symlink':
            self._links[name] = _target(name, member.target)
            if len(self._links) > self._terms.bounds.layers:
                raise errors.InvalidImage('it has more links than layers')
        elif member.kind == 'file':
            self._head = b''
        elif member.kind != 'directory':
            raise errors.InvalidImage(
                f'{tarstream.shown(name)} is neither a plain file nor a '
                'directory')

    def _decide(self) -> Iterator[bytes | memoryview]:
        """What the member is, by how it begins."""
        head, self._head = self._head or b'', None
        if head.lstrip(_JSON_SPACE)[:1] in (b'{', b'['):
            self._remember(head)
        elif layers.is_layer(head):
            outgoing = f'layer-{len(self._outgoing)}.tar'
            self._outgoing[self._name] = outgoing
            self._layer = _LayerMember(outgoing, self._size,
                                       self._terms.bounds, self._budget)
            yield from self._layer.feed(head)
        # Anything else is no part of an image and goes no further.

    def _remember(self, head: bytes) -> None:
        bounds = self._terms.bounds
        if self._size > bounds.manifest_size or (
                self._held + self._size > _DOCUMENTS_LIMIT):
            if self._name in (imagedocs.MANIFEST, imagedocs.INDEX):
                raise errors.InvalidImage(
                    f'{self._name} is larger than {bounds.manifest_size} '
                    'bytes')
            # A bill of materials may be: nobody asks for it here.
            return
        self._held += self._size
        self._document, self._documents[self._name] = True, head

    def _end(self) -> Iterator[bytes | memoryview]:
        if self._head is not None:
            yield from self._decide()
        if self._layer is not None:
            self._layers[self._name] = yield from self._layer.finish()

    def conclude(self, verdict: imagemodels.Verdict
                 ) -> Iterator[bytes | memoryview]:
        """What describes the image, and the archive's end."""
        for name in self._links:
            self._resolved(name)
        choice = imagedocs.choose(self._documents, self._terms.architecture)
        if choice.config not in self._documents:
            raise errors.InvalidImage(
                'its manifest names a configuration that it does not hold, '
                'or one that is too large')
        content = self._documents[choice.config]
        if len(content) > self._terms.bounds.config_size:
            raise errors.InvalidImage(
                'its configuration is larger than '
                f'{self._terms.bounds.config_size} bytes')
        configuration = imageconfig.rewritten(content, self._terms)
        names = self._checked_layers(choice.layers, configuration.diff_ids)
        yield from _description(
            configuration, [self._outgoing.get(name, f'base-{position}.tar')
                            for position, name in enumerate(names)],
            self._terms)
        verdict.image_id = configuration.digest
        verdict.architecture = configuration.architecture
        verdict.size = sum(self._layers[name].size for name in names
                           if name in self._layers)

    def _checked_layers(self, wanted: tuple[str, ...],
                        diff_ids: tuple[str, ...]) -> list[str]:
        """The layers' names, where each is what the configuration says.

        The Engine does not look at a layer that it has already. Without this
        an archive could name layers that are somebody else's, and get them.
        """
        if len(wanted) != len(diff_ids):
            raise errors.InvalidImage(
                f'it has {len(wanted)} layers and describes {len(diff_ids)}')
        if len(wanted) > self._terms.bounds.layers:
            raise errors.InvalidImage(
                f'it has {len(wanted)} layers and may have '
                f'{self._terms.bounds.layers}')
        names = [self._resolved(name) for name in wanted]
        base = self._terms.base
        shared = len(base) if base and diff_ids[:len(base)] == base else 0
        for position, (name, diff_id) in enumerate(zip(
                names, diff_ids, strict=True)):
            report = self._layers.get(name)
            if report is None and position < shared:
                continue
            if report is None:
                raise errors.InvalidImage(
                    'its manifest names a layer that it does not hold, or '
                    f'that is none: {tarstream.shown(name)}')
            if report.diff_id != diff_id:
                raise errors.InvalidImage(
                    f'the content of layer {position + 1} is not the one '
                    'that its configuration names')
        return names

    def _resolved(self, name: str) -> str:
        """The layer that a name stands for, also through links."""
        target = name
        for _ in range(len(self._links) + 1):
            if target not in self._links:
                break
            target = self._links[target]
        if name in self._links and target not in self._layers:
            raise errors.InvalidImage(
                f'{tarstream.shown(name)} is a link that leads to no layer '
                'of it')
        return target


class _LayerMember:
    """A layer on its way from one archive to another."""

    def __init__(self, name: str, size: int,
                 bounds: imagemodels.ImageBounds, budget: layers.Budget
                 ) -> None:
        self._layer = layers.Layer(bounds, budget)
        self._name = name
        #: What the member's header says; differs from what comes in where it
        #: goes on unpacked.
        self._size = size
        self._given = -1
        self._unpacked = False

    def feed(self, piece: bytes | memoryview
             ) -> Iterator[bytes | memoryview]:
        if self._given < 0:
            self._given = 0
            declared = None
            if unpacking.compression(piece) == 'zstd':
                # Older Engines do not know it.
                declared = unpacking.declared_size(piece)
            if declared is not None:
                self._size, self._unpacked = declared, True
            yield header(self._name, self._size)
        for part in self._layer.feed(piece):
            if self._unpacked:
                yield self._counted(part)
        if not self._unpacked:
            yield self._counted(piece)

    def _counted(self, part: bytes | memoryview) -> bytes | memoryview:
        self._given += len(part)
        if self._given > self._size:
            raise errors.InvalidImage(f'{self._name} is larger than it says')
        return part

    def finish(self) -> Generator[bytes, None, imagemodels.LayerReport]:
        report = self._layer.finish()
        if self._given != self._size:
            raise errors.InvalidImage(f'{self._name} is smaller than it says')
        yield padding(self._size)
        return report


def _description(configuration: imagemodels.Configuration,
                 names: list[str], terms: imagemodels.Terms
                 ) -> Iterator[bytes]:
    config = configuration.digest.partition(':')[2] + '.json'
    yield from member(config, configuration.content)
    yield from member(imagedocs.MANIFEST, json.dumps([{
        'Config': config, 'RepoTags': [terms.tag], 'Layers': names,
    }]).encode())
    yield bytes(2 * tarstream.BLOCK)


def _safe_name(name: str) -> str:
    if name.startswith('/') or '..' in name.split('/') or '\0' in name:
        raise errors.InvalidImage(
            f'{tarstream.shown(name)} leads out of the archive')
    return imagedocs.plain_name(name)


def _target(name: str, target: str) -> str:
    found = posixpath.normpath(posixpath.join(posixpath.dirname(name),
                                              target))
    if found.startswith(('/', '../')) or found == '..':
        raise errors.InvalidImage(
            f'{tarstream.shown(name)} is a link that leads out of the '
            'archive')
    return found


def member(name: str, content: bytes) -> Iterator[bytes]:
    """A whole member of a tar archive."""
    yield header(name, len(content))
    yield content
    yield padding(len(content))


def header(name: str, size: int) -> bytes:
    """The header of a plain file in a tar archive."""
    # Written anew: owner, times and extensions of the tenant's go no further.
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def padding(size: int) -> bytes:
    """What fills up the last block of a content."""
    return bytes(-size % tarstream.BLOCK)
