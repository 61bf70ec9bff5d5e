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

from collections.abc import Iterable, Iterator, Mapping
import dataclasses
import hashlib
import ipaddress
import math
import re
from typing import Any

from heat_plugins import compose

VERSION = '2021-04-16'

FLOATING_IP, PORT_FORWARDING, LOAD_BALANCER, NOWHERE = PUBLISH = (
    'floating_ip', 'port_forwarding', 'load_balancer', 'none')

REFUSE, EPHEMERAL, CINDER = VOLUMES = ('refuse', 'ephemeral', 'cinder')

DNS, HOSTS = RESOLUTION = ('dns', 'hosts')

#: Subnets of networks that name none: those of 10.64.0.0/10.
_POOL, _POOL_SIZE = int(ipaddress.ip_address('10.64.0.0')), 16384

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
        yield from _problems_of_ports(service, document, choices)
        if choices.volumes == EPHEMERAL:
            yield from _problems_of_ephemeral(service, document)


def _problems_of_ephemeral(service: compose.Service,
                           document: compose.Document
                           ) -> Iterator[compose.Problem]:
    for volume in service.volumes:
        where = f'services.{service.name}.volumes.{volume.target}'
        others = [other.name for other in document.services.values()
                  if other is not service and volume.name in {
                      one.name for one in other.volumes}]
        if isinstance(document.volumes.get(volume.name), str):
            yield compose.Problem(where, 'is there already, and would be '
                                  'empty')
        elif others or service.replicas > 1:
            yield compose.Problem(where, 'is shared, and would be another '
                                  'one for each container')
        elif volume.read_only:
            yield compose.Problem(where, 'is read-only, and would be empty')


def _problems_of_ports(service: compose.Service,
                       document: compose.Document, choices: Choices
                       ) -> Iterator[compose.Problem]:
    if not choices.public_network or choices.publish == NOWHERE:
        return
    where = f'services.{service.name}.ports'
    if _world(service) and all(
            document.networks[attachment.network].internal
            for attachment in service.attachments):
        yield compose.Problem(where, 'all of its networks are internal')
    for port in _world(service):
        if choices.publish == FLOATING_IP and port.published != port.first:
            yield compose.Problem(
                where, f'{port.published}:{port.first}: a floating IP '
                'translates no ports; publish the port itself, or choose '
                'publish: port_forwarding or load_balancer')
        if choices.publish != LOAD_BALANCER and _grouped(service, choices):
            yield compose.Problem(
                where, 'replicas are published by a load balancer; choose '
                'publish: load_balancer')


def _grouped(service: compose.Service, choices: Choices) -> bool:
    """Whether a service is a group of containers, though it be of one.

    A single one that is published has a port of its own instead.
    """
    return service.scaled and not (
        service.replicas == 1 and _world(service) and choices.public_network
        and choices.publish in (FLOATING_IP, PORT_FORWARDING))


def _attachments(service: compose.Service, document: compose.Document
                 ) -> list[compose.Attachment]:
    """Those first that lead out of the cloud."""
    return sorted(service.attachments, key=lambda attachment: (
        document.networks[attachment.network].internal))


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
    cidrs = network.cidrs or (_free_cidr(name, document),)
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


def _free_cidr(name: str, document: compose.Document) -> str:
    """The same for a name, whatever other networks there are.

    But for those few that would get the same one, or one that is taken.
    """
    taken = [ipaddress.ip_network(cidr, strict=False)
             for network in document.networks.values()
             for cidr in network.cidrs]
    given: dict[str, ipaddress.IPv4Network] = {}
    for network in sorted(document.networks):
        if document.networks[network].cidrs:
            continue
        digest = hashlib.sha256(network.encode()).digest()
        number = int.from_bytes(digest[:2]) % _POOL_SIZE
        while True:
            found = ipaddress.IPv4Network((_POOL + number * 256, 24))
            if not any(found.overlaps(one) for one in (
                    *taken, *given.values()) if one.version == 4):
                break
            number = (number + 1) % _POOL_SIZE
        given[network] = found
    return str(given[name])


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
            found.update(_rules(service, port, f'members:{name}', {
                'remote_group': {'get_resource': f'members:{name}'}},
                _families([name], document)))
    for peer in document.services.values() if not service.ports else ():
        # Nobody talks to what has completed.
        shared = set(networks) & {attachment.network
                                  for attachment in peer.attachments}
        if shared and peer.depends_on.get(
                service.name, compose.COMPLETED) != compose.COMPLETED:
            found.update(_rules(service, None, peer.name, {
                'remote_group': {'get_resource': f'group:{peer.name}'}},
                _families(shared, document)))
    for port in _world(service):
        found.update(_rules(service, port, 'world', {},
                            _families(networks, document)))
    return found


