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

"""From the values of a Compose file to a template of Heat: pure functions.

Each service is a container, or a group of them, with a security group of its
own; each network is Neutron's, with a router that also makes Neutron's DNS
answer. Resources that Compose has no name for have a colon in theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import dataclasses
import math
import re
from typing import Any

from heat_plugins import compose

VERSION = '2021-04-16'

FLOATING_IP, PORT_FORWARDING, LOAD_BALANCER, NOWHERE = PUBLISH = (
    'floating_ip', 'port_forwarding', 'load_balancer', 'none')

REFUSE, EPHEMERAL, CINDER = VOLUMES = ('refuse', 'ephemeral', 'cinder')

DNS, HOSTS = RESOLUTION = ('dns', 'hosts')

_CONTAINER = 'OS::NovaDocker::Container'
_WAITS = {compose.STARTED: 'running', compose.HEALTHY: 'healthy',
          compose.COMPLETED: 'completed'}
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
    volumes: str = REFUSE
    resolution: str = DNS


def template(document: compose.Document, choices: Choices
             ) -> dict[str, Any]:
    """A template of Heat that does what the document says.

    :raises Refused: naming everything that the choices do not allow
    """
    problems = list(_problems(document, choices))
    if problems:
        raise compose.Refused(problems)
    resources: Resources = {}
    for network in document.networks.values():
        resources.update(_network(network, document, choices))
    for service in document.services.values():
        resources.update(_security(service, document, choices))
        resources.update(_service(service, document, choices))
        resources.update(_published(service, document, choices))
    resources.update(_shared(resources, document, choices))
    return {
        'heat_template_version': VERSION,
        'parameters': {name: {'type': 'string', 'hidden': True}
                       for name in document.secrets},
        'resources': resources,
        'outputs': _outputs(document, choices, resources)}


# -- what the choices do not allow ------------------------------------------

def _problems(document: compose.Document, choices: Choices
              ) -> Iterator[compose.Problem]:
    for service in document.services.values():
        where = f'services.{service.name}'
        if service.builds and service.name not in choices.images:
            yield compose.Problem(
                f'{where}.build', 'name an image with --image '
                f'{service.name}=IMAGE, or build it with up --build')
        elif not (service.image or service.name in choices.images):
            yield compose.Problem(f'{where}.image', 'there is none')
        if not flavor_of(service, choices):
            yield compose.Problem(
                f'{where}.deploy.resources', 'no flavor has '
                f'{service.cpus:g} CPUs and {service.memory_mb} MiB')
        for volume in service.volumes:
            if choices.volumes == REFUSE:
                yield compose.Problem(
                    f'{where}.volumes.{volume.target}', 'containers have no '
                    'volume that outlives them yet; choose volumes: '
                    'ephemeral for one that ends with its container')
        for attachment in service.attachments:
            if len(attachment.addresses) > 1 or (
                    attachment.addresses and service.replicas > 1):
                yield compose.Problem(
                    f'{where}.networks.{attachment.network}',
                    'has more addresses than one, or replicas that would '
                    'share one')
        restart = (service.properties.get('restart_policy') or {}).get('name')
        if (wait_for(service, document) == 'completed'
                and restart in ('always', 'unless-stopped')):
            yield compose.Problem(
                f'{where}.restart', f'with {restart} it never completes, and '
                'others wait for that')
        yield from _problems_of_ports(service, choices)


def _problems_of_ports(service: compose.Service, choices: Choices
                       ) -> Iterator[compose.Problem]:
    if not choices.public_network or choices.publish == NOWHERE:
        return
    where = f'services.{service.name}.ports'
    for port in _world(service):
        if choices.publish == FLOATING_IP and port.published != port.first:
            yield compose.Problem(
                where, f'{port.published}:{port.first}: a floating IP '
                'translates no ports; publish the port itself, or choose '
                'publish: port_forwarding or load_balancer')
        if choices.publish != LOAD_BALANCER and service.scaled and (
                service.replicas > 1):
            yield compose.Problem(
                where, 'replicas are published by a load balancer; choose '
                'publish: load_balancer')


def _world(service: compose.Service) -> tuple[compose.Port, ...]:
    return tuple(port for port in service.ports if port.published)


def flavor_of(service: compose.Service, choices: Choices) -> str:
    """The smallest flavor that fits; empty if none does."""
    if service.flavor:
        return service.flavor
    if choices.flavor and not (choices.flavors and (
            service.cpus or service.memory_mb)):
        return choices.flavor
    fitting = [flavor for flavor in choices.flavors
               if flavor.memory_mb >= service.memory_mb
               and flavor.vcpus >= math.ceil(service.cpus)]
    return min(fitting, key=lambda flavor: (
        flavor.memory_mb, flavor.vcpus, flavor.name)).name if fitting else ''


def wait_for(service: compose.Service, document: compose.Document) -> str:
    """What others, or it itself, ask to be waited for."""
    if 'wait_for' in service.properties:
        return str(service.properties['wait_for'])
    asked = [_WAITS[other.depends_on[service.name]]
             for other in document.services.values()
             if service.name in other.depends_on]
    return max(asked, key=_STRONGER.index, default='running')


# -- networks ---------------------------------------------------------------

def _outside(network: compose.Network, choices: Choices) -> str:
    """The name of a network that is there already, if it is one."""
    return choices.networks.get(network.name, '') or network.external


def _reference(network: compose.Network, choices: Choices) -> Any:
    return (_outside(network, choices)
            or {'get_resource': f'network:{network.name}'})


def _network(network: compose.Network, document: compose.Document,
             choices: Choices) -> Resources:
    if _outside(network, choices):
        return {}
    name = network.name
    number = list(document.networks).index(name)
    cidrs = network.cidrs or (f'10.89.{number}.0/24',)
    gateways = network.gateways or ('',)
    router = f'router:{name}' if network.internal else 'router:'
    found: Resources = {f'network:{name}': {'type': 'OS::Neutron::Net'}}
    if network.internal:
        # It leads nowhere, and makes Neutron's DNS answer.
        found[router] = {'type': 'OS::Neutron::Router'}
    for index, (cidr, gateway) in enumerate(zip(cidrs, gateways,
                                                strict=True)):
        suffix = f'{name}:{index}' if index else name
        found[f'subnet:{suffix}'] = {
            'type': 'OS::Neutron::Subnet', 'properties': {
                'network': {'get_resource': f'network:{name}'},
                'cidr': cidr, 'ip_version': 6 if ':' in cidr else 4,
                **({'gateway_ip': gateway} if gateway else {})}}
        found[f'interface:{suffix}'] = {
            'type': 'OS::Neutron::RouterInterface', 'properties': {
                'router': {'get_resource': router},
                'subnet': {'get_resource': f'subnet:{suffix}'}}}
    return found


def _shared(resources: Resources, document: compose.Document,
            choices: Choices) -> Resources:
    """What all services have together, where there is use for it."""
    found: Resources = {}
    if any({'get_resource': 'router:'} == (
            one.get('properties') or {}).get('router')
            for one in resources.values()):
        gateway = {'external_gateway_info': {
            'network': choices.public_network}} if (
                choices.public_network) else {}
        found['router:'] = {'type': 'OS::Neutron::Router',
                            'properties': gateway}
    if any(one['type'] == 'OS::Neutron::FloatingIPPortForward'
           for one in resources.values()):
        found['address:'] = {
            'type': 'OS::Neutron::FloatingIP', 'properties': {
                'floating_network': choices.public_network},
            'depends_on': [name for name in resources
                           if name.startswith('interface:')]}
    return found


# -- security groups --------------------------------------------------------

def _security(service: compose.Service, document: compose.Document,
              choices: Choices) -> Resources:
    """Lets in what the document implies, and nothing else.

    Who shares a network may reach the ports that a service declares; who
    depends on a service that declares none may reach all of them; the world
    may reach what is published.
    """
    if not service.attachments:
        return {}
    found: Resources = {f'group:{service.name}': {
        'type': 'OS::Neutron::SecurityGroup', 'properties': {
            'description': f'Of the service {service.name}'}}}
    networks = [attachment.network for attachment in service.attachments]
    for name in networks:
        # All on a network are one group, or each port had a rule for each.
        if _declares(name, document):
            found[f'members:{name}'] = {
                'type': 'OS::Neutron::SecurityGroup', 'properties': {
                    'description': f'On the network {name}'}}
        for port in service.ports:
            found.update(_rule(service, port, f'members:{name}', {
                'remote_group': {'get_resource': f'members:{name}'}}))
    for peer in document.services.values() if not service.ports else ():
        # Nobody talks to what has completed.
        if peer.depends_on.get(service.name, compose.COMPLETED) != (
                compose.COMPLETED) and set(networks) & {
                    attachment.network for attachment in peer.attachments}:
            found.update(_rule(service, None, peer.name, {
                'remote_group': {'get_resource': f'group:{peer.name}'}}))
    for port in _world(service):
        found.update(_rule(service, port, 'world', {}))
        if any(':' in cidr for name in networks
               for cidr in document.networks[name].cidrs):
            found.update(_rule(service, port, 'world6',
                               {'ethertype': 'IPv6'}))
    return found


def _declares(network: str, document: compose.Document) -> bool:
    """Somebody on the network says on which ports it listens."""
    return any(service.ports and network in {
        attachment.network for attachment in service.attachments}
        for service in document.services.values())


def _groups(service: compose.Service, document: compose.Document
            ) -> list[dict[str, str]]:
    names = [f'group:{service.name}', *(
        f'members:{attachment.network}' for attachment in service.attachments
        if _declares(attachment.network, document))]
    return [{'get_resource': name} for name in names]


def _rule(service: compose.Service, port: compose.Port | None, peer: str,
          more: dict[str, Any]) -> Resources:
    what = (f'{port.protocol}:{port.first}-{port.last}' if port else 'all')
    ports = {} if port is None else {
        'protocol': port.protocol, 'port_range_min': port.first,
        'port_range_max': port.last}
    return {f'rule:{service.name}:{peer}:{what}': {
        'type': 'OS::Neutron::SecurityGroupRule', 'properties': {
            'security_group': {'get_resource': f'group:{service.name}'},
            'direction': 'ingress', **ports, **more}}}


# -- services ---------------------------------------------------------------

def _service(service: compose.Service, document: compose.Document,
             choices: Choices) -> Resources:
    found = dict(_volumes(service, document, choices))
    properties = _properties(service, document, choices)
    if _has_ports(service, choices):
        found.update(_ports(service, document, choices))
        properties['networks'] = [
            {'port': {'get_resource':
                      f'port:{service.name}:{attachment.network}'}}
            for attachment in service.attachments]
    elif service.attachments:
        properties['security_groups'] = _groups(service, document)
    needed = _needed(service, document, choices)
    if not service.scaled:
        found[service.name] = {'type': _CONTAINER, 'properties': properties}
    else:
        found[f'placement:{service.name}'] = {
            'type': 'OS::Nova::ServerGroup', 'properties': {'policies': [
                'anti-affinity' if service.one_per_host
                else 'soft-anti-affinity']}}
        properties['scheduler_hints'] = {
            'group': {'get_resource': f'placement:{service.name}'}}
        properties['hostname'] += '-%index%'
        properties.pop('name', None)
        found[service.name] = {
            'type': 'OS::Heat::ResourceGroup', 'properties': {
                'count': service.replicas,
                'resource_def': {'type': _CONTAINER,
                                 'properties': properties}},
            'update_policy': {'rolling_update': _rolling(service)}}
    if needed:
        found[service.name]['depends_on'] = needed
    return found


def _rolling(service: compose.Service) -> dict[str, int]:
    at_once = service.parallelism or max(1, service.replicas)
    kept = service.replicas if service.start_first else (
        service.replicas - at_once)
    return {'max_batch_size': at_once, 'min_in_service': max(0, kept),
            'pause_time': service.delay}


def _properties(service: compose.Service, document: compose.Document,
                choices: Choices) -> dict[str, Any]:
    properties = {**service.properties, **_image(service, choices),
                  'flavor': flavor_of(service, choices),
                  'hostname': hostname(service)}
    waited = wait_for(service, document)
    if waited != 'running':
        properties['wait_for'] = waited
    properties['networks'] = [
        _attachment(attachment, document, choices)
        for attachment in service.attachments] or [
            {'allocate_network': 'none'}]
    names = _names_of_others(service, document, choices)
    if names:
        properties['extra_hosts'] = {
            **names, **(properties.get('extra_hosts') or {})}
    mounts = list(properties.get('mounts') or ())
    for volume in service.volumes:
        mounts.append(
            {'type': 'ephemeral', 'target': volume.target}
            if choices.volumes == EPHEMERAL else {
                'type': 'volume', 'target': volume.target,
                'volume': _volume_reference(volume, document),
                **({'read_only': True} if volume.read_only else {})})
    if mounts:
        properties['mounts'] = mounts
    return properties


def _attachment(attachment: compose.Attachment, document: compose.Document,
                choices: Choices) -> dict[str, Any]:
    network = document.networks[attachment.network]
    return {'network': _reference(network, choices), **(
        {'fixed_ip': attachment.addresses[0]} if attachment.addresses
        else {})}


def _image(service: compose.Service, choices: Choices) -> dict[str, str]:
    """A reference with a registry in it is one; else it is Glance's name."""
    chosen = choices.images.get(service.name)
    if chosen:
        return {'image': chosen}
    host = service.image.partition('/')[0]
    if '/' in service.image and (host == 'localhost'
                                 or re.search('[.:]', host)):
        return {'image_ref': service.image}
    return {'image': service.image}


