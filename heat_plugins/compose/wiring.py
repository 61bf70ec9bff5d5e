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

"""Networks, and security groups that let in what a document implies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import hashlib
import ipaddress
from typing import Any

from heat_plugins.compose import models
from heat_plugins.compose import plans

#: Ranges for networks that name none: those of 10.64.0.0/10.
_POOL, _POOL_SIZE = int(ipaddress.IPv4Address('10.64.0.0')), 16384


def networks(plan: plans.Plan) -> plans.Resources:
    """All networks that are not there already, with a router each has."""
    found: plans.Resources = {}
    ranges = _ranges(plan.document)
    for network in plan.document.networks.values():
        if not plans.outside(network, plan):
            found.update(_network(network, ranges))
    return found


def _network(network: models.Network, ranges: Mapping[str, str]
             ) -> plans.Resources:
    name = network.name
    cidrs = network.cidrs or (ranges[name],)
    gateways = network.gateways or ('',)
    router = f'router:{name}' if network.internal else 'router:'
    found: plans.Resources = {f'network:{name}': {'type': 'OS::Neutron::Net'}}
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


def _ranges(document: models.Document) -> dict[str, str]:
    """A range of addresses for each network that names none.

    The same for a name, whatever other networks there are; but for those few
    that would get the same one, or one that is taken.
    """
    taken = {ipaddress.ip_network(cidr, strict=False)
             for network in document.networks.values()
             for cidr in network.cidrs if ':' not in cidr}
    found = {}
    for name in sorted(document.networks):
        if document.networks[name].cidrs:
            continue
        digest = hashlib.sha256(name.encode()).digest()
        number = int.from_bytes(digest[:2]) % _POOL_SIZE
        # There are many more of them than a document has networks.
        while any(_pool(number).overlaps(one) for one in taken):
            number = (number + 1) % _POOL_SIZE
        taken.add(_pool(number))
        found[name] = str(_pool(number))
    return found


def _pool(number: int) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network((_POOL + number * 256, 24))


def security(service: models.Service, plan: plans.Plan) -> plans.Resources:
    """Lets in what the document implies, and nothing else.

    Who shares a network may reach the ports that a service declares; who
    depends on a service that declares none may reach all of them; the world
    may reach what is published.
    """
    if not service.attachments:
        return {}
    found: plans.Resources = {f'group:{service.name}': {
        'type': 'OS::Neutron::SecurityGroup', 'properties': {
            'description': f'Of the service {service.name}'}}}
    networks = [attachment.network for attachment in service.attachments]
    for name in networks:
        # All on a network are one group, or each port had a rule for each.
        if _declares(name, plan):
            found[f'members:{name}'] = {
                'type': 'OS::Neutron::SecurityGroup', 'properties': {
                    'description': f'On the network {name}'}}
        for port in service.ports:
            found.update(_rules(service, port, f'members:{name}', {
                'remote_group': {'get_resource': f'members:{name}'}},
                _families([name], plan)))
    for peer in plan.document.services.values() if not service.ports else ():
        # Nobody talks to what has completed.
        shared = set(networks) & {attachment.network
                                  for attachment in peer.attachments}
        if shared and peer.depends_on.get(
                service.name, models.COMPLETED) != models.COMPLETED:
            found.update(_rules(service, None, peer.name, {
                'remote_group': {'get_resource': f'group:{peer.name}'}},
                _families(shared, plan)))
    for port in plans.world(service):
        found.update(_rules(service, port, 'world', {},
                            _families(networks, plan)))
    return found


def _families(networks: Iterable[str], plan: plans.Plan
              ) -> list[str]:
    """The versions of IP that there are on networks."""
    found = set()
    for name in networks:
        network = plan.document.networks[name]
        if plans.outside(network, plan):
            # Nobody knows but Neutron.
            return ['IPv4', 'IPv6']
        found |= {'IPv6' if ':' in cidr else 'IPv4'
                  for cidr in network.cidrs or ('',)}
    return sorted(found)


def _rules(service: models.Service, port: models.Port | None, peer: str,
           more: dict[str, Any], families: list[str]) -> plans.Resources:
    found: plans.Resources = {}
    for family in families:
        found.update(_rule(service, port, peer if family == 'IPv4'
                           else f'{peer}:v6', {
                               **more, **({'ethertype': 'IPv6'}
                                          if family == 'IPv6' else {})}))
    return found


def _declares(network: str, plan: plans.Plan) -> bool:
    """Somebody on the network says on which ports it listens."""
    return any(service.ports and network in {
        attachment.network for attachment in service.attachments}
        for service in plan.document.services.values())


def groups(service: models.Service, plan: plans.Plan
           ) -> list[dict[str, str]]:
    """The security groups of a service's ports."""
    names = [f'group:{service.name}', *(
        f'members:{attachment.network}' for attachment in service.attachments
        if _declares(attachment.network, plan))]
    return [{'get_resource': name} for name in names]


def _rule(service: models.Service, port: models.Port | None, peer: str,
          more: dict[str, Any]) -> plans.Resources:
    what = (f'{port.protocol}:{port.first}-{port.last}' if port else 'all')
    ports = {} if port is None else {
        'protocol': port.protocol, 'port_range_min': port.first,
        'port_range_max': port.last}
    return {f'rule:{service.name}:{peer}:{what}': {
        'type': 'OS::Neutron::SecurityGroupRule', 'properties': {
            'security_group': {'get_resource': f'group:{service.name}'},
            'direction': 'ingress', **ports, **more}}}
