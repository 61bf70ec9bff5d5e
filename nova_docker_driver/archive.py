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

An archive of ``docker save`` comes in as chunks, goes out as chunks, and is
never held: constant memory, no file. On the way every member is checked, the
tags are replaced by one of ours, and the manifest, without which the Engine
can do nothing with the rest, is kept back until the whole archive has passed
its checksum.

Pure: chunks in, chunks out. A refused archive raises InvalidImage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
import dataclasses
import hashlib
import json
import posixpath
import tarfile
from typing import Any, cast, IO

from nova_docker_driver import errors
from nova_docker_driver import names

_CHUNK = 256 * 1024
_BLOCK = 512

#: No honest configuration, manifest or index is larger.
_DOCUMENT_LIMIT = 1024 * 1024
_MANIFEST = 'manifest.json'
#: Read by the Engine for their tags, or as another image than manifest.json
#: names; not needed beside it.
_DROPPED = frozenset(('repositories', 'index.json', 'oci-layout'))


@dataclasses.dataclass
class Verdict:
    """What is known once the archive has passed."""

    #: ``sha256:...``: the digest of the image's configuration.
    image_id: str = ''


def rewrite(chunks: Iterable[bytes], tag: str, verdict: Verdict,
            checksum: tuple[str, str] | None = None) -> Iterator[bytes]:
    """The archive with our tag instead of its own.

    :param chunks: the bytes of a docker-save tar
    :param tag: the only tag that the image will get
    :param verdict: is filled in once the last chunk was taken
    :param checksum: name of an algorithm of hashlib, and the hex digest that
        the bytes must have
    :raises InvalidImage: with a reason that a tenant understands
    """
    source = _Source(chunks, checksum)
    inspector = _Inspector()
    try:
        with tarfile.open(fileobj=cast(IO[bytes], source),
                          mode='r|') as archive:
            for member in archive:
                yield from inspector.take(archive, member)
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise errors.InvalidImage(
            f'not a tar archive as "docker save" writes it: {error}'
        ) from error
    source.finish()
    manifest, verdict.image_id = inspector.conclude(tag)
    yield from _member(_MANIFEST, manifest)
    yield bytes(2 * _BLOCK)


def _hash(algorithm: str) -> Any:
    try:
        return hashlib.new(algorithm)
    except ValueError:
        raise errors.InvalidImage(
            f'its checksum is of a kind that is not known here: '
            f'{algorithm[:32]}') from None


def published(chunks: Iterable[bytes], settings: Mapping[str, Any]
              ) -> Iterator[bytes]:
    """An archive of the Engine's own with other settings in it.

    What the Engine wrote for older ones is left out: it repeats the settings
    that are replaced.

    :param chunks: of an image that the Engine saves
    :param settings: the ``config`` of the image's configuration
    :raises InvalidImage: if that is no archive
    """
    publisher = _Publisher()
    with tarfile.open(fileobj=cast(IO[bytes], _Source(chunks, None)),
                      mode='r|') as archive:
        for member in archive:
            yield from publisher.take(archive, member)
    yield from publisher.conclude(settings)


class _Publisher:
    """Passes layers on and remembers what describes them."""

    def __init__(self) -> None:
        self._documents: dict[str, bytes] = {}
        #: A layer that is there already is a link to its first place.
        self._links: dict[str, str] = {}

    def take(self, archive: tarfile.TarFile, member: tarfile.TarInfo
             ) -> Iterator[bytes]:
        name = _safe_name(member)
        if member.issym():
            self._links[name] = posixpath.normpath(posixpath.join(
                posixpath.dirname(name), member.linkname))
        elif name == _MANIFEST or name.endswith('.json'):
            self._documents[name] = _document(archive, member)
        elif name.startswith('blobs/') and member.size <= _DOCUMENT_LIMIT:
            # Newer Engines name documents and layers alike.
            content = _document(archive, member)
            if content[:1] == b'{':
                self._documents[name] = content
            else:
                yield from _member(name, content)
        elif name.endswith('.tar') or name.startswith('blobs/'):
            yield _header(name, member.size)
            yield from _content(archive, member)
            yield _padding(member.size)

    def conclude(self, settings: Mapping[str, Any]) -> Iterator[bytes]:
        entry = _only_entry(self._documents.get(_MANIFEST, b''))
        whole = _json(self._documents.get(entry['Config'], b''),
                      'its configuration')
        configuration = json.dumps({
            **{key: whole[key] for key in ('architecture', 'os', 'created',
                                           'rootfs') if key in whole},
            'config': dict(settings),
            'history': _anonymous(whole.get('history') or []),
        }, sort_keys=True).encode()
        name = hashlib.sha256(configuration).hexdigest() + '.json'
        yield from _member(name, configuration)
        yield from _member(_MANIFEST, json.dumps([{
            'Config': name, 'RepoTags': None, 'Layers': [
                self._links.get(layer, layer) for layer in entry['Layers']],
        }]).encode())
        yield bytes(2 * _BLOCK)


