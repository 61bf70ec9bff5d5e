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

"""What a document means in a cloud, and how its resources are named."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import math
import re
from typing import Any

from heat_plugins.compose import models

FLOATING_IP, PORT_FORWARDING, LOAD_BALANCER, NOWHERE = PUBLISH = (
    'floating_ip', 'port_forwarding', 'load_balancer', 'none')

#: Octavia's. A provider honours some of them, OVN the last alone.
ALGORITHMS = ('ROUND_ROBIN', 'LEAST_CONNECTIONS', 'SOURCE_IP',
              'SOURCE_IP_PORT')

REFUSE, EPHEMERAL, CINDER = VOLUMES = ('refuse', 'ephemeral', 'cinder')

DNS, HOSTS = RESOLUTION = ('dns', 'hosts')

_WAITS = {models.STARTED: 'running', models.HEALTHY: 'healthy',
          models.COMPLETED: 'completed'}
_STRONGER = ('running', 'healthy', 'completed')

Resources = dict[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Flavor:
    """What a flavor gives."""

    name: str
    vcpus: int
    memory_mb: int


@dataclasses.dataclass(frozen=True)
class Choices:
    """What a Compose file does not say, and a cloud has to know."""

    flavors: tuple[Flavor, ...] = ()
    #: For services that ask for nothing; the smallest if empty.
    flavor: str = ''
    #: Service to an image in Glance.
    images: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: Network of the document to one that is there.
    networks: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: Where published ports are published; nowhere if empty.
    public_network: str = ''
    publish: str = FLOATING_IP
    #: Of load balancers; the cloud's own choice if empty.
    lb_provider: str = ''
    lb_algorithm: str = ALGORITHMS[0]
    volumes: str = REFUSE
    resolution: str = DNS


@dataclasses.dataclass(frozen=True)
class Plan:
    """A document, and the choices for it."""

    document: models.Document
    choices: Choices


def grouped(service: models.Service, plan: Plan) -> bool:
    """Whether a service is a group of containers, though it be of one.

    A single one that is published has a port of its own instead.
    """
    return service.scaled and not (
        service.replicas == 1 and world(service)
        and plan.choices.public_network
        and plan.choices.publish in (FLOATING_IP, PORT_FORWARDING))


def attachments(service: models.Service, plan: Plan
                ) -> list[models.Attachment]:
    """Those first that lead out of the cloud."""
    return sorted(service.attachments, key=lambda attachment: (
        plan.document.networks[attachment.network].internal))


def world(service: models.Service) -> tuple[models.Port, ...]:
    """The ports that the world may reach."""
    return tuple(port for port in service.ports if port.published)


def wait_for(service: models.Service, plan: Plan) -> str:
    """What others, or it itself, ask to be waited for."""
    if 'wait_for' in service.properties:
        return str(service.properties['wait_for'])
    asked = [_WAITS[other.depends_on[service.name]]
             for other in plan.document.services.values()
             if service.name in other.depends_on]
    return max(asked, key=_STRONGER.index, default='running')


def outside(network: models.Network, plan: Plan) -> str:
    """The name of a network that is there already, if it is one."""
    return plan.choices.networks.get(network.name, '') or network.external


def has_ports(service: models.Service, plan: Plan) -> bool:
    """Its addresses are known by the world, and outlive its containers."""
    return bool(world(service) and service.attachments
                and plan.choices.public_network
                and not grouped(service, plan)
                and plan.choices.publish in (FLOATING_IP, PORT_FORWARDING))


def flavor_of(service: models.Service, plan: Plan) -> str:
    """The smallest flavor that fits; empty if none does."""
    if service.flavor:
        return service.flavor
    if plan.choices.flavor and not (plan.choices.flavors and (
            service.cpus or service.memory_mb)):
        return plan.choices.flavor
    fitting = [flavor for flavor in plan.choices.flavors
               if flavor.memory_mb >= service.memory_mb
               and flavor.vcpus >= math.ceil(service.cpus)]
    return min(fitting, key=lambda flavor: (
        flavor.memory_mb, flavor.vcpus, flavor.name)).name if fitting else ''


def hostname(service: models.Service) -> str:
    """A name that a host may have: that of the service, if it is one."""
    name = re.sub('[^A-Za-z0-9-]+', '-',
                  service.hostname or service.name).strip('-')
    # With room for the number of a replica.
    return name[:58].strip('-') or 'container'


def address(service: models.Service, attachment: models.Attachment,
            plan: Plan) -> Any:
    """The address of a service, of the first of its replicas."""
    if attachment.addresses:
        return attachment.addresses[0]
    if has_ports(service, plan):
        return {'get_attr': [f'port:{service.name}:{attachment.network}',
                             'fixed_ips', 0, 'ip_address']}
    return address_of(service, attachment,
                      0 if grouped(service, plan) else None, plan)


def address_of(service: models.Service, attachment: models.Attachment,
               replica: int | None, plan: Plan) -> dict[str, Any]:
    """The address of one container; of several, on that network."""
    prefix = '' if replica is None else f'resource.{replica}.'
    if len(service.attachments) == 1:
        return {'get_attr': [service.name, f'{prefix}first_ip']}
    network = plan.document.networks[attachment.network]
    name = outside(network, plan) or {
        'get_attr': [f'network:{network.name}', 'name']}
    return {'get_attr': [service.name, f'{prefix}networks', name, 0]}


def reference(network: models.Network, plan: Plan) -> Any:
    """What a template calls a network."""
    return (outside(network, plan)
            or {'get_resource': f'network:{network.name}'})


def interfaces(service: models.Service, plan: Plan) -> list[str]:
    """The resources that give the networks of a service their router."""
    found = []
    for attachment in service.attachments:
        network = plan.document.networks[attachment.network]
        if not outside(network, plan):
            found += [f'interface:{network.name}'
                      + (f':{index}' if index else '')
                      for index in range(max(1, len(network.cidrs)))]
    return found