def hostname(service: compose.Service) -> str:
    """A name that a host may have: that of the service, if it is one."""
    name = re.sub('[^A-Za-z0-9-]+', '-',
                  service.hostname or service.name).strip('-')
    return name[:63] or 'container'


def _needed(service: compose.Service, document: compose.Document,
            choices: Choices) -> list[str]:
    """What has to be there first, and no reference tells."""
    found = list(service.depends_on)
    for attachment in service.attachments:
        network = document.networks[attachment.network]
        if not _outside(network, choices):
            found += [f'interface:{network.name}'
                      + (f':{index}' if index else '')
                      for index in range(max(1, len(network.cidrs)))]
    return found + [name for name in _security(service, document, choices)
                    if name.startswith('rule:')]


def _names_of_others(service: compose.Service, document: compose.Document,
                     choices: Choices) -> dict[str, Any]:
    """What Neutron's DNS does not know, of services that are there first."""
    found: dict[str, Any] = {}
    mine = {attachment.network for attachment in service.attachments}
    for other in _before(service, document):
        attachments = [attachment for attachment in other.attachments
                       if attachment.network in mine]
        if not attachments:
            continue
        names = {other.name, *service.links.get(other.name, ()),
                 *(alias for attachment in attachments
                   for alias in attachment.aliases)}
        if 'name' in other.properties:
            names.add(other.properties['name'])
        if choices.resolution == DNS and not other.scaled:
            names.discard(hostname(other))
        for name in sorted(names):
            found[name] = _address(other, attachments[0], document, choices)
    return found


