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

"""What a container is made of: pure, by small contributors.

``build`` turns what Nova, the tenant and the operator say into one frozen
ContainerSpec. Each contributor owns a group of its fields; the same input
gives the same output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import dataclasses
import hashlib
import json
from typing import Any

from nova_docker_driver import errors
from nova_docker_driver import models
from nova_docker_driver import names

#: The Engine refuses less.
MINIMUM_MEMORY_MIB = 6
_PIDS_KEY = 'docker:pids_limit'


@dataclasses.dataclass(frozen=True)
class Inputs:
    """All that decides what a container is."""

    instance_uuid: str
    hostname: str
    memory_mib: int
    swap_mib: int
    vcpus: int
    extra_specs: Mapping[str, str]
    image: models.EngineImage
    tenant: models.TenantSpec
    policy: models.Policy
    #: None for a server without ports.
    sandbox: models.Sandbox | None = None
    mounts: tuple[models.Mount, ...] = ()


def build(inputs: Inputs) -> models.ContainerSpec:
    """The container that the inputs ask for.

    :raises InvalidSpec: if there can be no such container
    """
    fields: dict[str, Any] = {}
    for contribute in _CONTRIBUTORS:
        fields.update(contribute(inputs))
    spec = models.ContainerSpec(**fields)
    labels = {**spec.labels, names.SPEC_LABEL: digest(spec)}
    return dataclasses.replace(spec, labels=labels)


def digest(spec: models.ContainerSpec) -> str:
    """Equal for equal containers; what network they are in is left out."""
    fields = dataclasses.asdict(spec)
    del fields['network_mode'], fields['labels']
    canonical = json.dumps(fields, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _identity(inputs: Inputs) -> dict[str, Any]:
    return {
        'name': names.container(inputs.instance_uuid),
        'labels': names.labels(inputs.instance_uuid, names.ROLE_SERVER,
                               inputs.policy.host),
        'image': inputs.image.id,
    }


def _process(inputs: Inputs) -> dict[str, Any]:
    tenant, image = inputs.tenant, inputs.image
    runs = tenant.entrypoint or tenant.command or (
        tenant.entrypoint is None and (image.entrypoint or image.command))
    if not runs:
        raise errors.InvalidSpec(
            'command: neither the image nor the specification has one')
    return {
        'entrypoint': tenant.entrypoint,
        'command': tenant.command,
        'environment': tuple(f'{name}={value}' for name, value
                             in sorted(tenant.environment.items())),
        'working_dir': tenant.working_dir,
        'user': tenant.user,
        'healthcheck': tenant.healthcheck,
    }


def _resources(inputs: Inputs) -> dict[str, Any]:
    if inputs.memory_mib < MINIMUM_MEMORY_MIB:
        raise errors.InvalidSpec(
            f'flavor: {inputs.memory_mib} MiB of memory are too few for a '
            f'container; the least is {MINIMUM_MEMORY_MIB}')
    pids = inputs.extra_specs.get(_PIDS_KEY)
    return {
        'memory': inputs.memory_mib * models.MIB,
        'swap': inputs.swap_mib * models.MIB,
        'nano_cpus': inputs.vcpus * 10**9,
        'pids_limit': int(pids) if pids else inputs.policy.pids_limit,
    }


def _security(inputs: Inputs) -> dict[str, Any]:
    return {
        'cap_drop': ('ALL',),
        'cap_add': inputs.policy.allowed_caps,
        'security_opt': ('no-new-privileges:true',),
    }


def _network(inputs: Inputs) -> dict[str, Any]:
    if inputs.sandbox is None:
        return {'network_mode': 'none', 'hostname': inputs.hostname,
                'sysctls': {}}
    # A container that joins a namespace cannot have these of its own.
    return {'network_mode': f'container:{inputs.sandbox.container_id}',
            'hostname': None, 'sysctls': {}}


def _files(inputs: Inputs) -> dict[str, Any]:
    return {'mounts': inputs.mounts}


def _logging(inputs: Inputs) -> dict[str, Any]:
    return {'log_max_size': inputs.policy.log_max_size,
            'log_max_files': inputs.policy.log_max_files}


_CONTRIBUTORS: tuple[Callable[[Inputs], dict[str, Any]], ...] = (
    _identity, _process, _resources, _security, _network, _files, _logging)


def sandbox(instance_uuid: str, hostname: str, image: str,
            policy: models.Policy) -> models.ContainerSpec:
    """The container that holds a server's network namespace and only waits.

    It has no capability, next to no memory and no command of a tenant's.
    """
    return models.ContainerSpec(
        name=names.sandbox(instance_uuid),
        labels=names.labels(instance_uuid, names.ROLE_SANDBOX, policy.host),
        image=image,
        network_mode='none', hostname=hostname,
        entrypoint=None, command=None, environment=(), working_dir=None,
        user=None, healthcheck=None,
        # One process runs here, but the runtime's own threads count before
        # it begins; with a limit of 4, starts failed now and then.
        memory=16 * models.MIB, swap=0, nano_cpus=10**8, pids_limit=64,
        cap_drop=('ALL',), cap_add=(),
        security_opt=('no-new-privileges:true',), mounts=(),
        # Without these the namespace refuses IPv6 addresses.
        sysctls={'net.ipv6.conf.all.disable_ipv6': '0',
                 'net.ipv6.conf.default.disable_ipv6': '0',
                 # Addresses come from Neutron, not from advertisements.
                 'net.ipv6.conf.default.accept_ra': '0'},
        log_max_size=models.MIB, log_max_files=1)
