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
from typing import Any

from nova.objects import fields
import os_resource_classes as orc
from oslo_utils import versionutils

from nova_docker_driver import models


def resources(facts: models.HostFacts) -> dict[str, Any]:
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
        'numa_topology': None,
    }


def _version(release: str) -> int:
    """The Engine's release as Nova's integer; three parts, always."""
    numbers = release.split('+')[0].split('-')[0].split('.')
    return int(versionutils.convert_version_to_int(
        '.'.join([*numbers, '0', '0'][:3])))


def inventory(facts: models.HostFacts, ratios: Mapping[str, float],
              reserved_cpus: int, reserved_memory_mib: int,
              reserved_disk_gib: int) -> dict[str, dict[str, Any]]:
    """The host's placement inventory.

    :param ratios: allocation ratio for each resource class
    """
    totals = {
        orc.VCPU: (facts.cpus, reserved_cpus),
        orc.MEMORY_MB: (facts.memory_mib, reserved_memory_mib),
        orc.DISK_GB: (facts.disk_gib, reserved_disk_gib),
    }
    # Placement refuses a total of nothing.
    return {name: {'total': total, 'min_unit': 1, 'max_unit': total,
                   'step_size': 1, 'allocation_ratio': ratios[name],
                   'reserved': reserved}
            for name, (total, reserved) in totals.items() if total > 0}