def _before(service: compose.Service, document: compose.Document
            ) -> list[compose.Service]:
    found: dict[str, compose.Service] = {}
    waiting = list(service.depends_on)
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = document.services[name]
            waiting += found[name].depends_on
    return list(found.values())


def _address(service: compose.Service, attachment: compose.Attachment,
             document: compose.Document, choices: Choices) -> dict[str, Any]:
    """The address of a service, of the first of its replicas."""
    if attachment.addresses:
        return {'list_join': ['', [attachment.addresses[0]]]}
    if _has_ports(service, choices):
        return {'get_attr': [f'port:{service.name}:{attachment.network}',
                             'fixed_ips', 0, 'ip_address']}
    which = ['resource.0.first_ip'] if service.scaled else ['first_ip']
    if len(service.attachments) == 1 or (
            service.attachments[0] is attachment):
        return {'get_attr': [service.name, *which]}
    network = document.networks[attachment.network]
    name = _outside(network, choices) or {
        'get_attr': [f'network:{network.name}', 'name']}
    return {'get_attr': [service.name, *(
        ['resource.0.networks'] if service.scaled else ['networks']),
        name, 0]}


# -- ports and volumes ------------------------------------------------------

def _has_ports(service: compose.Service, choices: Choices) -> bool:
    """Its addresses are known by the world, and outlive its containers."""
    return bool(_world(service) and service.attachments
                and choices.public_network and not service.scaled
                and choices.publish in (FLOATING_IP, PORT_FORWARDING))


