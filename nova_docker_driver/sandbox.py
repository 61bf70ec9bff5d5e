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

"""Sandboxes: containers that hold a server's network namespace.

The namespace outlives the server's process, and is there before it: so a
process never runs without its network, and keeps its address when it ends
and comes back. The program inside only waits; the image is made here, of a
few hundred bytes, so that no registry is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
import contextlib
import hashlib
import io
import json
import struct
import tarfile

from oslo_concurrency import lockutils

from nova_docker_driver import containers
from nova_docker_driver import engine
from nova_docker_driver import errors
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import spec

_LOAD_ADDRESS = 0x400000
_ELF_HEADER, _PROGRAM_HEADER = 64, 56

#: For each architecture: ELF's number, Docker's name, and a program that
#: waits for a signal again and again.
_PROGRAMS: dict[str, tuple[int, str, bytes]] = {
    # pause(2): mov eax, 34; syscall; jmp back
    'x86_64': (62, 'amd64', bytes.fromhex('b822000000' '0f05' 'ebf7')),
    # ppoll(2) of nothing without a timeout: x0-x4 = 0, x8 = 73; svc; b back
    'aarch64': (183, 'arm64', struct.pack(
        '<8I', 0xd2800000, 0xd2800001, 0xd2800002, 0xd2800003, 0xd2800004,
        0xd2800928, 0xd4000001, 0x17fffff9)),
}


def program(architecture: str) -> bytes:
    """A static ELF executable that only waits.

    :raises InvalidImage: for an architecture that we have no program for
    """
    if architecture not in _PROGRAMS:
        raise errors.InvalidImage(
            f'no sandbox can be made for {architecture}; name an image in '
            '[docker] sandbox_image')
    machine, _, code = _PROGRAMS[architecture]
    start = _ELF_HEADER + _PROGRAM_HEADER
    size = start + len(code)
    header = struct.pack(
        '<4s5B7xHHIQQQIHHHHHH', b'\x7fELF', 2, 1, 1, 0, 0,
        2, machine, 1, _LOAD_ADDRESS + start, _ELF_HEADER, 0, 0,
        _ELF_HEADER, _PROGRAM_HEADER, 1, 0, 0, 0)
    segment = struct.pack('<IIQQQQQQ', 1, 5, 0, _LOAD_ADDRESS, _LOAD_ADDRESS,
                          size, size, 0x1000)
    return header + segment + code


def image_archive(architecture: str) -> tuple[str, bytes]:
    """The sandbox's image: its digest and its docker-save archive."""
    layer = _tar({'pause': program(architecture)}, mode=0o755)
    configuration = json.dumps({
        'architecture': _PROGRAMS[architecture][1], 'os': 'linux',
        'created': '1970-01-01T00:00:00Z',
        'config': {'Entrypoint': ['/pause']},
        'rootfs': {'type': 'layers', 'diff_ids': [
            'sha256:' + hashlib.sha256(layer).hexdigest()]},
    }, sort_keys=True).encode()
    digest = hashlib.sha256(configuration).hexdigest()
    manifest = json.dumps([{
        'Config': f'{digest}.json', 'Layers': ['layer.tar'],
        'RepoTags': [names.image_tag('sandbox')]}]).encode()
    return f'sha256:{digest}', _tar({
        f'{digest}.json': configuration, 'layer.tar': layer,
        'manifest.json': manifest}, mode=0o644)


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode='w') as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            archive.addfile(info, io.BytesIO(content))
    return output.getvalue()


class Sandboxes:
    """The sandboxes of one Engine."""

    def __init__(self, engine_port: engine.Engine, image: str) -> None:
        """:param image: an operator's own, or empty for ours"""
        self._engine = engine_port
        self._image = image
        self._known_image: str | None = None

    def find(self, instance_uuid: str) -> models.Sandbox | None:
        """A server's sandbox, running or not."""
        try:
            container = self._engine.inspect(names.sandbox(instance_uuid))
        except errors.NotFound:
            return None
        return _sandbox(container, instance_uuid)

    def reusable(self, instance_uuid: str, hostname: str,
                 policy: models.Policy, sysctls: Mapping[str, str]
                 ) -> models.Sandbox | None:
        """A running sandbox of the server that is as a new one would be."""
        try:
            container = self._engine.inspect(names.sandbox(instance_uuid))
        except errors.NotFound:
            return None
        box = _sandbox(container, instance_uuid)
        wanted = spec.sandbox(instance_uuid, hostname, container.image,
                              policy, sysctls)
        same = (container.labels.get(names.SPEC_LABEL)
                == wanted.labels[names.SPEC_LABEL])
        return box if same and box.running else None

    def make(self, instance_uuid: str, hostname: str,
             policy: models.Policy,
             sysctls: Mapping[str, str] | None = None) -> models.Sandbox:
        """A new, running sandbox; a lost attempt's one is replaced.

        :raises ForeignContainer: if its name is another's
        """
        wanted = spec.sandbox(instance_uuid, hostname, self._ensure_image(),
                              policy, sysctls)
        try:
            container_id = self._engine.create(wanted)
        except errors.NameConflict:
            left = self.find(instance_uuid)
            if left is not None:
                self._engine.remove(left.container_id)
            container_id = self._engine.create(wanted)
        except errors.NotFound:
            # The image was removed behind our back.
            self._known_image = None
            wanted = spec.sandbox(instance_uuid, hostname,
                                  self._ensure_image(), policy, sysctls)
            container_id = self._engine.create(wanted)
        return self.start(instance_uuid, container_id)

    def start(self, instance_uuid: str, container_id: str) -> models.Sandbox:
        """Starts a sandbox; its namespace is a new one afterwards."""
        containers.start(self._engine, container_id)
        return _sandbox(self._engine.inspect(container_id), instance_uuid)

    def _ensure_image(self) -> str:
        if self._image:
            return self._image
        with lockutils.lock('nova-docker-sandbox-image'):
            if self._known_image is None:
                self._known_image = self._load_image()
            return self._known_image

    def _load_image(self) -> str:
        digest, content = image_archive(self._engine.facts().architecture)
        with contextlib.suppress(errors.NotFound):
            return self._engine.image(digest).id
        self._engine.load([content])
        return self._engine.image(digest).id


def _sandbox(container: models.Container, instance_uuid: str
             ) -> models.Sandbox:
    if names.owner(container.name, container.labels) != instance_uuid:
        raise errors.ForeignContainer(
            f'The container {container.name} is not of this driver')
    return models.Sandbox(container.id, container.namespace,
                          container.status == 'running')
