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

"""Ports that the world knows."""

from __future__ import annotations

from typing import Any

from heat_plugins.compose import models
from heat_plugins.compose import plans
from heat_plugins.compose import wiring


def ports(service: models.Service, plan: plans.Plan) -> plans.Resources:
    """Ports whose addresses outlive the containers."""
    found: plans.Resources = {}
    for attachment in service.attachments:
        network = plan.document.networks[attachment.network]
        properties: dict[str, Any] = {
            'network': plans.reference(network, plan),
            'security_groups': wiring.groups(service, plan)}
        if attachment.addresses:
            properties['fixed_ips'] = [
                {'ip_address': address} for address in attachment.addresses]
        found[f'port:{service.name}:{attachment.network}'] = {
            'type': 'OS::Neutron::Port', 'properties': properties}
        if not plans.outside(network, plan):
            found[f'port:{service.name}:{attachment.network}'][
                'depends_on'] = [f'interface:{network.name}']
    return found


def published(service: models.Service, plan: plans.Plan) -> plans.Resources:
    """What leads from the public network to a service."""
    if not (plans.world(service) and service.attachments
            and plan.choices.public_network):
        return {}
    if plan.choices.publish == plans.LOAD_BALANCER:
        return _balanced(service, plan)
    if plan.choices.publish == plans.NOWHERE:
        return {}
    outermost = plans.attachments(service, plan)[0]
    inner = f'port:{service.name}:{outermost.network}'
    if plan.choices.publish == plans.FLOATING_IP:
        return {f'address:{service.name}': {
            'type': 'OS::Neutron::FloatingIP', 'properties': {
                'floating_network': plan.choices.public_network,
                'port_id': {'get_resource': inner}},
            'depends_on': plans.interfaces(service, plan)}}
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
        for port in plans.world(service)}


def _balanced(service: models.Service, plan: plans.Plan) -> plans.Resources:
    outermost = plans.attachments(service, plan)[0]
    network = plan.document.networks[outermost.network]
    outside = plans.outside(network, plan)
    where: dict[str, Any] = {'vip_network': outside} if outside else {
        'vip_subnet': {'get_resource': f'subnet:{network.name}'}}
    if plan.choices.lb_provider:
        where['provider'] = plan.choices.lb_provider
    balancer = f'balancer:{service.name}'
    found: plans.Resources = {
        balancer: {'type': 'OS::Octavia::LoadBalancer', 'properties': where},
        f'address:{service.name}': {
            'type': 'OS::Neutron::FloatingIP', 'properties': {
                'floating_network': plan.choices.public_network,
                'port_id': {'get_attr': [balancer, 'vip_port_id']}},
            'depends_on': plans.interfaces(service, plan)}}
    for port in plans.world(service):
        name = f'{service.name}:{port.protocol}:{port.published}'
        protocol = port.protocol.upper()
        found[f'listener:{name}'] = {
            'type': 'OS::Octavia::Listener', 'properties': {
                'loadbalancer': {'get_resource': balancer},
                'protocol': protocol, 'protocol_port': port.published}}
        found[f'pool:{name}'] = {
            'type': 'OS::Octavia::Pool', 'properties': {
                'listener': {'get_resource': f'listener:{name}'},
                'lb_algorithm': plan.choices.lb_algorithm,
                'protocol': protocol}}
        for index in range(service.replicas):
            address = plans.address_of(
                service, outermost,
                index if plans.grouped(service, plan) else None, plan)
            found[f'member:{name}:{index}'] = {
                'type': 'OS::Octavia::PoolMember', 'properties': {
                    'pool': {'get_resource': f'pool:{name}'},
                    'address': address,
                    'protocol_port': port.first}}
    return found


def shared(resources: plans.Resources, plan: plans.Plan) -> plans.Resources:
    """What all services have together, where there is use for it."""
    found: plans.Resources = {}
    if any({'get_resource': 'router:'} == (
            one.get('properties') or {}).get('router')
            for one in resources.values()):
        gateway = {'external_gateway_info': {
            'network': plan.choices.public_network}} if (
                plan.choices.public_network) else {}
        found['router:'] = {'type': 'OS::Neutron::Router',
                            'properties': gateway}
    if any(one['type'] == 'OS::Neutron::FloatingIPPortForward'
           for one in resources.values()):
        found['address:'] = {
            'type': 'OS::Neutron::FloatingIP', 'properties': {
                'floating_network': plan.choices.public_network},
            'depends_on': [name for name in resources
                           if name.startswith('interface:')]}
    return found
