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

"""What a host offers: host facts to Nova's and placement's words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
import json
import re
from typing import Any

from nova import objects
from nova.objects import fields
import os_resource_classes as orc
import os_traits
from oslo_utils import versionutils

from nova_docker_driver import hostmodels

_CPU_PREFIX, _CUSTOM = 'HW_CPU_X86_', 'CUSTOM_DOCKER_'
#: Flags that the kernel calls otherwise.
_CPU_NAMES = {'aes': 'AESNI', 'pni': 'SSE3', 'sha_ni': 'SHA',
              'pclmulqdq': 'CLMUL', 'kvm': 'VMX'}


def resources(facts: hostmodels.HostFacts) -> dict[str, Any]:
    """The compute node record, for ``get_available_resource``."""
    return {
        'vcpus': facts.cpus,
        'memory_mb': facts.memory_mib,
        'local_gb': facts.disk_gib,
        'vcpus_used': 0,
        'memory_mb_used': facts.memory_used_mib,
        'local_gb_used': facts.disk_used_gib,
        'hypervisor_type': fields.HVType.DOCKER,
        'hypervisor_version': _version(facts.engine_version),
        'hypervisor_hostname': facts.hostname,
        'cpu_info': json.dumps({
            'arch': facts.architecture, 'model': facts.cpu_model,
            'topology': {'cores': facts.cpus}}),
        'disk_available_least': facts.disk_gib - facts.disk_used_gib,
        'supported_instances': [(
            fields.Architecture.canonicalize(facts.architecture),
            fields.HVType.DOCKER, fields.VMMode.EXE)],
        'numa_topology': numa_topology(facts)._to_json(),
        'pci_passthrough_devices': json.dumps([
            _pci(device) for device in facts.pci_devices]),
    }


def _pci(device: hostmodels.PciDevice) -> dict[str, Any]:
    """A device as Nova's PCI tracker wants it."""
    found = {
        'dev_id': f'pci_{re.sub("[:.]", "_", device.address)}',
        'address': device.address, 'vendor_id': device.vendor_id,
        'product_id': device.product_id, 'dev_type': device.kind,
        'numa_node': device.numa_node, 'status': 'available',
        'label': f'label_{device.vendor_id}_{device.product_id}'}
    return {**found, **({'parent_addr': device.parent}
                        if device.parent else {})}


def numa_topology(facts: hostmodels.HostFacts) -> objects.NUMATopology:
    """The host's CPUs and memory, as Nova pins servers to them."""
    shared = facts.shared_cpus or (
        frozenset() if facts.dedicated_cpus else _all_cpus(facts))
    return objects.NUMATopology(cells=[objects.NUMACell(
        id=node.id, cpuset=set(node.cpus & shared),
        pcpuset=set(node.cpus & facts.dedicated_cpus),
        memory=node.memory_mib, socket=None, cpu_usage=0, memory_usage=0,
        pinned_cpus=set(), siblings=[{cpu} for cpu in sorted(node.cpus)],
        mempages=[objects.NUMAPagesTopology(
            size_kb=4, total=node.memory_mib * 256, used=0, reserved=0)])
        for node in facts.nodes])


def _all_cpus(facts: hostmodels.HostFacts) -> frozenset[int]:
    return frozenset(cpu for node in facts.nodes for cpu in node.cpus)


def _version(release: str) -> int:
    """The Engine's release as Nova's integer; three parts, always."""
    numbers = release.split('+')[0].split('-')[0].split('.')
    return int(versionutils.convert_version_to_int(
        '.'.join([*numbers, '0', '0'][:3])))


def inventory(facts: hostmodels.HostFacts, ratios: Mapping[str, float],
              reserved_cpus: int, reserved_memory_mib: int,
              reserved_disk_gib: int, images_gib: int
              ) -> dict[str, dict[str, Any]]:
    """The host's placement inventory.

    :param ratios: allocation ratio for each resource class
    :param images_gib: what the images on the host's disk have; servers
        cannot have that
    """
    dedicated = len(facts.dedicated_cpus)
    # As everywhere in Nova: with dedicated CPUs only, none are shared.
    shared = len(facts.shared_cpus) or (0 if dedicated else facts.cpus)
    totals = {
        orc.VCPU: (shared, reserved_cpus if shared else 0),
        orc.PCPU: (dedicated, 0 if shared else reserved_cpus),
        orc.MEMORY_MB: (facts.memory_mib, reserved_memory_mib),
        orc.DISK_GB: (facts.disk_gib, min(
            facts.disk_gib, reserved_disk_gib + images_gib)),
        orc.PGPU: (len(facts.gpus), 0),
    }
    # Placement refuses a total of nothing.
    return {name: {'total': total, 'min_unit': 1, 'max_unit': total,
                   'step_size': 1, 'allocation_ratio': ratios.get(name, 1.0),
                   'reserved': reserved}
            for name, (total, reserved) in totals.items() if total > 0}


def traits(facts: hostmodels.HostFacts, engine: hostmodels.EngineFacts
           ) -> set[str]:
    """What the host can do, in placement's words."""
    architecture = fields.Architecture.canonicalize(facts.architecture)
    # Other processors have flags of the same names.
    flags = (facts.cpu_flags if architecture == fields.Architecture.X86_64
             else ())
    found = {f'{_CPU_PREFIX}{_CPU_NAMES.get(flag, _plain(flag))}'
             for flag in flags}
    found.add(f'HW_ARCH_{architecture.upper()}')
    known = found & set(os_traits.get_traits('HW_'))
    # By which flavors and aggregates keep virtual machines away.
    known.add(_CUSTOM + 'HOST')
    for condition, name in (
            (engine.disk_quota, 'DISK_QUOTA'),
            ('userns' in engine.security_options, 'USERNS'),
            (engine.live_restore, 'LIVE_RESTORE'),
            (engine.cgroup_version == '2', 'CGROUP_V2')):
        if condition:
            known.add(_CUSTOM + name)
    for runtime in engine.runtimes:
        known.add(os_traits.normalize_name(
            f'{_CUSTOM.removeprefix("CUSTOM_")}RUNTIME_{runtime}'))
    return known


def is_ours(trait: str) -> bool:
    """Whether the driver decides about a trait."""
    return trait.startswith((_CPU_PREFIX, 'HW_ARCH_', _CUSTOM))


def _plain(flag: str) -> str:
    return flag.upper().replace('_', '')
