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

"""A Compose file in its normalised form, read into values.

The normalised form is what ``docker compose config --format json`` prints:
one document, long forms, nothing that refers to another file. What cannot be
honoured is refused by its name, with what to use in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import dataclasses
from typing import Any

from heat_plugins.compose import keys
from heat_plugins.compose import models
from heat_plugins.compose import mounts
from heat_plugins.compose import networks
from heat_plugins.compose import process
from heat_plugins.compose import reader

_MOST_REPLICAS = 1000
_MOST_SERVICES = 500
#: Each gets a range of addresses, which has to differ from all others.
_MOST_NETWORKS = 256


def read(text: Mapping[str, Any], escaped: bool = True,
         ignore: bool = False) -> models.Document:
    """The values of a document in the normalised form.

    :param escaped: ``$$`` stands for ``$``, as in a Compose file
    :param ignore: what cannot be honoured is a warning
    :raises Refused: naming everything that cannot be honoured
    """
    reading = reader.Reading(text, escaped)
    found = _document(reading)
    if reading.problems and not ignore:
        raise models.Refused(reading.problems)
    return dataclasses.replace(found, warnings=tuple(reading.problems))


def _document(reading: reader.Reading) -> models.Document:
    for key in reading.document:
        if key not in keys.TOP and not key.startswith('x-'):
            reading.refuse(key, models.NORMALISE if key == 'include'
                           else 'is no key that is known')
    services = {name: _service(reading, name, reading.mapping(
        service or {}, f'services.{name}')) for name, service
        in _few(reading, 'services', _MOST_SERVICES).items()}
    if not services:
        reading.refuse('services', 'there is none')
    _check_dependencies(reading, services)
    return models.Document(
        services, _networks(reading, services.values()), {
            name: mounts.volume(reading, name, volume or {})
            for name, volume
            in reading.child(reading.document, 'volumes').items()},
        reading.secrets)


def _few(reading: reader.Reading, key: str, most: int) -> Mapping[str, Any]:
    """The mapping under a key of the document, if it is not too large."""
    found = reading.child(reading.document, key)
    if len(found) > most:
        # Whatever is ignored, nobody works through this.
        raise models.Refused([models.Problem(key, f'there can be {most}')])
    return found


def _networks(reading: reader.Reading, services: Iterable[models.Service]
              ) -> dict[str, models.Network]:
    """Those that are described, and those that services merely name."""
    found = {name: networks.network(reading, name, network or {})
             for name, network
             in _few(reading, 'networks', _MOST_NETWORKS).items()}
    for service in services:
        for attachment in service.attachments:
            found.setdefault(attachment.network,
                             models.Network(attachment.network))
    if len(found) > _MOST_NETWORKS:
        raise models.Refused([models.Problem(
            'networks', f'there can be {_MOST_NETWORKS}')])
    return found


def _service(reading: reader.Reading, name: str, service: Mapping[str, Any]
             ) -> models.Service:
    where = f'services.{name}'
    _check_keys(reading, service, where)
    _check_below(reading, service, where)
    deploy = reading.child(service, 'deploy', where)
    ours = reading.child(service, 'x-nova', where)
    limits = reading.child(reading.child(deploy, 'resources', where),
                           'limits', f'{where}.deploy.resources')
    update = reading.child(deploy, 'update_config', f'{where}.deploy')
    memory = limits.get('memory') or service.get('mem_limit')
    links = _links(reading, service, where)
    depends_on = _depends_on(reading, service, where)
    return models.Service(
        name, process.properties(reading, service, deploy, ours, where),
        image=str(service.get('image') or ''),
        attachments=networks.attachments(reading, service, where),
        ports=tuple(networks.ports(reading, service, where)),
        volumes=tuple(mounts.volumes(reading, service, where)),
        depends_on={**{linked: models.STARTED for linked in links},
                    **depends_on},
        links=links,
        hostname=str(service.get('hostname') or ''),
        replicas=_replicas(reading, service, deploy, where),
        scaled='replicas' in deploy or 'scale' in service,
        cpus=reading.number(limits.get('cpus') or service.get('cpus') or 0,
                            f'{where}.cpus'),
        memory_mb=reading.mebibytes(memory, f'{where}.mem_limit')
        if memory else 0,
        flavor=str(ours.get('flavor') or ''),
        parallelism=int(reading.number(update.get('parallelism', 1),
                                       f'{where}.deploy.update_config')),
        delay=reading.seconds(update['delay'],
                              f'{where}.deploy.update_config.delay')
        if update.get('delay') else 0,
        start_first=update.get('order') == 'start-first',
        one_per_host=reading.child(deploy, 'placement', where).get(
            'max_replicas_per_node') == 1,
        builds=bool(service.get('build')))


def _check_keys(reading: reader.Reading, service: Mapping[str, Any],
                where: str) -> None:
    known = {*keys.SAME, *keys.LISTS, *keys.READ}
    for key, value in service.items():
        if key in known or key.startswith('x-') or not value:
            continue
        reading.refuse(f'{where}.{key}', keys.REFUSED.get(
            key, 'is no key of a service'))
    for option in reading.sequence(service.get('security_opt'),
                                   f'{where}.security_opt'):
        if option not in ('no-new-privileges', 'no-new-privileges:true',
                          'no-new-privileges=true'):
            reading.refuse(f'{where}.security_opt', keys.GRANTED)
    platform = str(service.get('platform') or 'linux')
    if not platform.startswith('linux'):
        reading.refuse(f'{where}.platform', 'hosts run Linux only')


def _check_below(reading: reader.Reading, service: Mapping[str, Any],
                 where: str) -> None:
    """Keys of what is in a service; what is off asks for nothing."""
    for path, known in keys.BELOW.items():
        found: Any = service
        for part in path.split('.'):
            found = found.get(part) if isinstance(found, Mapping) else {}
        for key, value in (found.items() if isinstance(found, Mapping)
                           else ()):
            if (key not in known and value
                    and not str(key).startswith('x-')):
                reading.refuse(f'{where}.{path}.{key}', 'is not honoured')


def _replicas(reading: reader.Reading, service: Mapping[str, Any],
              deploy: Mapping[str, Any], where: str) -> int:
    where = f'{where}.deploy'
    if deploy.get('mode') not in (None, 'replicated'):
        reading.refuse(f'{where}.mode', 'say how many replicas there are')
    if deploy.get('endpoint_mode') not in (None, 'dnsrr'):
        reading.refuse(f'{where}.endpoint_mode',
                       'use a load balancer for published ports')
    placement = reading.child(deploy, 'placement', where)
    for key in ('constraints', 'preferences'):
        if placement.get(key):
            reading.refuse(f'{where}.placement.{key}',
                           'choose a flavor or an availability zone')
    if placement.get('max_replicas_per_node') not in (None, 1):
        reading.refuse(f'{where}.placement.max_replicas_per_node',
                       'only 1 can be asked for')
    if reading.child(reading.child(deploy, 'resources', where),
                     'reservations', f'{where}.resources').get('devices'):
        reading.refuse(f'{where}.resources.reservations.devices', keys.GRANTED)
    replicas = deploy.get('replicas', service.get('scale', 1))
    found = int(reading.number(1 if replicas is None else replicas,
                               f'{where}.replicas'))
    if found > _MOST_REPLICAS:
        reading.refuse(f'{where}.replicas',
                       f'there can be {_MOST_REPLICAS}')
    return found


def _depends_on(reading: reader.Reading, service: Mapping[str, Any], where: str
                ) -> dict[str, str]:
    value = service.get('depends_on') or {}
    if isinstance(value, list):
        return dict.fromkeys(map(str, value), models.STARTED)
    found = {}
    for name, entry in reading.mapping(value,
                                       f'{where}.depends_on').items():
        at = f'{where}.depends_on.{name}'
        entry = reading.mapping(entry or {}, at)
        condition = entry.get('condition', models.STARTED)
        if entry.get('restart') and name not in _implied(service):
            reading.refuse(f'{at}.restart', 'a service that is made anew '
                           'keeps its address; let the process connect '
                           'again')
        if condition not in models.CONDITIONS:
            reading.refuse(f'{at}.condition', f'{condition!r} is none')
        elif entry.get('required', True) or name in reading.child(
                reading.document, 'services'):
            found[name] = condition
    return found


def _implied(service: Mapping[str, Any]) -> set[str]:
    """The services that Compose adds to depends_on, with a restart."""
    shared = [str(service.get(key)).removeprefix('service:')
              for key in ('network_mode', 'ipc', 'pid', 'uts')]
    listed = [service.get(key) for key in ('links', 'volumes_from')]
    named = [str(entry).partition(':')[0] for value in listed
             if isinstance(value, list) for entry in value]
    return {*shared, *named}


def _links(reading: reader.Reading, service: Mapping[str, Any], where: str
           ) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for link in reading.sequence(service.get('links'), f'{where}.links'):
        name, _, alias = str(link).partition(':')
        found[name] = (*found.get(name, ()), *((alias,) if alias else ()))
    return found


def _check_dependencies(reading: reader.Reading,
                        services: Mapping[str, models.Service]) -> None:
    for service in services.values():
        for name, condition in service.depends_on.items():
            where = f'services.{service.name}.depends_on.{name}'
            if name not in services:
                reading.refuse(where, 'there is no such service')
            elif condition == models.HEALTHY and not (
                    services[name].properties.get('healthcheck')
                    or {}).get('test'):
                reading.refuse(where, f'{name} needs a test in its '
                               'healthcheck for service_healthy')
    _check_circles(reading, services)


def _check_circles(reading: reader.Reading,
                   services: Mapping[str, models.Service]) -> None:
    """Takes away who needs nobody, until nobody is left."""
    needed = {name: {other for other in service.depends_on
                     if other in services}
              for name, service in services.items()}
    while free := [name for name, others in needed.items()
                   if not others]:
        for name in free:
            del needed[name]
        for others in needed.values():
            others.difference_update(free)
    for name in needed:
        reading.refuse(f'services.{name}.depends_on',
                       'is part of a circle, or waits for one: '
                       + ', '.join(sorted(needed)[:8]))
