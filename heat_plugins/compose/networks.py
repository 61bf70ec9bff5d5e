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

"""Networks, and what services do on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import ipaddress
import re
from typing import Any

from heat_plugins.compose import keys
from heat_plugins.compose import models
from heat_plugins.compose import reader

_PORT = re.compile(r'(\d+)(?:-(\d+))?(?:/(tcp|udp|sctp))?')


def attachments(reading: reader.Reading, service: Mapping[str, Any], where: str
                ) -> tuple[models.Attachment, ...]:
    mode = str(service.get('network_mode') or 'bridge')
    if mode == 'none':
        return ()
    if mode not in ('bridge', 'default'):
        reading.refuse(f'{where}.network_mode',
                       keys.NEVER if mode == 'host' else
                       'a container has a network of its own; use networks')
    value = service.get('networks') or {'default': None}
    if isinstance(value, list):
        value = dict.fromkeys(map(str, value))
    return tuple(sorted((
        _attachment(reading, name, reading.mapping(
            entry or {}, f'{where}.networks.{name}'),
            f'{where}.networks.{name}')
        for name, entry in reading.mapping(
            value, f'{where}.networks').items()),
        key=lambda attachment: -attachment.priority))


def _attachment(reading: reader.Reading, name: str, entry: Mapping[str, Any],
                where: str) -> models.Attachment:
    for key, value in entry.items():
        if value and key not in ('aliases', 'ipv4_address',
                                 'ipv6_address', 'priority',
                                 'gw_priority'):
            reading.refuse(f'{where}.{key}', 'is not honoured; make the '
                           'port beforehand and use a template')
    return models.Attachment(
        name, tuple(str(entry[key]) for key in (
            'ipv4_address', 'ipv6_address') if entry.get(key)),
        tuple(map(str, reading.sequence(entry.get('aliases'),
                                        f'{where}.aliases'))),
        int(reading.number(entry.get('gw_priority')
                           or entry.get('priority') or 0, where)))


def network(reading: reader.Reading, name: str, network: Mapping[str, Any]
            ) -> models.Network:
    where = f'networks.{name}'
    network = reading.mapping(network, where)
    for key, value in network.items():
        if key in ('name', 'external', 'internal', 'ipam', 'attachable',
                   'labels', 'enable_ipv6', 'enable_ipv4', 'driver'
                   ) or key.startswith('x-') or not value:
            continue
        reading.refuse(f'{where}.{key}', 'is not honoured; Neutron has '
                       'its own')
    if network.get('driver') not in (None, '', 'bridge', 'overlay',
                                     'default'):
        reading.refuse(f'{where}.driver', 'Neutron networks only')
    if network.get('external'):
        return models.Network(name, external=str(network.get('name') or name))
    ipam = reading.child(network, 'ipam', where)
    if network.get('enable_ipv6') and not ipam.get('config'):
        reading.refuse(f'{where}.enable_ipv6', 'name its subnets in ipam')
    pools = [reading.mapping(pool, f'{where}.ipam.config') for pool
             in reading.sequence(ipam.get('config'), f'{where}.ipam.config')]
    for pool in pools:
        for key in pool:
            if key not in ('subnet', 'gateway'):
                reading.refuse(f'{where}.ipam.config.{key}',
                               'is not honoured')
    for pool in pools:
        try:
            ipaddress.ip_network(str(pool.get('subnet')), strict=False)
        except ValueError:
            reading.refuse(f'{where}.ipam.config.subnet',
                           f'{pool.get("subnet")!r} is not a subnet')
            return models.Network(name)
    return models.Network(
        name, internal=bool(network.get('internal')),
        cidrs=tuple(str(pool['subnet']) for pool in pools
                    if pool.get('subnet')),
        gateways=tuple(str(pool.get('gateway') or '') for pool in pools
                       if pool.get('subnet')))


def ports(reading: reader.Reading, service: Mapping[str, Any], where: str
          ) -> Iterator[models.Port]:
    for entry in reading.sequence(service.get('expose'), f'{where}.expose'):
        found = _PORT.fullmatch(str(entry))
        if not found:
            reading.refuse(f'{where}.expose', f'{entry!r} is not a port')
            continue
        first, last, protocol = found.groups()
        yield models.Port(int(first), int(last or first), protocol or 'tcp')
    for entry in reading.sequence(service.get('ports'), f'{where}.ports'):
        if not isinstance(entry, Mapping):
            reading.refuse(f'{where}.ports', models.NORMALISE)
            continue
        target = int(reading.number(entry.get('target'), f'{where}.ports'))
        published = str(entry.get('published') or target)
        protocol = str(entry.get('protocol') or 'tcp')
        if str(entry.get('host_ip') or '') in ('127.0.0.1', '::1'):
            # Nobody but the host, which is nobody's here.
            yield models.Port(target, target, protocol)
        elif str(entry['host_ip'] if entry.get('host_ip') else '') not in (
                '', '0.0.0.0', '::'):
            reading.refuse(f'{where}.ports', 'an address of the host '
                           'cannot be chosen')
        elif not (published.isdecimal() and published.isascii()):
            reading.refuse(f'{where}.ports', f'{published!r} is a choice; '
                           'say which port')
        else:
            yield models.Port(target, target, protocol, int(published[:6]))