def _anonymous(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last step was ours: its words are the server's command."""
    if not history:
        return []
    last = {key: value for key, value in history[-1].items()
            if key in ('created', 'empty_layer')}
    return [*history[:-1], {**last, 'created_by': 'nova snapshot'}]


class _Source:
    """A file object over chunks that hashes what it hands out."""

    def __init__(self, chunks: Iterable[bytes],
                 checksum: tuple[str, str] | None) -> None:
        self._chunks = iter(chunks)
        self._rest = b''
        self._expected = checksum[1] if checksum else None
        self._hash = _hash(checksum[0]) if checksum else None

    def read(self, size: int) -> bytes:
        parts = []
        while size > 0:
            if not self._rest:
                self._rest = self._next()
                if not self._rest:
                    break
            parts.append(self._rest[:size])
            self._rest = self._rest[size:]
            size -= len(parts[-1])
        return b''.join(parts)

    def _next(self) -> bytes:
        for chunk in self._chunks:
            if chunk:
                if self._hash:
                    self._hash.update(chunk)
                return chunk
        return b''

    def finish(self) -> None:
        """Takes what follows the archive's end and compares the digest."""
        while self._next():
            pass
        if self._hash and self._hash.hexdigest() != self._expected:
            raise errors.InvalidImage(
                f'its {self._hash.name} checksum is not the one that Glance '
                'recorded')


class _Inspector:
    """Judges the members one by one and remembers what the end needs."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._manifest: bytes | None = None
        self._documents: dict[str, tuple[str, bytes]] = {}

    def take(self, archive: tarfile.TarFile, member: tarfile.TarInfo
             ) -> Iterator[bytes]:
        name = _safe_name(member)
        if name in self._seen:
            raise errors.InvalidImage(f'{name} is in it twice')
        self._seen.add(name)
        if member.isdir():
            return
        if (member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE)
                or member.sparse is not None):
            # A sparse file, too: a few bytes that stand for any number.
            raise errors.InvalidImage(
                f'{name} is neither a plain file nor a directory')
        if name == _MANIFEST:
            self._manifest = _document(archive, member)
        elif name not in _DROPPED:
            yield from self._pass_on(archive, member, name)

    def _pass_on(self, archive: tarfile.TarFile, member: tarfile.TarInfo,
                 name: str) -> Iterator[bytes]:
        yield _header(name, member.size)
        if member.size <= _DOCUMENT_LIMIT:
            content = _document(archive, member)
            # Only a configuration is a mapping with these; layers are not
            # JSON at all.
            if content[:1] == b'{':
                digest = hashlib.sha256(content).hexdigest()
                self._documents[name] = (digest, content)
            yield content
        else:
            yield from _content(archive, member)
        yield _padding(member.size)

    def conclude(self, tag: str) -> tuple[bytes, str]:
        """The rewritten manifest and the image's digest."""
        if self._manifest is None:
            raise errors.InvalidImage(
                'it has no manifest.json; make it with "docker save"')
        entry = _only_entry(self._manifest)
        config, layers = entry.get('Config'), entry.get('Layers')
        if not isinstance(config, str) or config not in self._documents:
            raise errors.InvalidImage(
                'its manifest names a configuration that it does not hold')
        if (not isinstance(layers, list) or not all(
                isinstance(layer, str) and layer in self._seen
                for layer in layers)):
            raise errors.InvalidImage(
                'its manifest names a layer that it does not hold')
        digest, content = self._documents[config]
        _check_configuration(_json(content, 'its configuration'))
        manifest = [{'Config': config, 'RepoTags': [tag], 'Layers': layers}]
        return json.dumps(manifest).encode(), f'sha256:{digest}'


def _safe_name(member: tarfile.TarInfo) -> str:
    name = member.name.removeprefix('./')
    parts = name.split('/')
    if member.name.startswith('/') or '..' in parts or '\0' in name:
        raise errors.InvalidImage(f'{member.name!r} leads out of the archive')
    return name


def _only_entry(manifest: bytes) -> Mapping[str, Any]:
    entries = _json(manifest, 'its manifest.json')
    if not isinstance(entries, list) or len(entries) != 1:
        raise errors.InvalidImage('it must hold exactly one image')
    if not isinstance(entries[0], dict):
        raise errors.InvalidImage('its manifest.json is not understood')
    return entries[0]


def _check_configuration(configuration: Any) -> None:
    if not isinstance(configuration, dict):
        raise errors.InvalidImage('its configuration is not understood')
    settings = configuration.get('config') or {}
    labels = settings.get('Labels') or {} if isinstance(
        settings, dict) else None
    directory = settings.get('WorkingDir') or '/' if isinstance(
        settings, dict) else None
    if not isinstance(labels, dict) or not isinstance(directory, str):
        raise errors.InvalidImage('its configuration is not understood')
    reserved = sorted(filter(names.is_reserved_label, labels))
    if reserved:
        raise errors.InvalidImage(f'it has the reserved label {reserved[0]}')
    normal = posixpath.normpath('/' + directory.lstrip('/'))
    if normal.split('/')[1] in ('proc', 'sys', 'dev'):
        raise errors.InvalidImage(f'its working directory is {directory}')


def _json(content: bytes, what: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise errors.InvalidImage(f'{what} is not JSON: {error}') from error


def _document(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > _DOCUMENT_LIMIT:
        raise errors.InvalidImage(
            f'{member.name} is larger than {_DOCUMENT_LIMIT} bytes')
    return b''.join(_content(archive, member))


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo
             ) -> Iterator[bytes]:
    file = archive.extractfile(member)
    left = member.size
    while file is not None and left:
        chunk = file.read(min(_CHUNK, left))
        if not chunk:
            raise errors.InvalidImage(f'it ends in the middle of '
                                      f'{member.name}')
        left -= len(chunk)
        yield chunk


def _member(name: str, content: bytes) -> Iterator[bytes]:
    yield _header(name, len(content))
    yield content
    yield _padding(len(content))


def _header(name: str, size: int) -> bytes:
    # Written anew: owner, times and extensions of the tenant's go no further.
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)
