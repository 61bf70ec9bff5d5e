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

"""A Compose file in its normalised form, read into values: pure functions.

The normalised form is what ``docker compose config --format json`` prints:
one document, long forms, nothing that refers to another file. What cannot be
honoured is refused by its name, with what to use in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import dataclasses
import ipaddress
import math
import re
import shlex
from typing import Any

STARTED, HEALTHY, COMPLETED = CONDITIONS = (
    'service_started', 'service_healthy', 'service_completed_successfully')

MIB = 2 ** 20
_LARGEST = 2 ** 31
_MOST_REPLICAS = 1000
_MOST_NODES = 50_000
_DEEPEST = 30

_UNITS = {'': 1, 'k': 2 ** 10, 'm': 2 ** 20, 'g': 2 ** 30, 't': 2 ** 40}
_SIZE = re.compile(r'(\d{1,15}(?:\.\d{1,9})?)\s*([kmgt]?)i?b?', re.I)
_DURATION = re.compile(
    r'(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?')
_VARIABLE = re.compile(r'\$(?:\$|[A-Za-z_]|\{)')
_PORT = re.compile(r'(\d+)(?:-(\d+))?(?:/(tcp|udp|sctp))?')


@dataclasses.dataclass(frozen=True)
class Problem:
    """What cannot be honoured."""

    #: As ``services.web.privileged``.
    where: str
    reason: str

    def __str__(self) -> str:
        return f'{self.where}: {self.reason}'


class Refused(ValueError):
    """A document that cannot be honoured, with all that is wrong."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__('; '.join(map(str, problems)))
        self.problems = problems


@dataclasses.dataclass(frozen=True)
class Port:
    """A range of ports that a service listens on."""

    first: int
    last: int
    protocol: str = 'tcp'
    #: The port that the world knows it by; 0 if the world does not.
    published: int = 0


@dataclasses.dataclass(frozen=True)
class Attachment:
    """A service on a network."""

    network: str
    addresses: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    priority: int = 0


@dataclasses.dataclass(frozen=True)
class Volume:
    """A named volume at a place of a service."""

    name: str
    target: str
    read_only: bool = False


@dataclasses.dataclass(frozen=True)
class Service:
    """One service."""

    name: str
    #: Properties of a container, as the resource names them.
    properties: Mapping[str, Any]
    image: str = ''
    attachments: tuple[Attachment, ...] = ()
    ports: tuple[Port, ...] = ()
    volumes: tuple[Volume, ...] = ()
    #: Name of a service to a condition.
    depends_on: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: Further names of other services, by service.
    links: Mapping[str, tuple[str, ...]] = dataclasses.field(
        default_factory=dict)
    hostname: str = ''
    replicas: int = 1
    #: It says how many there are, so the number may change.
    scaled: bool = False
    #: What it may have at most; 0 if it says nothing.
    cpus: float = 0
    memory_mb: int = 0
    flavor: str = ''
    #: Replicas that are changed at a time, and the seconds between.
    parallelism: int = 1
    delay: int = 0
    start_first: bool = False
    one_per_host: bool = False
    builds: bool = False


@dataclasses.dataclass(frozen=True)
class Network:
    """A network of the document."""

    name: str
    #: The name of one that is there already.
    external: str = ''
    #: Nothing leads out of it.
    internal: bool = False
    #: Of its subnets; empty where Neutron may choose.
    cidrs: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Document:
    """All of a Compose file."""

    services: Mapping[str, Service]
    networks: Mapping[str, Network]
    #: Name to the size in GiB, or to the name of one that is there.
    volumes: Mapping[str, int | str]
    #: Name of a parameter to a value that must not be seen.
    secrets: Mapping[str, str]
    warnings: tuple[Problem, ...] = ()


_GRANTED = 'only an operator grants this, by the flavor'
_NEVER = 'would weaken the isolation of the host, and is never granted'
NORMALISE = ('not in the normalised form; convert the file with '
             'nova-docker-compose, or print it with docker compose config')

