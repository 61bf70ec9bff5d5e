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

"""What a container's processes use, from the kernel's own files.

Never from the Engine's statistics, which take a second for each answer. The
parsers are pure; ``Usage`` is read by the process's id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import dataclasses
from pathlib import Path

_GROUPS = Path('/sys/fs/cgroup')

#: Nanoseconds in a microsecond.
_MICROSECOND = 1000


@dataclasses.dataclass(frozen=True)
class Traffic:
    """What went through one network device since it was made."""

    name: str
    rx_octets: int
    rx_packets: int
    rx_errors: int
    rx_drop: int
    tx_octets: int
    tx_packets: int
    tx_errors: int
    tx_drop: int


@dataclasses.dataclass(frozen=True)
class Usage:
    """What a container has used; None is what the kernel does not tell."""

    #: Nanoseconds.
    cpu_time: int | None = None
    #: Bytes.
    memory: int | None = None
    processes: int | None = None
    #: Bytes and operations, of all disks together.
    read_bytes: int | None = None
    write_bytes: int | None = None
    reads: int | None = None
    writes: int | None = None
    devices: tuple[Traffic, ...] = ()


def usage(pid: int, proc: Path = Path('/proc'), groups: Path = _GROUPS
          ) -> Usage:
    """What the container of a process has used.

    :param pid: of its first process, in the host's namespace
    :raises OSError: if the process is gone
    """
    own = proc / str(pid)
    paths = parse_groups((own / 'cgroup').read_text())
    found = (_version_1 if len(paths) > 1 else _version_2)(paths, groups)
    return dataclasses.replace(
        found, devices=parse_devices((own / 'net/dev').read_text()))


def parse_groups(text: str) -> dict[str, str]:
    """Controller to path below the controller's mount; '' for version 2."""
    found = {}
    for line in text.splitlines():
        _, controllers, path = line.split(':', 2)
        for controller in controllers.split(','):
            found[controller] = path
    return found


def parse_devices(text: str) -> tuple[Traffic, ...]:
    """``/proc/<pid>/net/dev`` without the loopback device."""
    found = []
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(':')
        values = [int(number) for number in numbers.split()]
        if name.strip() != 'lo':
            found.append(Traffic(
                name.strip(), *values[0:4], *values[8:12]))
    return tuple(found)


def _version_1(paths: Mapping[str, str], groups: Path) -> Usage:
    def directory(controller: str) -> Path:
        # Some are mounted under both their names.
        return groups / controller / paths.get(controller, '/').lstrip('/')

    volume = _totals(_text(directory('blkio')
                           / 'blkio.throttle.io_service_bytes'))
    number = _totals(_text(directory('blkio') / 'blkio.throttle.io_serviced'))
    return Usage(
        cpu_time=_number(directory('cpuacct') / 'cpuacct.usage'),
        memory=_number(directory('memory') / 'memory.usage_in_bytes'),
        processes=_number(directory('pids') / 'pids.current'),
        read_bytes=volume.get('Read'), write_bytes=volume.get('Write'),
        reads=number.get('Read'), writes=number.get('Write'))


def _version_2(paths: Mapping[str, str], groups: Path) -> Usage:
    own = groups / paths.get('', '/').lstrip('/')
    cpu = _pairs(_text(own / 'cpu.stat').splitlines())
    disks = [_pairs(pair.replace('=', ' ') for pair in line.split()[1:])
             for line in _text(own / 'io.stat').splitlines()]

    def total(key: str) -> int | None:
        return sum(disk.get(key, 0) for disk in disks) if disks else None

    microseconds = cpu.get('usage_usec')
    return Usage(
        cpu_time=(None if microseconds is None
                  else microseconds * _MICROSECOND),
        memory=_number(own / 'memory.current'),
        processes=_number(own / 'pids.current'),
        read_bytes=total('rbytes'), write_bytes=total('wbytes'),
        reads=total('rios'), writes=total('wios'))


def _totals(text: str) -> dict[str, int]:
    """Of ``8:0 Read 4096`` lines, the sum for each kind."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        match line.split():
            case [_, kind, number]:
                found[kind] = found.get(kind, 0) + int(number)
    return found


def _pairs(lines: Iterable[str]) -> dict[str, int]:
    return {key: int(value) for key, value in map(str.split, lines)}


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text else None


def _text(path: Path) -> str:
    """A file's text; empty where the kernel lacks that controller."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return ''
