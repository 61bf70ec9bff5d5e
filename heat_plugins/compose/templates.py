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

"""From the values of a Compose file to a template of Heat.

Each service is a container, or a group of them, with a security group of its
own; each network is Neutron's, with a router that also makes Neutron's DNS
answer. Resources that Compose has no name for have a colon in theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
import re
from typing import Any

from heat_plugins.compose import models
from heat_plugins.compose import plans
from heat_plugins.compose import problems
from heat_plugins.compose import publishing
from heat_plugins.compose import wiring

VERSION = '2021-04-16'

_CONTAINER = 'OS::NovaDocker::Container'


def make(document: models.Document, choices: plans.Choices
         ) -> dict[str, Any]:
    """A template of Heat that does what the document says.

    :raises Refused: naming everything that the choices do not allow
    """
    plan = plans.Plan(document, choices)
    found = list(problems.find(plan))
    if found:
        raise models.Refused(found)
    resources = wiring.networks(plan)
    for service in plan.document.services.values():
        resources.update(wiring.security(service, plan))
        resources.update(_service(service, plan))
        resources.update(publishing.published(service, plan))
    resources.update(publishing.shared(resources, plan))
    return {
        'heat_template_version': VERSION,
        'parameters': {name: {'type': 'string', 'hidden': True}
                       for name in plan.document.secrets},
        'resources': resources,
        'outputs': _outputs(plan, resources)}


def _service(service: models.Service, plan: plans.Plan) -> plans.Resources:
    found = dict(_volumes(service, plan))
    properties = _properties(service, plan)
    if plans.has_ports(service, plan):
        found.update(publishing.ports(service, plan))
        properties['networks'] = [
            {'port': {'get_resource':
                      f'port:{service.name}:{attachment.network}'}}
            for attachment in plans.attachments(service, plan)]
    elif service.attachments:
        properties['security_groups'] = wiring.groups(service, plan)
    needed = _needed(service, plan)
    if not plans.grouped(service, plan):
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


def _rolling(service: models.Service) -> dict[str, int]:
    at_once = service.parallelism or max(1, service.replicas)
    kept = service.replicas if service.start_first else (
        service.replicas - at_once)
    return {'max_batch_size': at_once, 'min_in_service': max(0, kept),
            'pause_time': service.delay}


def _properties(service: models.Service, plan: plans.Plan) -> dict[str, Any]:
    properties: dict[str, Any] = {
        **service.properties, **_image(service, plan),
        'flavor': plans.flavor_of(service, plan),
        'hostname': plans.hostname(service)}
    if 'image_ref' not in properties:
        # Glance is asked for each container anyway.
        properties.pop('pull_policy', None)
    waited = plans.wait_for(service, plan)
    if waited != 'running':
        properties['wait_for'] = waited
    properties['networks'] = [
        _attachment(attachment, plan)
        for attachment in plans.attachments(service, plan)] or [
            {'allocate_network': 'none'}]
    names = _names_of_others(service, plan)
    if names:
        properties['extra_hosts'] = {
            **names, **(properties.get('extra_hosts') or {})}
    mounts = [*(properties.get('mounts') or ()), *(
        _mount(volume, plan) for volume in service.volumes)]
    if mounts:
        properties['mounts'] = mounts
    return properties


def _mount(volume: models.Volume, plan: plans.Plan) -> dict[str, Any]:
    if plan.choices.volumes == plans.EPHEMERAL:
        return {'type': 'ephemeral', 'target': volume.target}
    there = plan.document.volumes.get(volume.name, 1)
    return {'type': 'volume', 'target': volume.target,
            'volume': there if isinstance(there, str) else {
                'get_resource': f'volume:{volume.name}'},
            **({'read_only': True} if volume.read_only else {})}


def _attachment(attachment: models.Attachment, plan: plans.Plan
                ) -> dict[str, Any]:
    network = plan.document.networks[attachment.network]
    return {'network': plans.reference(network, plan), **(
        {'fixed_ip': attachment.addresses[0]} if attachment.addresses
        else {})}


def _image(service: models.Service, plan: plans.Plan) -> dict[str, str]:
    """A reference with a registry in it is one; else it is Glance's name."""
    chosen = plan.choices.images.get(service.name)
    if chosen:
        return {'image': chosen}
    host = service.image.partition('/')[0]
    if '/' in service.image and (host == 'localhost'
                                 or re.search('[.:]', host)):
        return {'image_ref': service.image}
    return {'image': service.image}


def _needed(service: models.Service, plan: plans.Plan) -> list[str]:
    """What has to be there first, and no reference tells."""
    rules = [name for name in wiring.security(service, plan)
             if name.startswith('rule:')]
    return [*service.depends_on, *plans.interfaces(service, plan), *rules]


def _names_of_others(service: models.Service, plan: plans.Plan
                     ) -> dict[str, Any]:
    """What Neutron's DNS does not know, of services before this one."""
    found: dict[str, Any] = {}
    mine = {attachment.network for attachment in service.attachments}
    for other in _before(service, plan):
        attachments = [attachment for attachment
                       in plans.attachments(other, plan)
                       if attachment.network in mine]
        if not attachments or not other.replicas:
            continue
        names = {other.name, *service.links.get(other.name, ()),
                 *(alias for attachment in attachments
                   for alias in attachment.aliases)}
        if 'name' in other.properties:
            names.add(other.properties['name'])
        if (plan.choices.resolution == plans.DNS
                and not plans.grouped(other, plan)):
            names.discard(plans.hostname(other))
        for name in sorted(names):
            found[name] = plans.address(other, attachments[0], plan)
    return found


def _before(service: models.Service, plan: plans.Plan
            ) -> list[models.Service]:
    found: dict[str, models.Service] = {}
    waiting = list(service.depends_on)
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = plan.document.services[name]
            waiting += found[name].depends_on
    return list(found.values())


def _volumes(service: models.Service, plan: plans.Plan
             ) -> Iterator[tuple[str, dict[str, Any]]]:
    if plan.choices.volumes != plans.CINDER:
        return
    for volume in service.volumes:
        size = plan.document.volumes.get(volume.name, 1)
        if isinstance(size, int):
            yield f'volume:{volume.name}', {
                'type': 'OS::Cinder::Volume', 'properties': {'size': size}}


def _outputs(plan: plans.Plan, resources: plans.Resources
             ) -> dict[str, Any]:
    services = {}
    for service in plan.document.services.values():
        if plans.grouped(service, plan):
            ids: Any = {'get_attr': [service.name, 'refs']}
            ips: Any = _outermost_address(service, plan)
        else:
            ids = [{'get_resource': service.name}]
            ips = [_outermost_address(service, plan)]
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


def _outermost_address(service: models.Service, plan: plans.Plan) -> Any:
    """Of a group, the addresses of all."""
    attachments = plans.attachments(service, plan)
    return plans.address_of(service, attachments[0], None, plan) if (
        attachments) else None