def _families(networks: Iterable[str], document: compose.Document
              ) -> list[str]:
    """The versions of IP that there are on networks."""
    found = set()
    for name in networks:
        network = document.networks[name]
        if network.external or not network.cidrs:
            found.add('IPv4')
        if network.external:
            # Nobody knows but Neutron.
            found.add('IPv6')
        found |= {'IPv6' if ':' in cidr else 'IPv4'
                  for cidr in network.cidrs}
    return sorted(found)


def _rules(service: compose.Service, port: compose.Port | None, peer: str,
           more: dict[str, Any], families: list[str]) -> Resources:
    found: Resources = {}
    for family in families:
        found.update(_rule(service, port, peer if family == 'IPv4'
                           else f'{peer}:v6', {
                               **more, **({'ethertype': 'IPv6'}
                                          if family == 'IPv6' else {})}))
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
            for attachment in _attachments(service, document)]
    elif service.attachments:
        properties['security_groups'] = _groups(service, document)
    needed = _needed(service, document, choices)
    if not _grouped(service, choices):
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
    properties: dict[str, Any] = {
        **_plain(service.properties), **_image(service, choices),
        'flavor': flavor_of(service, choices), 'hostname': hostname(service)}
    if 'image_ref' not in properties:
        # Glance is asked for each container anyway.
        properties.pop('pull_policy', None)
    waited = wait_for(service, document)
    if waited != 'running':
        properties['wait_for'] = waited
    properties['networks'] = [
        _attachment(attachment, document, choices)
        for attachment in _attachments(service, document)] or [
            {'allocate_network': 'none'}]
    names = _names_of_others(service, document, choices)
    if names:
        properties['extra_hosts'] = {
            **names, **(service.properties.get('extra_hosts') or {})}
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


def _plain(properties: Mapping[str, Any]) -> dict[str, Any]:
    """A map of one entry could be taken for a function of Heat."""
    found = dict(properties)
    for name in ('environment', 'labels', 'sysctls', 'extra_hosts',
                 'metadata'):
        entries = found.get(name)
        if entries and len(entries) == 1:
            (key, value), = entries.items()
            found[name] = {'map_replace': [
                {'_': value}, {'keys': {'_': key}}]}
    return found


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
    # With room for the number of a replica.
    return name[:58].strip('-') or 'container'


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
        attachments = [attachment for attachment
                       in _attachments(other, document)
                       if attachment.network in mine]
        if not attachments or not other.replicas:
            continue
        names = {other.name, *service.links.get(other.name, ()),
                 *(alias for attachment in attachments
                   for alias in attachment.aliases)}
        if 'name' in other.properties:
            names.add(other.properties['name'])
        if choices.resolution == DNS and not _grouped(other, choices):
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
    grouped = _grouped(service, choices)
    return _address_of(service, attachment, 0 if grouped else None, document,
                       choices)


def _address_of(service: compose.Service, attachment: compose.Attachment,
                replica: int | None, document: compose.Document,
                choices: Choices) -> dict[str, Any]:
    """The address of one container; of several, on that network."""
    prefix = '' if replica is None else f'resource.{replica}.'
    if len(service.attachments) == 1:
        return {'get_attr': [service.name, f'{prefix}first_ip']}
    network = document.networks[attachment.network]
    name = _outside(network, choices) or {
        'get_attr': [f'network:{network.name}', 'name']}
    return {'get_attr': [service.name, f'{prefix}networks', name, 0]}


# -- ports and volumes ------------------------------------------------------

def _has_ports(service: compose.Service, choices: Choices) -> bool:
    """Its addresses are known by the world, and outlive its containers."""
    return bool(_world(service) and service.attachments
                and choices.public_network
                and not _grouped(service, choices)
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
    outermost = _attachments(service, document)[0]
    inner = f'port:{service.name}:{outermost.network}'
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
    outermost = _attachments(service, document)[0]
    network = document.networks[outermost.network]
    where = ({'vip_network': _outside(network, choices)}
             if _outside(network, choices)
             else {'vip_subnet': {'get_resource': f'subnet:{network.name}'}})
    balancer = f'balancer:{service.name}'
    found: Resources = {
        balancer: {'type': 'OS::Octavia::LoadBalancer', 'properties': where},
        f'address:{service.name}': {
            'type': 'OS::Neutron::FloatingIP', 'properties': {
                'floating_network': choices.public_network,
                'port_id': {'get_attr': [balancer, 'vip_port_id']}},
            'depends_on': [name for name
                           in _needed(service, document, choices)
                           if name.startswith('interface:')]}}
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
            address = _address_of(
                service, outermost,
                index if _grouped(service, choices) else None, document,
                choices)
            found[f'member:{name}:{index}'] = {
                'type': 'OS::Octavia::PoolMember', 'properties': {
                    'pool': {'get_resource': f'pool:{name}'},
                    'address': address,
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
        if _grouped(service, choices):
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
