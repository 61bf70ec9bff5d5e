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

from nova.privsep import fs as nova_fs
from nova.privsep import path as nova_path

from nova_docker_driver import errors
from nova_docker_driver import models


#: Where a rescuing container finds the files of the server.
RESCUED_ROOT = '/rescue'

_ROOT = 'root'

#: The kernel takes no more options than fit.
_PAGE = 4096

#: What every server has below /etc.
_NAMES = ('hostname', 'hosts', 'resolv.conf')


class GuestFiles:
    """The directory of all servers' files on this host."""

    def __init__(self, root: Path, search: Sequence[str] = ()) -> None:
        """:param search: domains of servers whose tenants name none"""
        self._root = root
        self._search = search

    def prepare(self, instance_uuid: str, hostname: str,
                addresses: Sequence[str], nameservers: Sequence[str],
                tenant: models.TenantSpec
                ) -> tuple[models.Mount, ...]:
        """Writes a server's files; answers the binds for them.

        :param addresses: of the server, without prefix lengths
        :param nameservers: of its subnets; the tenant's own come before them
        """
        directory = self._root / instance_uuid
        # Nobody on this host but the Engine has business in there.
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.name(instance_uuid, hostname, addresses, nameservers, tenant)
        mounts = [models.Mount(str(directory / name), f'/etc/{name}')
                  for name in _NAMES]
        # Anew, not in place: they may be another user's now, and there may
        # be fewer. Who has one open keeps what it had.
        for old in directory.glob('file-*'):
            old.unlink()
        for number, file in enumerate(tenant.files):
            path = directory / f'file-{number}'
            _write(path, file)
            mounts.append(models.Mount(str(path), file.target))
        return tuple(mounts)

    def name(self, instance_uuid: str, hostname: str,
             addresses: Sequence[str], nameservers: Sequence[str],
             tenant: models.TenantSpec) -> None:
        """The server knows its names and resolvers, also while it runs."""
        contents = (f'{hostname}\n',
                    _hosts(hostname, addresses, tenant.extra_hosts),
                    _resolver(tenant.dns or nameservers,
                              tenant.dns_search or self._search))
        for name, content in zip(_NAMES, contents, strict=True):
            _write(self._root / instance_uuid / name, models.GuestFile(
                name, content.encode(), 0o644))

    def mount_root(self, instance_uuid: str, root: models.RootFs
                   ) -> models.Mount:
        """Mounts the root file system of a server that does not run.

        :raises Unsupported: if the storage driver gives no way
        """
        place = self._root / instance_uuid / _ROOT
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not place.is_mount():
            fstype, device, options = _mount_arguments(root)
            nova_fs.mount(fstype, device, str(place), options)
        return models.Mount(str(place), RESCUED_ROOT, read_only=False)

    def unmount_root(self, instance_uuid: str) -> None:
        """The server's root file system is not mounted afterwards."""
        place = self._root / instance_uuid / _ROOT
        if place.is_mount():
            nova_fs.umount(str(place))

    def remove(self, instance_uuid: str) -> None:
        """There are no files of the server afterwards."""
        # Or else the server's own root would be removed with them.
        self.unmount_root(instance_uuid)
        directory = self._root / instance_uuid
        if directory.exists():
            shutil.rmtree(directory)

    def instance_uuids(self) -> set[str]:
        """The servers that have files here."""
        if not self._root.exists():
            return set()
        return {path.name for path in self._root.iterdir()}


def _mount_arguments(root: models.RootFs
                     ) -> tuple[str | None, str, list[str]]:
    """File system, device and options of mount(8)."""
    data = root.data
    # What is written into a rescued system must not be run by its host.
    safe = 'nosuid,nodev'
    if root.driver == 'overlay2':
        options = (f'lowerdir={data["LowerDir"]},upperdir={data["UpperDir"]},'
                   f'workdir={data["WorkDir"]},{safe}')
        if len(options) >= _PAGE:
            raise errors.Unsupported(
                'the image has too many layers for its root file system to '
                'be mounted')
        return 'overlay', 'overlay', ['-o', options]
    raise errors.Unsupported(
        f'the storage driver {root.driver} does not tell where the root file '
        'system is')


def _hosts(hostname: str, addresses: Sequence[str],
           extra: Sequence[tuple[str, str]]) -> str:
    lines = ['127.0.0.1 localhost', '::1 localhost ip6-localhost']
    lines += [f'{address} {hostname}' for address in addresses]
    lines += [f'{address} {name}' for name, address in extra]
    return '\n'.join(lines) + '\n'


def _resolver(nameservers: Sequence[str], search: Sequence[str]) -> str:
    lines = [f'nameserver {server}' for server in nameservers]
    if search:
        lines.append('search ' + ' '.join(search))
    return ''.join(f'{line}\n' for line in lines)


def _write(path: Path, file: models.GuestFile) -> None:
    # In place: a running container has the inode, not the name. Closed to
    # others before there is anything to read.
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, 'wb') as stream:
        stream.write(file.content)
        os.fchmod(handle, file.mode)
    if file.uid is not None or file.gid is not None:
        nova_path.chown(str(path), uid=-1 if file.uid is None else file.uid,
                        gid=-1 if file.gid is None else file.gid)
