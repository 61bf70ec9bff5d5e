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

"""What an operator grants by a flavor: extra specs to values. Pure.

``extra_specs.py`` validates the same keys when the flavor is made; an
operator's own database or an older nova-api may let a wrong one through, so
that every value is read with the same care here.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import re

from oslo_utils import strutils

from nova_docker_driver import errors
from nova_docker_driver import models

BASELINE, RESTRICTED = PROFILES = ('baseline', 'restricted')
HARD, SOFT = CPU_LIMITS = ('hard', 'soft')

_NAME = '[A-Za-z0-9_.-]+'
_NAMES = f'{_NAME}(,{_NAME})*'

#: What the kernel has; also the validators' enumerations.
CAPABILITIES = (
    'AUDIT_CONTROL', 'AUDIT_READ', 'AUDIT_WRITE', 'BLOCK_SUSPEND', 'BPF',
    'CHECKPOINT_RESTORE', 'CHOWN', 'DAC_OVERRIDE', 'DAC_READ_SEARCH',
    'FOWNER', 'FSETID', 'IPC_LOCK', 'IPC_OWNER', 'KILL', 'LEASE',
    'LINUX_IMMUTABLE', 'MAC_ADMIN', 'MAC_OVERRIDE', 'MKNOD', 'NET_ADMIN',
    'NET_BIND_SERVICE', 'NET_BROADCAST', 'NET_RAW', 'PERFMON', 'SETFCAP',
    'SETGID', 'SETPCAP', 'SETUID', 'SYSLOG', 'SYS_ADMIN', 'SYS_BOOT',
    'SYS_CHROOT', 'SYS_MODULE', 'SYS_NICE', 'SYS_PACCT', 'SYS_PTRACE',
    'SYS_RAWIO', 'SYS_RESOURCE', 'SYS_TIME', 'SYS_TTY_CONFIG', 'WAKE_ALARM')
ULIMITS = ('core', 'cpu', 'data', 'fsize', 'locks', 'memlock', 'msgqueue',
           'nofile', 'nproc', 'rss', 'sigpending', 'stack')

_DISK_RATES = {
    'read_bytes': ('quota:disk_read_bytes_sec', 'quota:disk_total_bytes_sec'),
    'write_bytes': ('quota:disk_write_bytes_sec',
                    'quota:disk_total_bytes_sec'),
    'read_operations': ('quota:disk_read_iops_sec',
                        'quota:disk_total_iops_sec'),
    'write_operations': ('quota:disk_write_iops_sec',
                         'quota:disk_total_iops_sec'),
}


_PREFIX = 'docker:'
#: All extra specs of ours.
KEYS = frozenset(_PREFIX + name for name in (
    'apparmor_profile', 'cap_add', 'cpu_limit', 'devices', 'gpus',
    'log_max_files', 'log_max_size', 'pids_limit', 'privileged', 'profile',
    'runtime', 'seccomp_profile', 'ulimits', 'userns'))


@dataclasses.dataclass(frozen=True)
class Grants:
    """What a flavor gives and bounds beyond memory, CPUs and disk."""

    cap_add: tuple[str, ...] = ()
    privileged: bool = False
    #: Aliases of the operator's configuration.
    devices: tuple[str, ...] = ()
    #: The number of GPUs, which placement counts.
    gpus: int = 0
    runtime: str | None = None
    seccomp_profile: str | None = None
    apparmor_profile: str | None = None
    pids_limit: int | None = None
    #: Bytes and number.
    log_max_size: int | None = None
    log_max_files: int | None = None
    ulimits: tuple[models.Ulimit, ...] = ()
    host_users: bool = False
    restricted: bool = False
    soft_cpus: bool = False
    cpu_shares: int = 0
    #: Microseconds.
    cpu_period: int = 0
    cpu_quota: int = 0
    #: By the fields of BlockLimits; empty without a limit.
    disk_rates: Mapping[str, int] = dataclasses.field(default_factory=dict)


def parse(extra_specs: Mapping[str, str]) -> Grants:
    """The grants of a flavor.

    :raises InvalidSpec: naming the extra spec that cannot be
    """
    read = _Reader(extra_specs)
    read.check_keys()
    return Grants(
        cap_add=read.capabilities('docker:cap_add'),
        privileged=read.boolean('docker:privileged'),
        devices=read.names('docker:devices'),
        gpus=read.gpus(),
        runtime=read.name('docker:runtime'),
        seccomp_profile=read.name('docker:seccomp_profile'),
        apparmor_profile=read.name('docker:apparmor_profile'),
        pids_limit=read.number('docker:pids_limit'),
        log_max_size=read.mebibytes('docker:log_max_size'),
        log_max_files=read.number('docker:log_max_files'),
        ulimits=read.ulimits('docker:ulimits'),
        host_users=read.choice('docker:userns', ('host', 'remap')) == 'host',
        restricted=read.choice('docker:profile', PROFILES) == RESTRICTED,
        # Nova's own word for no limit.
        soft_cpus=(read.choice('docker:cpu_limit', CPU_LIMITS) == SOFT
                   or extra_specs.get('quota:cpu_quota') == '-1'),
        cpu_shares=read.number('quota:cpu_shares') or 0,
        cpu_period=read.number('quota:cpu_period') or 0,
        cpu_quota=(0 if extra_specs.get('quota:cpu_quota') == '-1'
                   else read.number('quota:cpu_quota') or 0),
        disk_rates=read.disk_rates())


class _Reader:
    """Reads extra specs, naming the one that is wrong."""

    def __init__(self, extra_specs: Mapping[str, str]) -> None:
        self._specs = extra_specs

    def check_keys(self) -> None:
        """A misspelt key would be a bound that is silently missing."""
        for key in self._specs:
            if key.startswith(_PREFIX) and key not in KEYS:
                raise errors.InvalidSpec(f'flavor: {key[:64]}: unknown')

    def _match(self, key: str, pattern: str, form: str) -> str | None:
        text = self._specs.get(key)
        if text is None:
            return None
        if not re.fullmatch(pattern, text, re.ASCII):
            raise errors.InvalidSpec(f'flavor: {key}: is not {form}')
        return text

    def name(self, key: str) -> str | None:
        return self._match(key, _NAME, 'a name')

    def names(self, key: str) -> tuple[str, ...]:
        text = self._match(key, _NAMES, 'a list of names')
        return tuple(text.split(',')) if text else ()

    def capabilities(self, key: str) -> tuple[str, ...]:
        found = tuple(name.upper().removeprefix('CAP_')
                      for name in self.names(key))
        for name in found:
            if name not in CAPABILITIES:
                raise errors.InvalidSpec(
                    f'flavor: {key}: {name[:64]}: no such capability')
        return found

    def number(self, key: str) -> int | None:
        text = self._match(key, r'\d{1,18}', 'a number')
        return None if text is None else int(text)

    def mebibytes(self, key: str) -> int | None:
        found = self.number(key)
        return None if found is None else found * models.MIB

    def boolean(self, key: str) -> bool:
        try:
            return bool(strutils.bool_from_string(
                self._specs.get(key, 'false'), strict=True))
        except ValueError:
            raise errors.InvalidSpec(
                f'flavor: {key}: is neither true nor false') from None

    def choice(self, key: str, among: tuple[str, ...]) -> str | None:
        return self._match(key, '|'.join(among), ' or '.join(among))

    def gpus(self) -> int:
        wanted = self.number('docker:gpus') or 0
        counted = self.number('resources:PGPU') or 0
        if wanted != counted:
            raise errors.InvalidSpec(
                f'flavor: docker:gpus: is {wanted}, but resources:PGPU, by '
                f'which the scheduler counts them, is {counted}')
        return wanted

    def ulimits(self, key: str) -> tuple[models.Ulimit, ...]:
        limit = fr'({"|".join(ULIMITS)})=-?\d{{1,18}}(:-?\d{{1,18}})?'
        text = self._match(key, f'{limit}(,{limit})*',
                           'a list such as nofile=1024:4096')
        found = []
        for entry in text.split(',') if text else ():
            name, _, limits = entry.partition('=')
            soft, _, hard = limits.partition(':')
            found.append(models.Ulimit(name, int(soft), int(hard or soft)))
            if found[-1].hard != -1 and not (
                    0 <= found[-1].soft <= found[-1].hard):
                raise errors.InvalidSpec(
                    f'flavor: {key}: {name}: soft is more than hard')
        return tuple(found)

    def disk_rates(self) -> dict[str, int]:
        found = {}
        for field, keys in _DISK_RATES.items():
            rates = [rate for rate in map(self.number, keys) if rate]
            if rates:
                found[field] = min(rates)
        return found
