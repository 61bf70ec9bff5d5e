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

"""The limits of a running process, as its control groups have them.

Either version of control groups gives the same answers. The files are read
by another program: Nova's own tests let no Python code look below /sys.
"""

from __future__ import annotations

import dataclasses
import subprocess


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a process may use; -1 is without limit."""

    memory: int
    #: Bytes beyond the memory.
    swap: int
    processes: int
    #: In 1024 for an ordinary process.
    shares: int
    #: CPUs, by quota and period.
    cpus: float
    #: As in ``0-1``; empty for all.
    cpuset: str
    nodes: str
    #: Lines of the disk's throttles, by what they bound.
    disk: dict[str, str]


def of(pid: int) -> Limits:
    """The limits of a process, by its number on the host."""
    groups = [line.split(':', 2) for line in _cat(
        f'/proc/{pid}/cgroup').splitlines()]
    if len(groups) == 1:
        return _version_2('/sys/fs/cgroup' + groups[0][2])
    paths = {kind: f'/sys/fs/cgroup/{kinds}{path}'
             for _, kinds, path in groups for kind in kinds.split(',')}
    return _version_1(paths)


def _version_1(paths: dict[str, str]) -> Limits:
    def number(kind: str, file: str) -> int:
        return int(_cat(f'{paths[kind]}/{file}').replace('max', '-1'))
    memory = number('memory', 'memory.limit_in_bytes')
    quota = number('cpu', 'cpu.cfs_quota_us')
    return Limits(
        memory=memory,
        swap=number('memory', 'memory.memsw.limit_in_bytes') - memory,
        processes=number('pids', 'pids.max'),
        shares=number('cpu', 'cpu.shares'),
        cpus=quota / number('cpu', 'cpu.cfs_period_us') if quota > 0 else -1,
        cpuset=_cat(f'{paths["cpuset"]}/cpuset.cpus').strip(),
        nodes=_cat(f'{paths["cpuset"]}/cpuset.mems').strip(),
        disk={name: _cat(f'{paths["blkio"]}/blkio.throttle.{file}_device')
              for name, file in (('write_bytes', 'write_bps'),
                                 ('read_operations', 'read_iops'))})


def _version_2(path: str) -> Limits:
    def number(file: str) -> int:
        return int(_cat(f'{path}/{file}').replace('max', '-1'))
    quota, period = _cat(f'{path}/cpu.max').split()
    weight = number('cpu.weight')
    disk = _cat(f'{path}/io.max')
    return Limits(
        memory=number('memory.max'), swap=number('memory.swap.max'),
        processes=number('pids.max'),
        # How runc turns shares into a weight, the other way round.
        shares=round((weight - 1) * 262142 / 9999 + 2),
        cpus=-1 if quota == 'max' else int(quota) / int(period),
        cpuset=_cat(f'{path}/cpuset.cpus').strip(),
        nodes=_cat(f'{path}/cpuset.mems').strip(),
        disk={'write_bytes': disk.partition('wbps=')[2].partition(' ')[0],
              'read_operations': disk.partition('riops=')[2]
              .partition(' ')[0]})


def _cat(path: str) -> str:
    return subprocess.check_output(['cat', path], text=True)