#: Keys of a service and why they are refused.
REFUSED = {
    'annotations': 'use labels',
    'blkio_config': _GRANTED, 'cgroup': _NEVER, 'cgroup_parent': _NEVER,
    'cpu_count': 'use cpus or a flavor', 'cpu_percent': _GRANTED,
    'cpu_period': _GRANTED, 'cpu_quota': _GRANTED, 'cpu_rt_period': _NEVER,
    'cpu_rt_runtime': _NEVER, 'cpu_shares': _GRANTED, 'cpuset': _GRANTED,
    'credential_spec': 'is for Windows',
    'device_cgroup_rules': _GRANTED, 'devices': _GRANTED,
    'dns_opt': 'set them in the image',
    'domainname': 'set the dns_domain of the network in Neutron',
    'driver_opts': 'choose Neutron networks',
    'env_file': NORMALISE, 'extends': NORMALISE, 'label_file': NORMALISE,
    'external_links': 'use a network that both stacks are on',
    'gpus': _GRANTED, 'ipc': _NEVER, 'isolation': 'is for Windows',
    'mac_address': 'make the port beforehand and use a template',
    'mem_swappiness': 'the flavor decides on swap',
    'memswap_limit': 'the flavor decides on swap',
    'models': 'run the model as a service',
    'oom_kill_disable': _NEVER, 'pid': _NEVER, 'pids_limit': _GRANTED,
    'post_start': 'start it from the entry point',
    'pre_stop': 'handle the stop signal in the process',
    'privileged': _GRANTED, 'provider': 'use a resource of Heat',
    'runtime': _GRANTED, 'storage_opt': 'the flavor decides on the disk',
    'use_api_socket': _NEVER, 'userns_mode': _GRANTED, 'uts': _NEVER,
    'volumes_from': 'give both services their volumes',
}

#: Of a service, the same as of a container.
_SAME = ('working_dir', 'init', 'tty', 'stdin_open', 'read_only', 'cap_add',
         'cap_drop', 'sysctls', 'labels', 'stop_signal', 'oom_score_adj',
         'stop_grace_period')
_LISTS = ('group_add', 'dns', 'dns_search', 'expose')
#: Read further below, or without a meaning here.
_READ = ('attach', 'build', 'command', 'configs', 'container_name', 'cpus',
         'depends_on', 'deploy', 'develop', 'entrypoint', 'environment',
         'extra_hosts', 'healthcheck', 'hostname', 'image', 'links',
         'logging', 'mem_limit', 'mem_reservation', 'network_mode',
         'networks', 'platform', 'ports', 'profiles', 'pull_policy',
         'restart', 'scale', 'secrets', 'security_opt', 'shm_size', 'tmpfs',
         'ulimits', 'user', 'volumes', 'x-nova')


#: What is read of the mappings below a service.
_BELOW = {
    'deploy': ('mode', 'endpoint_mode', 'replicas', 'placement', 'resources',
               'restart_policy', 'update_config', 'labels'),
    'deploy.placement': ('constraints', 'preferences',
                         'max_replicas_per_node'),
    'deploy.resources': ('limits', 'reservations'),
    'deploy.resources.limits': ('cpus', 'memory'),
    'deploy.resources.reservations': ('devices',),
    'deploy.restart_policy': ('condition', 'max_attempts'),
    'deploy.update_config': ('parallelism', 'delay', 'order'),
    'logging': ('driver', 'options'),
}


