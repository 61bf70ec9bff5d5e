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

"""Files of the driver that a container sees read-only.

A container that joins a namespace cannot have its own host name file, hosts
and resolver through the Engine's options; it gets them as binds of a
directory that only the driver writes. Nothing is ever copied into a
container: that way lie four generations of CVEs.
"""

from __future__ import annotations

from collections.abc import Sequence
import os
from pathlib import Path
import shutil

from nova_docker_driver import models


class GuestFiles:
    """The directory of all servers' files on this host."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def prepare(self, instance_uuid: str, hostname: str,
                addresses: Sequence[str], nameservers: Sequence[str]
                ) -> tuple[models.Mount, ...]:
        """Writes a server's files; answers the binds for them.

        :param addresses: of the server, without prefix lengths
        """
        directory = self._root / instance_uuid
        directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        contents = {
            'hostname': f'{hostname}\n',
            'hosts': _hosts(hostname, addresses),
            'resolv.conf': ''.join(f'nameserver {server}\n'
                                   for server in nameservers),
        }
        for name, content in contents.items():
            _replace(directory / name, content)
        return tuple(models.Mount(str(directory / name), f'/etc/{name}')
                     for name in contents)

    def remove(self, instance_uuid: str) -> None:
        """There are no files of the server afterwards."""
        directory = self._root / instance_uuid
        if directory.exists():
            shutil.rmtree(directory)

    def instance_uuids(self) -> set[str]:
        """The servers that have files here."""
        if not self._root.exists():
            return set()
        return {path.name for path in self._root.iterdir()}


def _hosts(hostname: str, addresses: Sequence[str]) -> str:
    lines = ['127.0.0.1 localhost', '::1 localhost ip6-localhost']
    lines += [f'{address} {hostname}' for address in addresses]
    return '\n'.join(lines) + '\n'


def _replace(path: Path, content: str) -> None:
    # In place: a running container has the inode, not the name.
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    with os.fdopen(handle, 'w') as file:
        file.write(content)