def _ports(service: compose.Service, document: compose.Document,
           choices: Choices) -> Resources:
    found: Resources = {}
    for attachment in service.attachments:
        network = document.networks[attachment.network]
        properties: dict[str, Any] = {
            'network': _reference(network, choices),
            'security_groups': _groups(service, document)}
        if attachment.addresses:
            properties['fixed_ips'] = [
                {'ip_address': address} for address in attachment.addresses]
        found[f'port:{service.name}:{attachment.network}'] = {
            'type': 'OS::Neutron::Port', 'properties': properties}
        if not _outside(network, choices):
            found[f'port:{service.name}:{attachment.network}'][
                'depends_on'] = [f'interface:{network.name}']
    return found


def _published(service: compose.Service, document: compose.Document,
               choices: Choices) -> Resources:
    if not (_world(service) and service.attachments
            and choices.public_network):
        return {}
    if choices.publish == LOAD_BALANCER:
        return _balanced(service, document, choices)
    if choices.publish == NOWHERE:
        return {}
    inner = f'port:{service.name}:{service.attachments[0].network}'
    interfaces = [name for name in _needed(service, document, choices)
                  if name.startswith('interface:')]
    if choices.publish == FLOATING_IP:
        return {f'address:{service.name}': {
            'type': 'OS::Neutron::FloatingIP', 'properties': {
                'floating_network': choices.public_network,
                'port_id': {'get_resource': inner}},
            'depends_on': interfaces}}
    return {
        f'forward:{service.name}:{port.protocol}:{port.published}': {
            'type': 'OS::Neutron::FloatingIPPortForward', 'properties': {
                'floating_ip': {'get_resource': 'address:'},
                'internal_port': {'get_resource': inner},
                'internal_ip_address': {'get_attr': [
                    inner, 'fixed_ips', 0, 'ip_address']},
                'internal_port_number': port.first,
                'external_port': port.published,
                'protocol': port.protocol}}
        for port in _world(service)}