class Reader:
    """Reads a document, and remembers what it cannot honour."""

    def __init__(self, document: Mapping[str, Any], escaped: bool) -> None:
        """:param escaped: ``$$`` stands for ``$``, as in a Compose file"""
        self.problems: list[Problem] = []
        self.secrets: dict[str, str] = {}
        self._escaped = escaped
        self._nodes = 0
        self._document = self._plain(document, '')

    # -- the whole ----------------------------------------------------------

    def read(self) -> Document:
        document = self._document
        for key in document:
            if key not in ('name', 'version', 'services', 'networks',
                           'volumes', 'configs', 'secrets') and not (
                               key.startswith('x-')):
                self._refuse(key, NORMALISE if key == 'include'
                             else 'is no key that is known')
        services = {name: self._service(name, self._mapping(
            service or {}, f'services.{name}')) for name, service
            in self._child(document, 'services').items()}
        if not services:
            self._refuse('services', 'there is none')
        networks = {name: self._network(name, network or {}) for name, network
                    in self._child(document, 'networks').items()}
        for service in services.values():
            for attachment in service.attachments:
                if attachment.network not in networks:
                    networks[attachment.network] = Network(attachment.network)
        self._check_dependencies(services)
        return Document(services, networks, {
            name: self._volume(name, volume or {}) for name, volume
            in self._child(document, 'volumes').items()}, self.secrets)

    def _check_dependencies(self, services: Mapping[str, Service]) -> None:
        for service in services.values():
            for name, condition in service.depends_on.items():
                where = f'services.{service.name}.depends_on.{name}'
                if name not in services:
                    self._refuse(where, 'there is no such service')
                elif (condition == HEALTHY and not (services[name].properties
                      .get('healthcheck') or {}).get('test')):
                    self._refuse(where, f'{name} needs a test in its '
                                 'healthcheck for service_healthy')
        self._check_circles(services)

    def _check_circles(self, services: Mapping[str, Service]) -> None:
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
            self._refuse(f'services.{name}.depends_on',
                         'is part of a circle, or waits for one: '
                         + ', '.join(sorted(needed)[:8]))

    # -- values -------------------------------------------------------------

    def _refuse(self, where: str, reason: str) -> None:
        self.problems.append(Problem(where, reason))

    def _plain(self, value: Any, where: str, depth: int = 0) -> Any:
        """Without the escapes of a Compose file."""
        self._nodes += 1
        if self._nodes > _MOST_NODES or depth > _DEEPEST:
            # Parts that refer to each other can be more than they look.
            raise Refused([Problem(where, 'the document is too large')])
        if isinstance(value, Mapping):
            return {str(key): self._plain(entry, f'{where}.{key}'.strip('.'),
                                          depth + 1)
                    for key, entry in value.items()}
        if isinstance(value, list):
            return [self._plain(entry, where, depth + 1) for entry in value]
        if isinstance(value, str) and self._escaped:
            for found in _VARIABLE.finditer(value):
                if found.group() != '$$':
                    self._refuse(where, 'has a variable; ' + NORMALISE)
                    break
            return value.replace('$$', '$')
        return value

    def _mapping(self, value: Any, where: str) -> Mapping[str, Any]:
        if isinstance(value, Mapping):
            return value
        self._refuse(where, NORMALISE)
        return {}

    def _child(self, parent: Mapping[str, Any], key: str, where: str = ''
               ) -> Mapping[str, Any]:
        """The mapping under a key, if there is one."""
        return self._mapping(parent.get(key) or {},
                             f'{where}.{key}'.strip('.'))

    def _list(self, value: Any, where: str) -> list[Any]:
        if value is None:
            return []
        if isinstance(value, list):
            return value
        self._refuse(where, NORMALISE)
        return []

    def _pairs(self, value: Any, where: str) -> dict[str, Any]:
        """A mapping, or a list of name=value."""
        if isinstance(value, list):
            parts = [str(entry).partition('=') for entry in value]
            return {name: entry if equals else None
                    for name, equals, entry in parts}
        return dict(self._mapping(value, where))

    def _words(self, value: Any, where: str) -> list[str]:
        if isinstance(value, str):
            try:
                return shlex.split(value)
            except ValueError as error:
                self._refuse(where, str(error))
                return []
        return [str(word) for word in self._list(value, where)]

    def _mebibytes(self, value: Any, where: str) -> int:
        """MiB of a size, rounded up."""
        found = _SIZE.fullmatch(str(value).strip())
        if not found:
            self._refuse(where, f'{value!r} is not a size')
            return 0
        return math.ceil(float(found.group(1))
                         * _UNITS[found.group(2).lower()] / MIB)

    def _seconds(self, value: Any, where: str) -> int:
        found = _DURATION.fullmatch(str(value))
        if not found or not value:
            self._refuse(where, f'{value!r} is not a duration')
            return 0
        hours, minutes, seconds, milliseconds = (
            float(part or 0) for part in found.groups())
        return math.ceil(hours * 3600 + minutes * 60 + seconds
                         + milliseconds / 1000)

    def _number(self, value: Any, where: str) -> float:
        try:
            found = float(value)
            if 0 <= found <= _LARGEST:
                return found
        except (TypeError, ValueError, OverflowError):
            pass
        self._refuse(where, f'{value!r} is not a number that can be')
        return 0

    # -- services -----------------------------------------------------------

    def _service(self, name: str, service: Mapping[str, Any]) -> Service:
        where = f'services.{name}'
        self._check_keys(service, where)
        self._check_below(service, where)
        deploy = self._child(service, 'deploy', where)
        ours = self._child(service, 'x-nova', where)
        limits = self._child(self._child(deploy, 'resources', where),
                             'limits', f'{where}.deploy.resources')
        update = self._child(deploy, 'update_config', f'{where}.deploy')
        memory = limits.get('memory') or service.get('mem_limit')
        links = self._links(service, where)
        depends_on = self._depends_on(service, where)
        return Service(
            name, self._properties(service, deploy, ours, where),
            image=str(service.get('image') or ''),
            attachments=self._attachments(service, where),
            ports=tuple(self._ports(service, where)),
            volumes=tuple(self._volumes(service, where)),
            depends_on={**{linked: STARTED for linked in links},
                        **depends_on},
            links=links,
            hostname=str(service.get('hostname') or ''),
            replicas=self._replicas(service, deploy, where),
            scaled='replicas' in deploy or 'scale' in service,
            cpus=self._number(limits.get('cpus') or service.get('cpus') or 0,
                              f'{where}.cpus'),
            memory_mb=self._mebibytes(memory, f'{where}.mem_limit')
            if memory else 0,
            flavor=str(ours.get('flavor') or ''),
            parallelism=int(self._number(update.get('parallelism', 1),
                                         f'{where}.deploy.update_config')),
            delay=self._seconds(update['delay'],
                                f'{where}.deploy.update_config.delay')
            if update.get('delay') else 0,
            start_first=update.get('order') == 'start-first',
            one_per_host=self._child(deploy, 'placement', where).get(
                'max_replicas_per_node') == 1,
            builds=bool(service.get('build')))

    def _check_keys(self, service: Mapping[str, Any], where: str) -> None:
        known = {*_SAME, *_LISTS, *_READ}
        for key, value in service.items():
            if key in known or key.startswith('x-') or not value:
                continue
            self._refuse(f'{where}.{key}', REFUSED.get(
                key, 'is no key of a service'))
        for option in self._list(service.get('security_opt'),
                                 f'{where}.security_opt'):
            if option not in ('no-new-privileges', 'no-new-privileges:true',
                              'no-new-privileges=true'):
                self._refuse(f'{where}.security_opt', _GRANTED)
        platform = str(service.get('platform') or 'linux')
        if not platform.startswith('linux'):
            self._refuse(f'{where}.platform', 'hosts run Linux only')

    def _check_below(self, service: Mapping[str, Any], where: str) -> None:
        """Keys of what is in a service; what is off asks for nothing."""
        for path, known in _BELOW.items():
            found: Any = service
            for part in path.split('.'):
                found = found.get(part) if isinstance(found, Mapping) else {}
            for key, value in (found.items() if isinstance(found, Mapping)
                               else ()):
                if (key not in known and value
                        and not str(key).startswith('x-')):
                    self._refuse(f'{where}.{path}.{key}', 'is not honoured')

    def _properties(self, service: Mapping[str, Any],
                    deploy: Mapping[str, Any], ours: Mapping[str, Any],
                    where: str) -> dict[str, Any]:
        found = {key: service[key] for key in _SAME
                 if service.get(key) is not None}
        for key in _LISTS:
            value = service.get(key)
            if value:
                found[key] = [str(entry) for entry in (
                    [value] if isinstance(value, str)
                    else self._list(value, f'{where}.{key}'))]
        for key in ('sysctls', 'labels'):
            if key in found:
                found[key] = self._pairs(found[key], f'{where}.{key}')
        for key in ('command', 'entrypoint'):
            if service.get(key) is not None:
                found[key] = self._words(service[key], f'{where}.{key}')
        if service.get('environment'):
            # A name without a value is the environment's of who starts it.
            found['environment'] = {
                name: value for name, value in self._pairs(
                    service['environment'], f'{where}.environment').items()
                if value is not None}
        if service.get('user') is not None:
            found['user'] = str(service['user'])
        if service.get('pull_policy') in ('always', 'missing', 'never'):
            found['pull_policy'] = service['pull_policy']
        if service.get('container_name'):
            found['name'] = str(service['container_name'])
        if service.get('extra_hosts'):
            found['extra_hosts'] = self._hosts(
                service['extra_hosts'], f'{where}.extra_hosts')
        for key, ours_too in (('shm_size', 'shm_size_mb'),
                              ('mem_reservation', 'mem_reservation_mb')):
            if service.get(key):
                found[ours_too] = self._mebibytes(service[key],
                                                  f'{where}.{key}')
        found.update(self._restart(service, deploy, where))
        found.update(self._healthcheck(service, where))
        found.update(self._logging(service, where))
        found.update(self._ulimits(service, where))
        files = [*self._files(service, 'configs', where),
                 *self._files(service, 'secrets', where)]
        if files:
            found['files'] = files
        mounts = list(self._mounts(service, where))
        if mounts:
            found['mounts'] = mounts
        labels = deploy.get('labels')
        if labels:
            found['metadata'] = self._pairs(labels, f'{where}.deploy.labels')
        for key in ('wait_for', 'wait_timeout', 'crash_dump_signal'):
            if key in ours:
                found[key] = ours[key]
        for key in ours:
            if key not in ('wait_for', 'wait_timeout', 'crash_dump_signal',
                           'flavor'):
                self._refuse(f'{where}.x-nova.{key}', 'is no key of x-nova')
        return found

    def _hosts(self, value: Any, where: str) -> dict[str, str]:
        found: dict[str, str] = {}
        entries = (value.items() if isinstance(value, Mapping) else [
            re.split('[=:]', str(entry), maxsplit=1)
            for entry in self._list(value, where)])
        for name, *addresses in entries:
            address = str(addresses[0]).strip('[]') if addresses else ''
            try:
                ipaddress.ip_address(address)
            except ValueError:
                self._refuse(where, f'{address!r} of {name} is not an '
                             'address')
            if str(name) in found:
                self._refuse(where, f'{name} has two addresses')
            found[str(name)] = address
        return found

    def _restart(self, service: Mapping[str, Any],
                 deploy: Mapping[str, Any], where: str) -> dict[str, Any]:
        policy = self._child(deploy, 'restart_policy', f'{where}.deploy')
        if policy:
            condition = str(policy.get('condition', 'any'))
            name = {'none': 'no', 'any': 'always'}.get(condition, condition)
            retries = policy.get('max_attempts')
        else:
            name, _, retries = str(service.get('restart') or '').partition(
                ':')
        if not name:
            return {}
        if name not in ('no', 'on-failure', 'always', 'unless-stopped'):
            self._refuse(f'{where}.restart', f'{name!r} is no policy')
        found: dict[str, Any] = {'name': name}
        if retries and name == 'on-failure':
            found['max_retries'] = int(self._number(retries,
                                                    f'{where}.restart'))
        return {'restart_policy': found}

    def _healthcheck(self, service: Mapping[str, Any], where: str
                     ) -> dict[str, Any]:
        check = service.get('healthcheck')
        if not check:
            return {}
        where = f'{where}.healthcheck'
        check = self._mapping(check, where)
        for key in check:
            if key not in ('test', 'interval', 'timeout', 'retries',
                           'start_period', 'disable'):
                self._refuse(f'{where}.{key}', 'is no key of a check')
        found = {key: check[key] for key in (
            'interval', 'timeout', 'retries', 'start_period', 'disable')
            if check.get(key)}
        if found.get('disable') or check.get('test') in (['NONE'], 'NONE'):
            return {'healthcheck': {'disable': True}}
        if check.get('test'):
            test = check['test']
            found['test'] = (['CMD-SHELL', test] if isinstance(test, str)
                             else [str(word) for word in self._list(
                                 test, f'{where}.test')])
        return {'healthcheck': found}

    def _logging(self, service: Mapping[str, Any], where: str
                 ) -> dict[str, Any]:
        logging = self._child(service, 'logging', where)
        where = f'{where}.logging'
        if logging.get('driver', 'json-file') not in ('json-file', 'local'):
            self._refuse(f'{where}.driver',
                         'the operator collects logs; use json-file')
        found = {}
        for key, value in self._child(logging, 'options', where).items():
            if key == 'max-size':
                found['max_size_mb'] = max(1, self._mebibytes(value, where))
            elif key == 'max-file':
                found['max_files'] = int(self._number(value, where))
            elif key not in ('compress', 'mode', 'labels', 'tag'):
                self._refuse(f'{where}.options.{key}', 'is not honoured')
        return {'log_options': found} if found else {}

    def _ulimits(self, service: Mapping[str, Any], where: str
                 ) -> dict[str, Any]:
        found = {}
        for name, limit in self._mapping(service.get('ulimits') or {},
                                         f'{where}.ulimits').items():
            found[name] = (limit['single'] if isinstance(limit, Mapping)
                           and 'single' in limit else limit)
        return {'ulimits': found} if found else {}

    def _replicas(self, service: Mapping[str, Any],
                  deploy: Mapping[str, Any], where: str) -> int:
        where = f'{where}.deploy'
        if deploy.get('mode') not in (None, 'replicated'):
            self._refuse(f'{where}.mode', 'say how many replicas there are')
        if deploy.get('endpoint_mode') not in (None, 'dnsrr'):
            self._refuse(f'{where}.endpoint_mode',
                         'use a load balancer for published ports')
        placement = self._child(deploy, 'placement', where)
        for key in ('constraints', 'preferences'):
            if placement.get(key):
                self._refuse(f'{where}.placement.{key}',
                             'choose a flavor or an availability zone')
        if placement.get('max_replicas_per_node') not in (None, 1):
            self._refuse(f'{where}.placement.max_replicas_per_node',
                         'only 1 can be asked for')
        if self._child(self._child(deploy, 'resources', where),
                       'reservations', f'{where}.resources').get('devices'):
            self._refuse(f'{where}.resources.reservations.devices', _GRANTED)
        replicas = deploy.get('replicas', service.get('scale', 1))
        found = int(self._number(1 if replicas is None else replicas,
                                 f'{where}.replicas'))
        if found > _MOST_REPLICAS:
            self._refuse(f'{where}.replicas',
                         f'there can be {_MOST_REPLICAS}')
        return found

    def _depends_on(self, service: Mapping[str, Any], where: str
                    ) -> dict[str, str]:
        value = service.get('depends_on') or {}
        if isinstance(value, list):
            return dict.fromkeys(map(str, value), STARTED)
        found = {}
        for name, entry in self._mapping(value,
                                         f'{where}.depends_on').items():
            at = f'{where}.depends_on.{name}'
            entry = self._mapping(entry or {}, at)
            condition = entry.get('condition', STARTED)
            if condition not in CONDITIONS:
                self._refuse(f'{at}.condition', f'{condition!r} is none')
            elif entry.get('required', True) or name in self._child(
                    self._document, 'services'):
                found[name] = condition
        return found

    def _links(self, service: Mapping[str, Any], where: str
               ) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for link in self._list(service.get('links'), f'{where}.links'):
            name, _, alias = str(link).partition(':')
            found[name] = (*found.get(name, ()), *((alias,) if alias else ()))
        return found

    # -- networks -----------------------------------------------------------

    def _attachments(self, service: Mapping[str, Any], where: str
                     ) -> tuple[Attachment, ...]:
        mode = str(service.get('network_mode') or 'bridge')
        if mode == 'none':
            return ()
        if mode not in ('bridge', 'default'):
            self._refuse(f'{where}.network_mode',
                         _NEVER if mode == 'host' else
                         'a container has a network of its own; use networks')
        value = service.get('networks') or {'default': None}
        if isinstance(value, list):
            value = dict.fromkeys(map(str, value))
        return tuple(sorted((
            self._attachment(name, self._mapping(
                entry or {}, f'{where}.networks.{name}'),
                f'{where}.networks.{name}')
            for name, entry in self._mapping(
                value, f'{where}.networks').items()),
            key=lambda attachment: -attachment.priority))

    def _attachment(self, name: str, entry: Mapping[str, Any], where: str
                    ) -> Attachment:
        for key, value in entry.items():
            if value and key not in ('aliases', 'ipv4_address',
                                     'ipv6_address', 'priority',
                                     'gw_priority'):
                self._refuse(f'{where}.{key}', 'is not honoured; make the '
                             'port beforehand and use a template')
        return Attachment(
            name, tuple(str(entry[key]) for key in (
                'ipv4_address', 'ipv6_address') if entry.get(key)),
            tuple(map(str, self._list(entry.get('aliases'),
                                      f'{where}.aliases'))),
            int(self._number(entry.get('gw_priority')
                             or entry.get('priority') or 0, where)))

    def _network(self, name: str, network: Mapping[str, Any]) -> Network:
        where = f'networks.{name}'
        network = self._mapping(network, where)
        for key, value in network.items():
            if key in ('name', 'external', 'internal', 'ipam', 'attachable',
                       'labels', 'enable_ipv6', 'enable_ipv4', 'driver'
                       ) or key.startswith('x-') or not value:
                continue
            self._refuse(f'{where}.{key}', 'is not honoured; Neutron has '
                         'its own')
        if network.get('driver') not in (None, '', 'bridge', 'overlay',
                                         'default'):
            self._refuse(f'{where}.driver', 'Neutron networks only')
        if network.get('external'):
            return Network(name, external=str(network.get('name') or name))
        ipam = self._child(network, 'ipam', where)
        if network.get('enable_ipv6') and not ipam.get('config'):
            self._refuse(f'{where}.enable_ipv6', 'name its subnets in ipam')
        pools = [self._mapping(pool, f'{where}.ipam.config') for pool
                 in self._list(ipam.get('config'), f'{where}.ipam.config')]
        for pool in pools:
            for key in pool:
                if key not in ('subnet', 'gateway'):
                    self._refuse(f'{where}.ipam.config.{key}',
                                 'is not honoured')
        for pool in pools:
            try:
                ipaddress.ip_network(str(pool.get('subnet')), strict=False)
            except ValueError:
                self._refuse(f'{where}.ipam.config.subnet',
                             f'{pool.get("subnet")!r} is not a subnet')
                return Network(name)
        return Network(
            name, internal=bool(network.get('internal')),
            cidrs=tuple(str(pool['subnet']) for pool in pools
                        if pool.get('subnet')),
            gateways=tuple(str(pool.get('gateway') or '') for pool in pools
                           if pool.get('subnet')))

    def _ports(self, service: Mapping[str, Any], where: str
               ) -> Iterator[Port]:
        for entry in self._list(service.get('expose'), f'{where}.expose'):
            found = _PORT.fullmatch(str(entry))
            if not found:
                self._refuse(f'{where}.expose', f'{entry!r} is not a port')
                continue
            first, last, protocol = found.groups()
            yield Port(int(first), int(last or first), protocol or 'tcp')
        for entry in self._list(service.get('ports'), f'{where}.ports'):
            if not isinstance(entry, Mapping):
                self._refuse(f'{where}.ports', NORMALISE)
                continue
            target = int(self._number(entry.get('target'), f'{where}.ports'))
            published = str(entry.get('published') or target)
            protocol = str(entry.get('protocol') or 'tcp')
            if str(entry.get('host_ip') or '') in ('127.0.0.1', '::1'):
                # Nobody but the host, which is nobody's here.
                yield Port(target, target, protocol)
            elif str(entry['host_ip'] if entry.get('host_ip') else '') not in (
                    '', '0.0.0.0', '::'):
                self._refuse(f'{where}.ports', 'an address of the host '
                             'cannot be chosen')
            elif not (published.isdecimal() and published.isascii()):
                self._refuse(f'{where}.ports', f'{published!r} is a choice; '
                             'say which port')
            else:
                yield Port(target, target, protocol, int(published[:6]))

    # -- files and volumes --------------------------------------------------

    def _files(self, service: Mapping[str, Any], kind: str, where: str
               ) -> Iterator[dict[str, Any]]:
        top = self._child(self._document, kind)
        for entry in self._list(service.get(kind), f'{where}.{kind}'):
            if isinstance(entry, str):
                entry = {'source': entry}
            entry = self._mapping(entry, f'{where}.{kind}')
            source = str(entry.get('source') or '')
            target = str(entry.get('target') or source)
            if not target.startswith('/'):
                target = ('/' if kind == 'configs' else '/run/secrets/'
                          ) + target
            content = self._content(kind, source, entry, top)
            mode = entry.get('mode')
            found = {'path': target, 'content': content, **{
                key: int(entry[key]) for key in ('uid', 'gid')
                if re.fullmatch('[0-9]{1,9}', str(entry.get(key) or ''))}}
            if mode is not None:
                found['mode'] = (f'{mode:04o}' if isinstance(mode, int)
                                 else str(mode).removeprefix('0o')
                                 .rjust(4, '0'))
            yield found

    def _content(self, kind: str, source: str, entry: Mapping[str, Any],
                 top: Mapping[str, Any]) -> Any:
        if 'content' in entry:
            return str(entry['content'])
        definition = self._child(top, source, kind)
        if 'content' not in definition:
            self._refuse(f'{kind}.{source}', 'has no content; files and '
                         'variables of a machine are read by '
                         'nova-docker-compose, not by Heat')
            return ''
        if kind == 'configs':
            return str(definition['content'])
        parameter = f'secret_{source}'
        self.secrets[parameter] = str(definition['content'])
        return {'get_param': parameter}

    def _mounts(self, service: Mapping[str, Any], where: str
                ) -> Iterator[dict[str, Any]]:
        tmpfs = service.get('tmpfs')
        for entry in [tmpfs] if isinstance(tmpfs, str) else self._list(
                tmpfs, f'{where}.tmpfs'):
            target, _, options = str(entry).partition(':')
            mount: dict[str, Any] = {'type': 'tmpfs', 'target': target}
            for option in filter(None, options.split(',')):
                key, _, value = option.partition('=')
                if key == 'size':
                    mount['size_mb'] = self._mebibytes(value,
                                                       f'{where}.tmpfs')
                elif key == 'mode':
                    mount['mode'] = value.rjust(4, '0')
                elif key not in ('rw', 'noexec', 'nosuid', 'nodev'):
                    self._refuse(f'{where}.tmpfs.{key}', 'is not honoured')
            yield mount
        for entry in self._list(service.get('volumes'), f'{where}.volumes'):
            if isinstance(entry, Mapping) and not entry.get('source'):
                target = str(entry.get('target') or '')
                self._check_mount(entry, f'{where}.volumes.{target}')
                if entry.get('type') == 'tmpfs':
                    wanted = self._child(entry, 'tmpfs', where)
                    size, mode = wanted.get('size'), wanted.get('mode')
                    yield {'type': 'tmpfs', 'target': target, **(
                        {'size_mb': self._mebibytes(size, f'{where}.volumes')}
                        if size else {}), **(
                            {'mode': f'{mode:04o}'} if isinstance(mode, int)
                            and mode else {})}
                elif entry.get('type') == 'volume':
                    yield {'type': 'ephemeral', 'target': target}

    def _check_mount(self, entry: Mapping[str, Any], where: str) -> None:
        for key in ('read_only', 'consistency', 'image'):
            if entry.get(key) and not (key == 'read_only'
                                       and entry.get('source')):
                self._refuse(f'{where}.{key}', 'is not honoured')
        for key, known in (('volume', ()), ('tmpfs', ('size', 'mode'))):
            for name, value in self._child(entry, key, where).items():
                if value and name not in known:
                    self._refuse(f'{where}.{key}.{name}', 'is not honoured')

    def _volumes(self, service: Mapping[str, Any], where: str
                 ) -> Iterator[Volume]:
        for entry in self._list(service.get('volumes'), f'{where}.volumes'):
            at = f'{where}.volumes'
            if not isinstance(entry, Mapping):
                self._refuse(at, NORMALISE)
                continue
            kind, source = entry.get('type'), str(entry.get('source') or '')
            at = f'{at}.{entry.get("target")}'
            if kind == 'bind':
                self._refuse(at, f'{source} is a path of a host; use '
                             'configs for small files, the image for larger '
                             'ones, a volume for what is written')
            elif kind == 'volume' and source:
                self._check_mount(entry, at)
                yield Volume(source, str(entry.get('target') or ''),
                             bool(entry.get('read_only')))
            elif kind not in ('volume', 'tmpfs'):
                self._refuse(at, f'the type {kind} is not honoured')

    def _volume(self, name: str, volume: Mapping[str, Any]) -> int | str:
        where = f'volumes.{name}'
        volume = self._mapping(volume, where)
        if volume.get('external'):
            return str(volume.get('name') or name)
        if volume.get('driver') not in (None, '', 'local', 'cinder'):
            self._refuse(f'{where}.driver', 'volumes are Cinder\'s')
        options = self._child(volume, 'driver_opts', where)
        for key in options:
            if key != 'size':
                self._refuse(f'{where}.driver_opts.{key}',
                             'is not honoured; size alone is')
        return max(1, math.ceil(self._mebibytes(options['size'], where)
                                / 1024)) if options.get('size') else 1


def read(document: Mapping[str, Any], escaped: bool = True,
         ignore: bool = False) -> Document:
    """The values of a document in the normalised form.

    :param ignore: what cannot be honoured is a warning
    :raises Refused: naming everything that cannot be honoured
    """
    reader = Reader(document, escaped)
    found = reader.read()
    if reader.problems and not ignore:
        raise Refused(reader.problems)
    return dataclasses.replace(found, warnings=tuple(reader.problems))
