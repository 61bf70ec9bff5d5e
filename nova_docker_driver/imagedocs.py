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

"""Finds the one image that an archive is about, in its documents. Pure.

Two kinds of archives tell it: ``docker save`` in a manifest.json, the OCI
layout in an index.json that leads to manifests. Newer Engines write both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import dataclasses
import hashlib
import posixpath
import re
from typing import Any, TypeAlias

from nova_docker_driver import errors
from nova_docker_driver import imageconfig

MANIFEST = 'manifest.json'
INDEX = 'index.json'

_DIGEST = re.compile(r'sha256:([0-9a-f]{64})')

_Mapping: TypeAlias = dict[str, Any]

_ATTESTATION = 'vnd.docker.reference.type'


@dataclasses.dataclass(frozen=True)
class Choice:
    """The members of an archive that make an image."""

    config: str
    layers: tuple[str, ...]


def choose(documents: Mapping[str, bytes], architecture: str) -> Choice:
    """The image for an architecture; attestations are none.

    :param documents: name to content
    :raises InvalidImage: if there is none, or more than one
    """
    found = None
    if INDEX in documents:
        found = _from_index(documents, architecture)
    if MANIFEST in documents:
        entry = _from_manifest(documents[MANIFEST])
        if found is not None and _blob_digest(entry.config) not in (
                None, _blob_digest(found.config)):
            raise errors.InvalidImage(
                'it must hold exactly one image; its manifest.json and its '
                'index.json name different ones')
        return entry
    if found is None:
        raise errors.InvalidImage(
            'it has neither a manifest.json nor an index.json; make it with '
            '"docker save", or as an OCI layout')
    return found


def _from_manifest(content: bytes) -> Choice:
    entries = imageconfig.parsed(content, 'its manifest.json', list)
    if len(entries) != 1:
        raise errors.InvalidImage('it must hold exactly one image')
    entry = entries[0]
    if not isinstance(entry, dict):
        raise errors.InvalidImage('its manifest.json is not understood')
    config, layers = entry.get('Config'), entry.get('Layers')
    if not isinstance(config, str) or not isinstance(layers, list) or (
            not all(isinstance(layer, str) for layer in layers)):
        raise errors.InvalidImage('its manifest.json is not understood')
    return Choice(plain_name(config), tuple(map(plain_name, layers)))


def plain_name(name: str) -> str:
    """A member's name without what does not matter in it."""
    return posixpath.normpath(name).lstrip('/')


def _blob_digest(name: str) -> str | None:
    match = re.fullmatch(r'blobs/sha256/([0-9a-f]{64})', name)
    return match[1] if match else None


def _from_index(documents: Mapping[str, bytes], architecture: str
                ) -> Choice | None:
    manifests = dict(_manifests(documents, documents[INDEX], 'its index.json',
                                set()))
    fitting = {digest: manifest for digest, (platform, manifest)
               in manifests.items()
               if platform.get('architecture', architecture) == architecture
               or not architecture}
    if not manifests:
        return None
    if not fitting:
        there = sorted({str(platform.get('architecture'))[:32]
                        for platform, _ in manifests.values()})
        raise errors.InvalidImage(
            f'it has no image for {architecture}; it is for '
            f'{", ".join(there)}')
    choices = {_from_oci(manifest) for manifest in fitting.values()}
    if len(choices) > 1:
        raise errors.InvalidImage('it must hold exactly one image')
    return choices.pop()


def _manifests(documents: Mapping[str, bytes], content: bytes, what: str,
               seen: set[str]
               ) -> Iterator[tuple[str, tuple[_Mapping, _Mapping]]]:
    index = imageconfig.parsed(content, what, dict)
    entries = index.get('manifests')
    if not isinstance(entries, list):
        raise errors.InvalidImage(f'{what} is not understood')
    for entry in entries:
        if not isinstance(entry, dict):
            raise errors.InvalidImage(f'{what} is not understood')
        annotations = entry.get('annotations') or {}
        platform = entry.get('platform') or {}
        if not isinstance(annotations, dict) or not isinstance(
                platform, dict):
            raise errors.InvalidImage(f'{what} is not understood')
        if _ATTESTATION in annotations:
            continue
        digest = imageconfig.text(entry, 'digest')
        name = _blob(digest)
        if name in seen or name not in documents:
            # A layout may leave out the platforms that nobody asked for.
            continue
        seen.add(name)
        document = _intact(documents[name], digest)
        found = imageconfig.parsed(document, 'a manifest', dict)
        if 'manifests' in found:
            yield from _manifests(documents, document, 'an index', seen)
        elif _is_image(found):
            yield digest, (platform, found)


def _is_image(manifest: Mapping[str, Any]) -> bool:
    config = manifest.get('config')
    return isinstance(config, dict) and 'image' in str(
        config.get('mediaType', 'image')) and 'layers' in manifest


def _from_oci(manifest: Mapping[str, Any]) -> Choice:
    layers = manifest['layers']
    if not isinstance(layers, list) or not all(
            isinstance(layer, dict) for layer in layers):
        raise errors.InvalidImage('a manifest is not understood')
    return Choice(
        _blob(imageconfig.text(manifest['config'], 'digest')),
        tuple(_blob(imageconfig.text(layer, 'digest')) for layer in layers))


def _blob(digest: str) -> str:
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise errors.InvalidImage(f'{digest[:80]!r} is no digest')
    return f'blobs/sha256/{match[1]}'


def _intact(document: bytes, digest: str) -> bytes:
    if 'sha256:' + hashlib.sha256(document).hexdigest() != digest:
        raise errors.InvalidImage(f'{digest} is not the digest of what it '
                                  'names')
    return document
