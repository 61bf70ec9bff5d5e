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

"""Describes a snapshot anew while its archive streams by.

The archive comes from the Engine itself. What describes the image is replaced,
and so that nothing of it is left, all but the layers is left out. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
import hashlib
import json
import posixpath
from typing import Any

from nova_docker_driver import archive
from nova_docker_driver import errors
from nova_docker_driver import imageconfig
from nova_docker_driver import imagedocs
from nova_docker_driver import tarstream

_DOCUMENT_LIMIT = 1024 * 1024

#: When an Engine of old says that a layer was made which is not the last.
_NO_TIME = '1970-01-01T00:00:00Z'


def published(chunks: Iterable[bytes], settings: Mapping[str, Any],
              base: tuple[str, ...] = (), unchanged: bool = False
              ) -> Iterator[bytes]:
    """An archive of the Engine's own with other settings in it.

    :param chunks: of an image that the Engine saves
    :param settings: the ``config`` of the image's configuration
    :param base: digests of the layers to leave out; one is above them
    :param unchanged: none is
    :raises InvalidImage: if that is no archive
    """
    publisher, scanner = _Publisher(base, unchanged), tarstream.Scanner()
    for chunk in chunks:
        for found in scanner.feed(chunk):
            yield from publisher.take(found)
    scanner.finish()
    yield from publisher.conclude(settings)


class _Publisher:
    """Passes layers on and remembers what describes them."""

    def __init__(self, base: tuple[str, ...], unchanged: bool) -> None:
        self._base = base
        self._unchanged = unchanged
        self._documents: dict[str, bytes] = {}
        #: A layer that is there already is a link to its first place.
        self._links: dict[str, str] = {}
        self._passed: set[str] = set()
        self._member = tarstream.Member('', 'directory', 0, '')
        #: What becomes of the member: it is kept, passed on or dropped.
        self._kept: bytearray | None = None
        self._passing = False

    def take(self, found: tarstream.Found) -> Iterator[bytes]:
        """What of a member, or of its content, is published."""
        if isinstance(found, tarstream.Member):
            yield from self._begin(found)
        elif found is None:
            yield from self._end()
        elif self._kept is not None:
            self._kept += found
        elif self._passing:
            yield bytes(found)

    def _begin(self, member: tarstream.Member) -> Iterator[bytes]:
        self._member, self._kept, self._passing = member, None, False
        name, small = member.name, member.size <= _DOCUMENT_LIMIT
        if member.kind == 'symlink':
            self._links[name] = posixpath.normpath(posixpath.join(
                posixpath.dirname(name), member.target))
        elif member.kind != 'file':
            return
        elif name.endswith('json') or name.startswith('blobs/') and small:
            # Newer Engines name documents and layers alike.
            if not small:
                raise errors.InvalidImage(f'{name} is too large')
            self._kept = bytearray()
        elif name.endswith('.tar') or name.startswith('blobs/'):
            yield from self._pass(self._is_base(name))

    def _pass(self, is_base: bool) -> Iterator[bytes]:
        if not is_base:
            self._passing = True
            self._passed.add(self._member.name)
            yield archive.header(self._member.name, self._member.size)

    def _end(self) -> Iterator[bytes]:
        name, content = self._member.name, self._kept
        if content is not None and name.startswith('blobs/') and (
                content[:1] != b'{'):
            yield from self._pass(self._is_base(name))
            if self._passing:
                yield bytes(content)
        elif content is not None:
            self._documents[name] = bytes(content)
        if self._passing:
            yield archive.padding(self._member.size)

    def _is_base(self, name: str) -> bool:
        if not self._base or self._unchanged:
            return self._unchanged
        if name.startswith('blobs/'):
            return 'sha256:' + posixpath.basename(name) in self._base
        # Older Engines put a document about each layer before it. Only the
        # last layer, the one above the base, has a time in it.
        about = self._documents.get(posixpath.join(
            posixpath.dirname(name), 'json'), b'{}')
        return bool(json.loads(about).get('created') == _NO_TIME)

    def conclude(self, settings: Mapping[str, Any]) -> Iterator[bytes]:
        """What describes the image, and the archive's end."""
        choice = imagedocs.choose(
            {name: content for name, content in self._documents.items()
             if name != imagedocs.INDEX}, '')
        whole = imageconfig.parsed(
            self._documents.get(choice.config, b''), 'its configuration',
            dict)
        names = [self._links.get(name, name) for name in choice.layers]
        missing = [name for name in names if name not in self._passed]
        diff_ids = tuple((whole.get('rootfs') or {}).get('diff_ids') or ())
        if (names[:len(missing)] != missing
                or diff_ids[:len(self._base)] != self._base
                or len(missing) != len(self._base)):
            raise errors.InvalidImage(
                'its layers are not those of its base and one more')
        configuration = json.dumps({
            **{key: whole[key] for key in ('architecture', 'os', 'created',
                                           'rootfs') if key in whole},
            'config': dict(settings),
            'history': _anonymous(whole.get('history') or []),
        }, sort_keys=True).encode()
        name = hashlib.sha256(configuration).hexdigest() + '.json'
        yield from archive.member(name, configuration)
        yield from archive.member(imagedocs.MANIFEST, json.dumps([{
            'Config': name, 'RepoTags': None, 'Layers': names}]).encode())
        yield bytes(2 * tarstream.BLOCK)


def _anonymous(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last step was ours: its words are the server's command."""
    if not history:
        return []
    last = {key: value for key, value in history[-1].items()
            if key in ('created', 'empty_layer')}
    return [*history[:-1], {**last, 'created_by': 'nova snapshot'}]
