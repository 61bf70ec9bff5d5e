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

"""The PCI devices of a host, and the device files behind them.

Which of them servers may have is Nova's: ``[pci] device_spec`` and ``alias``.
A container does not get the device itself, as a virtual machine does, but the
files by which the host's driver offers it.
"""

from __future__ import annotations

from pathlib import Path

from nova_docker_driver import hostmodels

_SYSFS = Path('/sys/bus/pci/devices')


def found(root: Path = _SYSFS) -> tuple[hostmodels.PciDevice, ...]:
    """All PCI devices, as the kernel lists them."""
    return tuple(_device(path) for path in sorted(root.glob('*')))


def _device(path: Path) -> hostmodels.PciDevice:
    parent, kind = '', 'type-PCI'
    if (path / 'physfn').exists():
        parent, kind = (path / 'physfn').resolve().name, 'type-VF'
    elif _read(path / 'sriov_totalvfs', '0') != '0':
        kind = 'type-PF'
    node = int(_read(path / 'numa_node', '-1'))
    return hostmodels.PciDevice(
        address=path.name, kind=kind, parent=parent,
        vendor_id=_read(path / 'vendor', '').removeprefix('0x'),
        product_id=_read(path / 'device', '').removeprefix('0x'),
        # The kernel's word for none.
        numa_node=None if node < 0 else node,
        files=_files(path.resolve()))


def _files(path: Path) -> tuple[str, ...]:
    """What the host's driver has made of a device below /dev."""
    names = []
    for number in path.rglob('dev'):
        said = dict(line.partition('=')[::2] for line in _read(
            number.with_name('uevent'), '').splitlines())
        # A bridge has other devices below it, which are their own.
        own = not any((directory / 'vendor').exists() for directory
                      in number.parents if directory != path
                      and directory.is_relative_to(path))
        if own and said.get('DEVNAME'):
            names.append(f'/dev/{said["DEVNAME"]}')
    return tuple(sorted(names))


def _read(path: Path, otherwise: str) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return otherwise
