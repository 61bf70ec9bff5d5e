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

"""Reads what the compute host has: from the Engine and from the kernel."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
import platform
import re
import time

from nova.virt import hardware
import psutil

from nova_docker_driver import engine
from nova_docker_driver import hostmodels
from nova_docker_driver import models
from nova_docker_driver import pcidevices

_GIB = 1024 ** 3

#: Seconds for which the Engine's own facts are taken for unchanged: Nova
#: asks at each claim, and they change with a restart of the Engine only.
_FACTS_AGE = 60

_NVIDIA = Path('/proc/driver/nvidia/gpus')

#: How XFS says that it bounds directories.
_PROJECT_QUOTA = {'pquota', 'prjquota'}


class HostInfo:
    """The facts of one host."""

    def __init__(self, engine_port: engine.Engine) -> None:
        self._engine = engine_port
        self._facts: hostmodels.EngineFacts | None = None
        # They change with a restart of the host only.
        self._nodes = _nodes()
        # Nova's own tracker looks at them once, when the service starts.
        self.pci_devices = pcidevices.found()
        self._read_at = 0.0

    def read(self, hostname: str) -> hostmodels.HostFacts:
        """The facts, now.

        :param hostname: the node's name in Nova
        :raises EngineUnavailable: if the Engine does not answer
        """
        facts = self.engine_facts()
        memory = psutil.virtual_memory()
        disk = psutil.disk_usage(facts.root_dir)
        return hostmodels.HostFacts(
            hostname=hostname, architecture=facts.architecture,
            cpus=facts.cpus, cpu_model=platform.processor(),
            memory_mib=facts.memory // models.MIB,
            memory_used_mib=(memory.total - memory.available) // models.MIB,
            disk_gib=disk.total // _GIB, disk_used_gib=disk.used // _GIB,
            engine_version=facts.version,
            shared_cpus=shared_cpus(),
            dedicated_cpus=frozenset(
                hardware.get_cpu_dedicated_set() or ()),
            cpu_flags=_cpu_flags(), nodes=self._nodes, gpus=gpus(),
            pci_devices=self.pci_devices)

    def engine_facts(self) -> hostmodels.EngineFacts:
        """What the Engine says about itself, at most a minute old.

        :raises EngineUnavailable: if the Engine does not answer
        """
        now = time.monotonic()
        if self._facts is None or now - self._read_at > _FACTS_AGE:
            facts = self._engine.facts()
            device, options = _mount_of(facts.root_dir)
            self._facts = dataclasses.replace(
                facts, disk_device=device,
                disk_quota=facts.disk_quota and (
                    facts.storage_driver != 'overlay2'
                    or bool(_PROJECT_QUOTA & set(options))))
            self._read_at = now
        return self._facts


def _mount_of(directory: str) -> tuple[str, list[str]]:
    """The whole disk that holds a directory, and its mount's options.

    The disk is empty if it cannot be told: on a network, in memory, or below
    a layer that has no device of its own.
    """
    mounts = [part for part in psutil.disk_partitions(all=True)
              if Path(directory).is_relative_to(part.mountpoint)]
    if not mounts:
        return '', []
    # Of equal mount points the last one covers the others.
    found = max(reversed(mounts), key=lambda part: len(part.mountpoint))
    return _whole_disk(found.device), found.opts.split(',')


def _whole_disk(device: str) -> str:
    """The disk of a partition: the kernel limits rates of whole ones."""
    known = Path('/sys/class/block') / Path(device).name
    if not device.startswith('/dev/') or not known.exists():
        return ''
    if (known / 'partition').exists():
        return f'/dev/{known.resolve().parent.name}'
    return device


def shared_cpus() -> frozenset[int]:
    """Nova's own setting of CPUs for ordinary servers; empty for all."""
    return frozenset(hardware.get_cpu_shared_set() or ())


def gpus(directory: Path = _NVIDIA) -> tuple[str, ...]:
    """The identities of this host's GPUs, as NVIDIA's driver tells them.

    :param directory: with one directory for each GPU
    """
    found = (re.search(r'GPU UUID:\s+(GPU-[0-9a-f-]+)',
                       (path / 'information').read_text())
             for path in sorted(directory.glob('*')))
    return tuple(match[1] for match in found if match)


@functools.cache
def _cpu_flags() -> frozenset[str]:
    for line in Path('/proc/cpuinfo').read_text().splitlines():
        name, _, flags = line.partition(':')
        if name.strip() in ('flags', 'Features'):
            return frozenset(flags.split())
    return frozenset()


def _nodes() -> tuple[hostmodels.NumaNode, ...]:
    """The memory nodes of this host; one of all, where it tells of none."""
    found = []
    for path in sorted(Path('/sys/devices/system/node').glob('node[0-9]*')):
        memory = re.search(r'MemTotal:\s+(\d+) kB',
                           (path / 'meminfo').read_text())
        found.append(hostmodels.NumaNode(
            id=int(path.name.removeprefix('node')),
            cpus=frozenset(hardware.parse_cpu_spec(
                (path / 'cpulist').read_text().strip())),
            memory_mib=int(memory[1]) // 1024 if memory else 0))
    return tuple(found) or (hostmodels.NumaNode(
        0, frozenset(range(psutil.cpu_count() or 1)),
        psutil.virtual_memory().total // models.MIB),)