def _balanced(service: compose.Service, document: compose.Document,
              choices: Choices) -> Resources:
    network = document.networks[service.attachments[0].network]
    where = ({'vip_network': _outside(network, choices)}
             if _outside(network, choices)
             else {'vip_subnet': {'get_resource': f'subnet:{network.name}'}})
    balancer = f'balancer:{service.name}'
    found: Resources = {
        balancer: {'type': 'OS::Octavia::LoadBalancer', 'properties': where},
        f'address:{service.name}': {
            'type': 'OS::Neutron::FloatingIP', 'properties': {
                'floating_network': choices.public_network,
                'port_id': {'get_attr': [balancer, 'vip_port_id']}}}}
    for port in _world(service):
        name = f'{service.name}:{port.protocol}:{port.published}'
        protocol = port.protocol.upper()
        found[f'listener:{name}'] = {
            'type': 'OS::Octavia::Listener', 'properties': {
                'loadbalancer': {'get_resource': balancer},
                'protocol': protocol, 'protocol_port': port.published}}
        found[f'pool:{name}'] = {
            'type': 'OS::Octavia::Pool', 'properties': {
                'listener': {'get_resource': f'listener:{name}'},
                'lb_algorithm': 'ROUND_ROBIN', 'protocol': protocol}}
        for index in range(service.replicas):
            address = ([service.name, f'resource.{index}.first_ip']
                       if service.scaled else [service.name, 'first_ip'])
            found[f'member:{name}:{index}'] = {
                'type': 'OS::Octavia::PoolMember', 'properties': {
                    'pool': {'get_resource': f'pool:{name}'},
                    'address': {'get_attr': address},
                    'protocol_port': port.first}}
    return found


def _volumes(service: compose.Service, document: compose.Document,
             choices: Choices) -> Iterator[tuple[str, dict[str, Any]]]:
    if choices.volumes != CINDER:
        return
    for volume in service.volumes:
        size = document.volumes.get(volume.name, 1)
        if isinstance(size, int):
            yield f'volume:{volume.name}', {
                'type': 'OS::Cinder::Volume', 'properties': {'size': size}}


def _volume_reference(volume: compose.Volume, document: compose.Document
                      ) -> Any:
    there = document.volumes.get(volume.name, 1)
    return there if isinstance(there, str) else {
        'get_resource': f'volume:{volume.name}'}


def _outputs(document: compose.Document, choices: Choices,
             resources: Resources) -> dict[str, Any]:
    services = {}
    for service in document.services.values():
        if service.scaled:
            ids: Any = {'get_attr': [service.name, 'refs']}
            ips: Any = {'get_attr': [service.name, 'first_ip']}
        else:
            ids = [{'get_resource': service.name}]
            ips = [{'get_attr': [service.name, 'first_ip']}]
        services[service.name] = {'ids': ids, 'ips': ips}
    published = {
        name.partition(':')[2] or 'all': {
            'get_attr': [name, 'floating_ip_address']}
        for name, one in resources.items()
        if one['type'] == 'OS::Neutron::FloatingIP'}
    return {
        'services': {'description': 'Ids and addresses by service.',
                     'value': services},
        'published': {'description': 'Public addresses by service.',
                      'value': published}}
