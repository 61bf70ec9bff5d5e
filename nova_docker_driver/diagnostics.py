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

"""Nova's two forms of a server's diagnostics, from what the kernel counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova.objects import diagnostics
from oslo_utils import timeutils

from nova_docker_driver import cgroups
from nova_docker_driver import models
from nova_docker_driver import states

_KIB = 1024


def plain(usage: cgroups.Usage, container: models.Container) -> dict[str, Any]:
    """The free form, before microversion 2.48."""
    found: dict[str, Any] = {
        'cpu0_time': usage.cpu_time,
        'memory': _kibibytes(usage.memory),
        'processes': usage.processes,
        'restarts': container.restarts,
        'disk_read': usage.read_bytes,
        'disk_read_req': usage.reads,
        'disk_write': usage.write_bytes,
        'disk_write_req': usage.writes,
    }
    for device in usage.devices:
        found.update({
            f'{device.name}_rx': device.rx_octets,
            f'{device.name}_rx_packets': device.rx_packets,
            f'{device.name}_rx_errors': device.rx_errors,
            f'{device.name}_rx_drop': device.rx_drop,
            f'{device.name}_tx': device.tx_octets,
            f'{device.name}_tx_packets': device.tx_packets,
            f'{device.name}_tx_errors': device.tx_errors,
            f'{device.name}_tx_drop': device.tx_drop})
    return {name: value for name, value in found.items() if value is not None}


def standard(usage: cgroups.Usage, container: models.Container,
             memory_mib: int, macs: Mapping[str, str]
             ) -> diagnostics.Diagnostics:
    """The form of microversion 2.48 and later.

    Its enumeration of drivers has none for Docker, so that the driver stays
    empty; the hypervisor is named.

    :param memory_mib: of the flavor
    :param macs: name of a network device to its address
    """
    found = diagnostics.Diagnostics(
        state=states.power(container), hypervisor='docker',
        hypervisor_os='linux', uptime=uptime(container),
        config_drive=False, cpu_details=[], nic_details=[], disk_details=[])
    found.memory_details = diagnostics.MemoryDiagnostics(
        maximum=memory_mib,
        used=None if usage.memory is None else usage.memory // models.MIB)
    found.add_cpu(id=0, time=usage.cpu_time)
    found.add_disk(read_bytes=usage.read_bytes, read_requests=usage.reads,
                   write_bytes=usage.write_bytes,
                   write_requests=usage.writes)
    for device in usage.devices:
        found.add_nic(
            mac_address=macs.get(device.name),
            rx_octets=device.rx_octets, rx_errors=device.rx_errors,
            rx_drop=device.rx_drop, rx_packets=device.rx_packets,
            tx_octets=device.tx_octets, tx_errors=device.tx_errors,
            tx_drop=device.tx_drop, tx_packets=device.tx_packets)
    return found


def _kibibytes(size: int | None) -> int | None:
    return None if size is None else size // _KIB


def uptime(container: models.Container) -> int:
    """Seconds since the process was started."""
    started = timeutils.normalize_time(
        timeutils.parse_isotime(container.started_at))
    return max(0, int(timeutils.delta_seconds(started, timeutils.utcnow())))
