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

"""What a host and its Engine are: values that cross modules."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class EngineFacts:
    """What the Engine says about itself and its host."""

    #: Its release, as in ``20.10.24+dfsg1``.
    version: str
    #: The directory of its images and containers.
    root_dir: str
    architecture: str
    cpus: int
    #: Bytes.
    memory: int
    storage_driver: str = ''
    #: It can bound the root file system of a container.
    disk_quota: bool = False
    #: The device that holds root_dir, if it can be told.
    disk_device: str = ''
    runtimes: tuple[str, ...] = ()
    #: Such as seccomp, apparmor, userns, selinux, rootless.
    security_options: tuple[str, ...] = ()
    live_restore: bool = False
    cgroup_version: str = '1'
    #: What the Engine itself warns of.
    warnings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class NumaNode:
    """Memory and the CPUs that are near it."""

    id: int
    cpus: frozenset[int]
    memory_mib: int


@dataclasses.dataclass(frozen=True)
class PciDevice:
    """A PCI device, and what its driver offers below /dev."""

    #: As in ``0000:3b:00.0``.
    address: str
    vendor_id: str
    product_id: str
    #: type-PCI, type-PF or type-VF
    kind: str
    #: The address of a virtual function's physical one.
    parent: str
    numa_node: int | None
    #: Paths; none if the host has no driver for it.
    files: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class HostFacts:
    """What a compute host has, as its operating system and Engine say."""

    hostname: str
    architecture: str
    cpus: int
    cpu_model: str
    memory_mib: int
    memory_used_mib: int
    disk_gib: int
    disk_used_gib: int
    #: The Engine's release, as in ``20.10.24+dfsg1``.
    engine_version: str
    #: Of [compute]; empty for all, and for none.
    shared_cpus: frozenset[int] = frozenset()
    dedicated_cpus: frozenset[int] = frozenset()
    #: The kernel's words, such as avx2.
    cpu_flags: frozenset[str] = frozenset()
    nodes: tuple[NumaNode, ...] = ()
    #: Identities, as in ``GPU-5fd4...``.
    gpus: tuple[str, ...] = ()
    pci_devices: tuple[PciDevice, ...] = ()
