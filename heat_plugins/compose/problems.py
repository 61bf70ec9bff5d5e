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

"""What a cloud, or the choices made for it, do not allow."""

from __future__ import annotations

from collections.abc import Iterator

from heat_plugins.compose import models
from heat_plugins.compose import plans

#: Of the version of templates that is made; a map of one such entry is one.
FUNCTIONS = frozenset((
    'Ref', 'and', 'contains', 'digest', 'equals', 'filter', 'get_attr',
    'get_file', 'get_param', 'get_resource', 'if', 'list_concat',
    'list_concat_unique', 'list_join', 'make_url', 'map_merge',
    'map_replace', 'not', 'or', 'repeat', 'resource_facade', 'str_replace',
    'str_replace_strict', 'str_replace_vstrict', 'str_split', 'yaql'))


def find(plan: plans.Plan) -> Iterator[models.Problem]:
    """Each with the key of the document that it is about."""
    for service in plan.document.services.values():
        yield from _of_needs(service, plan)
        yield from _of_names(service)
        yield from _of_volumes(service, plan)
        yield from _of_addresses(service)
        yield from _of_ports(service, plan)


def _of_needs(service: models.Service, plan: plans.Plan
              ) -> Iterator[models.Problem]:
    where = f'services.{service.name}'
    if service.builds and service.name not in plan.choices.images:
        yield models.Problem(
            f'{where}.build', 'name an image with --image '
            f'{service.name}=IMAGE, or build it with up --build')
    elif not (service.image or service.name in plan.choices.images):
        yield models.Problem(f'{where}.image', 'there is none')
    if not plans.flavor_of(service, plan):
        yield models.Problem(
            f'{where}.deploy.resources', 'no flavor has '
            f'{service.cpus:g} CPUs and {service.memory_mb} MiB')
    restart = (service.properties.get('restart_policy') or {}).get('name')
    if (plans.wait_for(service, plan) == 'completed'
            and restart in ('always', 'unless-stopped')):
        yield models.Problem(
            f'{where}.restart', f'with {restart} it never completes, and '
            'others wait for that')


def _of_names(service: models.Service) -> Iterator[models.Problem]:
    for key in ('environment', 'labels', 'sysctls'):
        entries = service.properties.get(key) or {}
        for name in entries if len(entries) == 1 else ():
            if name in FUNCTIONS or name.startswith('Fn::'):
                yield models.Problem(
                    f'services.{service.name}.{key}.{name}', 'alone it is '
                    'taken for a function of Heat; have another one beside '
                    'it')


def _of_addresses(service: models.Service) -> Iterator[models.Problem]:
    for attachment in service.attachments:
        if len(attachment.addresses) > 1 or (
                attachment.addresses and service.replicas > 1):
            yield models.Problem(
                f'services.{service.name}.networks.{attachment.network}',
                'has more addresses than one, or replicas that would share '
                'one')


def _of_volumes(service: models.Service, plan: plans.Plan
                ) -> Iterator[models.Problem]:
    for volume in service.volumes:
        where = f'services.{service.name}.volumes.{volume.target}'
        if plan.choices.volumes == plans.REFUSE:
            yield models.Problem(
                where, 'containers have no volume that outlives them yet; '
                'choose volumes: ephemeral for one that ends with its '
                'container')
        elif plan.choices.volumes == plans.EPHEMERAL:
            yield from _of_ephemeral(service, volume, where, plan)


def _of_ephemeral(service: models.Service, volume: models.Volume,
                  where: str, plan: plans.Plan) -> Iterator[models.Problem]:
    shared = service.replicas > 1 or any(
        volume.name in {one.name for one in other.volumes}
        for other in plan.document.services.values() if other is not service)
    if isinstance(plan.document.volumes.get(volume.name), str):
        yield models.Problem(where, 'is there already, and would be empty')
    elif shared:
        yield models.Problem(where, 'is shared, and would be another one for '
                             'each container')
    elif volume.read_only:
        yield models.Problem(where, 'is read-only, and would be empty')


def _of_ports(service: models.Service, plan: plans.Plan
              ) -> Iterator[models.Problem]:
    publish = plan.choices.publish
    if not plan.choices.public_network or publish == plans.NOWHERE:
        return
    where = f'services.{service.name}.ports'
    if plans.world(service) and all(
            plan.document.networks[attachment.network].internal
            for attachment in service.attachments):
        yield models.Problem(where, 'all of its networks are internal')
    for port in plans.world(service):
        if publish == plans.FLOATING_IP and port.published != port.first:
            yield models.Problem(
                where, f'{port.published}:{port.first}: a floating IP '
                'translates no ports; publish the port itself, or choose '
                'publish: port_forwarding or load_balancer')
        if publish != plans.LOAD_BALANCER and plans.grouped(service, plan):
            yield models.Problem(
                where, 'replicas are published by a load balancer; choose '
                'publish: load_balancer')
