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

"""What Nova's record of a server means to its container. Pure."""

from __future__ import annotations

from typing import Any

from nova.compute import task_states
from nova.compute import vm_states
from nova import objects
from nova import utils as nova_utils
from nova.virt import driver as virt_driver
from oslo_utils import strutils

from nova_docker_driver import errors
from nova_docker_driver import grants
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import spec
from nova_docker_driver import userspec

_HOST_NAME_MAX, _LABEL_MAX = 64, 63

#: Names in a server's system metadata; no image's properties, which a rebuild
#: replaces.
_REFERENCE, _DIGEST = 'docker_image_reference', 'docker_image_digest'


def container_name(instance: objects.Instance) -> str:
    """The container that stands for the server."""
    if instance.vm_state == vm_states.RESCUED:
        return names.rescue(instance.uuid)
    return names.container(instance.uuid)


def hostname(instance: objects.Instance) -> str:
    """What the processes of a server call their host.

    That of Nova, which may be a whole domain name; a kernel takes 64
    characters, and of a longer one the name within its domain.
    """
    name = str(instance.hostname or f'server-{instance.uuid}')
    if len(name) <= _HOST_NAME_MAX:
        return name
    return name.partition('.')[0][:_LABEL_MAX]


def is_being_shelved(instance: objects.Instance) -> bool:
    """Whether Nova has stopped the server to take a snapshot of it."""
    return instance.task_state in (
        task_states.SHELVING, task_states.SHELVING_IMAGE_PENDING_UPLOAD,
        task_states.SHELVING_IMAGE_UPLOADING)


def is_restarted(instance: objects.Instance, exit_code: int) -> bool:
    """Whether a process that has ended is to run again by itself."""
    if instance.vm_state != vm_states.ACTIVE or instance.task_state:
        return False
    policy = _tenant_spec_if_any(instance).restart.name
    return policy == 'unless-stopped' or (policy == 'on-failure'
                                          and exit_code != 0)


def is_stopped(instance: objects.Instance) -> bool:
    """Whether its process is not to run, whatever is done to it."""
    return bool(instance.vm_state == vm_states.STOPPED)


def is_suspended(instance: objects.Instance) -> bool:
    """Whether a paused container is what Nova calls suspended."""
    return (instance.vm_state == vm_states.SUSPENDED
            or instance.task_state == task_states.SUSPENDING)


def tenant_spec(instance: objects.Instance) -> models.TenantSpec:
    """What the tenant asks for, over the defaults of the image.

    :raises InvalidSpec: if it cannot be honoured
    """
    prefix = nova_utils.SM_IMAGE_PROP_PREFIX
    return userspec.parse(instance.user_data, {
        name.removeprefix(prefix): value
        for name, value in instance.system_metadata.items()
        if name.startswith(prefix) and value is not None})


def grace(instance: objects.Instance, timeout: int) -> int:
    """Seconds for the process's end: its own wish, within Nova's bound."""
    wish = _tenant_spec_if_any(instance).stop_grace_period
    return timeout if wish is None else min(wish, timeout)


def crash_dump_signal(instance: objects.Instance) -> str:
    """What makes the process tell what it does."""
    return _tenant_spec_if_any(instance).crash_dump_signal


def _tenant_spec_if_any(instance: objects.Instance) -> models.TenantSpec:
    """None is no reason not to stop what runs, under an older one maybe."""
    try:
        return tenant_spec(instance)
    except errors.InvalidSpec:
        return models.TenantSpec()


def rescuer(instance: objects.Instance, tenant: models.TenantSpec
            ) -> str | None:
    """Who rescues: root as a rule, the server's user where none may be."""
    given = grants.parse(instance.flavor.extra_specs or {})
    return tenant.user if given.restricted else None


def refuse_drives(instance: objects.Instance, block_devices: Any) -> None:
    """:raises InvalidSpec: if the server is to have drives of its own"""
    if virt_driver.block_device_info_get_mapping(block_devices):
        raise errors.InvalidSpec('volumes cannot be attached to a container')
    if instance.flavor.ephemeral_gb:
        raise errors.InvalidSpec(
            'flavor: containers have no ephemeral disks')
    # Nova notes one for each server that it has built, where an operator or
    # an image wants one for all; no tenant's wish, and too late to refuse.
    built = 'launched_at' in instance and instance.launched_at
    if not built and 'config_drive' in instance and (
            strutils.bool_from_string(instance.config_drive)):
        raise errors.InvalidSpec(
            'config_drive: containers have none; use the metadata service, '
            'or configs and environment of the specification')


def inputs(instance: objects.Instance, image: models.EngineImage,
           tenant: models.TenantSpec, policy: models.Policy,
           box: models.Sandbox | None = None,
           mounts: tuple[models.Mount, ...] = ()) -> spec.Inputs:
    """All that decides what the server's container is."""
    flavor = instance.flavor
    cells = instance.numa_topology.cells if instance.numa_topology else ()
    if any(cell.cpu_pinning and cell.cpuset for cell in cells):
        raise errors.InvalidSpec(
            'flavor: hw:cpu_policy: a container has either dedicated CPUs or '
            'shared ones, not both')
    return spec.Inputs(
        instance_uuid=instance.uuid, hostname=hostname(instance),
        name=instance.name if 'id' in instance else instance.uuid,
        memory_mib=flavor.memory_mb, swap_mib=flavor.swap,
        vcpus=flavor.vcpus, extra_specs=dict(flavor.extra_specs or {}),
        image=image, tenant=tenant, policy=policy, sandbox=box,
        mounts=mounts, disk_gib=flavor.root_gb,
        pci_addresses=_pci_addresses(instance),
        pinned_cpus=frozenset(
            cpu for cell in cells
            for cpu in (cell.cpu_pinning or {}).values()),
        memory_nodes=frozenset(
            cell.id for cell in cells if cell.cpu_pinning))


def trusted_certs(instance: objects.Instance) -> Any:
    """The certificates that an image's signature must go back to, if any."""
    return instance.trusted_certs if 'trusted_certs' in instance else None


def pinned(instance: objects.Instance) -> dict[str, str]:
    """The reference that has become a digest for the server, if one has."""
    found = instance.system_metadata
    if not found.get(_REFERENCE) or not found.get(_DIGEST):
        return {}
    return {found[_REFERENCE]: found[_DIGEST]}


def pin(instance: objects.Instance, reference: str, digest: str) -> None:
    """The server keeps the image, wherever and whenever it is built."""
    if pinned(instance) != {reference: digest}:
        instance.system_metadata.update(
            {_REFERENCE: reference, _DIGEST: digest})
        instance.save()


def project(instance: objects.Instance) -> str:
    """The id of the project whose server it is."""
    return str(instance.project_id) if 'project_id' in instance else ''


def _pci_addresses(instance: objects.Instance) -> tuple[str, ...]:
    """The devices that the flavor asks for; a port's are the network's."""
    if 'pci_devices' not in instance or not instance.pci_devices:
        return ()
    return tuple(device.address for device in instance.get_pci_devices(
        source=objects.InstancePCIRequest.FLAVOR_ALIAS))
