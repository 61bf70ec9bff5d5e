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

"""What ``DockerInc::Docker::Container`` means to an Engine: pure functions.

The names are those of the plug-in that Heat once had, with their meaning;
what it could not do with an Engine of today is put right here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import dataclasses
import re
from typing import Any

STACK_LABEL = 'heat.stack_id'
RESOURCE_LABEL = 'heat.resource_uuid'

RUNNING, HEALTHY, COMPLETED, NONE = WAITS = (
    'running', 'healthy', 'completed', 'none')

#: Properties that an Engine changes while the container runs.
LIVE = ('memory', 'cpu_shares', 'cpu_set', 'restart_policy')

_SECOND = 10 ** 9
_UNITS = {'h': 3600, 'm': 60, 's': 1, 'ms': 0.001}
_PORT = re.compile(r'(\d{1,5})(?:/(tcp|udp|sctp))?')


@dataclasses.dataclass(frozen=True)
class Grants:
    """What the operator allows in templates."""

    privileged: bool = False
    bind_mounts: bool = False
    devices: bool = False
    capabilities: tuple[str, ...] = ()


def problems(properties: Mapping[str, Any], grants: Grants
             ) -> Iterator[tuple[str, str]]:
    """What is wrong, or not allowed: of each the property and the reason."""
    for name, allowed, option in (
            ('privileged', grants.privileged, 'allow_privileged'),
            ('volumes', grants.bind_mounts, 'allow_bind_mounts'),
            ('volumes_from', grants.bind_mounts, 'allow_bind_mounts'),
            ('devices', grants.devices, 'allow_devices')):
        if properties.get(name) and not allowed:
            yield name, f'not allowed by [docker_container] {option}'
    for capability in properties.get('cap_add') or ():
        if capability not in grants.capabilities:
            yield 'cap_add', (f'{capability} is not among [docker_container] '
                              'allowed_caps')
    yield from _problems_of_environment(properties.get('env'))
    for port in (*(properties.get('port_specs') or ()),
                 *(properties.get('port_bindings') or ())):
        if not _PORT.fullmatch(_container_port(str(port))):
            yield 'port_specs', f'{port!r} is not a port such as 80/tcp'
    check = properties.get('healthcheck') or {}
    if check and not (check.get('test') or check.get('disable')):
        yield 'healthcheck', 'it has no test'
    if properties.get('wait_for') == HEALTHY and (
            not check.get('test') or check.get('disable')):
        yield 'wait_for', 'healthy needs a test in the property healthcheck'


def _problems_of_environment(env: Any) -> Iterator[tuple[str, str]]:
    entries = ([f'{key}={value}' for key, value in env.items()]
               if isinstance(env, Mapping) else env or ())
    for entry in entries:
        name, separator, _ = str(entry).partition('=')
        if not name or '\0' in str(entry):
            yield 'env', f'{entry!r} is not NAME=value'


def _container_port(port: str) -> str:
    """Of ``80``, ``8080:80`` or ``192.0.2.1:8080:80/tcp``."""
    return port.rpartition(':')[2]


def configuration(properties: Mapping[str, Any], labels: Mapping[str, str]
                  ) -> dict[str, Any]:
    """The arguments of the Engine's create, without the host's part."""
    return {
        'image': properties['image'],
        'command': list(properties.get('cmd') or ()) or None,
        'entrypoint': list(properties.get('entrypoint') or ()) or None,
        'hostname': properties.get('hostname') or None,
        'user': properties.get('user') or None,
        'working_dir': properties.get('working_dir') or None,
        'environment': _environment(properties.get('env')),
        'stdin_open': bool(properties.get('open_stdin')),
        'tty': bool(properties.get('tty')),
        'ports': [_engine_port(port) for port in sorted({
            *map(_container_port, properties.get('port_specs') or ()),
            *(properties.get('port_bindings') or ())})] or None,
        'labels': {**{name: str(value) for name, value in (
            properties.get('labels') or {}).items()}, **labels},
        'healthcheck': _healthcheck(properties.get('healthcheck')),
    }


def host(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the host's part of the Engine's create."""
    devices = [] if properties.get('privileged') else [
        ':'.join((one['path_on_host'],
                  one.get('path_in_container') or one['path_on_host'],
                  one.get('permissions') or 'rwm'))
        for one in properties.get('devices') or ()]
    found = {
        'mem_limit': properties.get('memory'),
        'cpu_shares': properties.get('cpu_shares') or None,
        'cpuset_cpus': properties.get('cpu_set') or None,
        'dns': list(properties.get('dns') or ()) or None,
        'binds': _binds(properties.get('volumes')),
        'volumes_from': list(properties.get('volumes_from') or ()) or None,
        'port_bindings': _bindings(properties),
        'links': dict(properties.get('links') or {}) or None,
        'restart_policy': restart_policy(properties.get('restart_policy')),
        'cap_add': list(properties.get('cap_add') or ()) or None,
        'cap_drop': list(properties.get('cap_drop') or ()) or None,
        'privileged': bool(properties.get('privileged')),
        'read_only': bool(properties.get('read_only')),
        'network_mode': properties.get('network_mode') or None,
        'tmpfs': {path: '' for path in properties.get('tmpfs') or ()} or None,
        'devices': devices or None,
        # Nothing gains rights by a program that has them.
        'security_opt': None if properties.get('privileged') else [
            'no-new-privileges'],
    }
    return {name: value for name, value in found.items() if value is not None}


def restart_policy(policy: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """As the Engine takes it; None if nothing was said."""
    if not policy or not policy.get('Name'):
        return None
    name = policy['Name']
    return {'Name': name, 'MaximumRetryCount': (
        policy.get('MaximumRetryCount') or 0) if name == 'on-failure' else 0}


def live(properties: Mapping[str, Any], changed: set[str]) -> dict[str, Any]:
    """The arguments of the Engine's update."""
    found: dict[str, Any] = {}
    if 'memory' in changed:
        found['mem_limit'] = properties.get('memory') or 0
        # Or a limit above the old sum with swap is refused.
        found['memswap_limit'] = -1
    if 'cpu_shares' in changed:
        found['cpu_shares'] = properties.get('cpu_shares') or 1024
    if 'cpu_set' in changed:
        found['cpuset_cpus'] = properties.get('cpu_set') or ''
    if 'restart_policy' in changed:
        found['restart_policy'] = restart_policy(
            properties.get('restart_policy')) or {'Name': 'no',
                                                  'MaximumRetryCount': 0}
    return found


def _environment(env: Any) -> list[str]:
    if isinstance(env, Mapping):
        return [f'{name}={value}' for name, value in env.items()]
    return [str(entry) for entry in env or ()]


def _engine_port(port: str) -> tuple[str, str]:
    number, _, protocol = port.partition('/')
    return number, protocol or 'tcp'


def _bindings(properties: Mapping[str, Any]) -> dict[str, Any] | None:
    """Port of the container to that of the host; both ways to say it."""
    found: dict[str, Any] = {}
    for spec in properties.get('port_specs') or ():
        place, separator, port = str(spec).rpartition(':')
        if separator:
            address, _, number = place.rpartition(':')
            found['/'.join(_engine_port(port))] = (
                (address, number) if address else number)
    for port, place in (properties.get('port_bindings') or {}).items():
        found['/'.join(_engine_port(port))] = place
    return found or None


def _binds(volumes: Mapping[str, Any] | None) -> list[str] | None:
    """``{host path: container path}``, or with a mapping of bind and mode."""
    found = []
    for source, place in (volumes or {}).items():
        if isinstance(place, Mapping):
            mode = place.get('mode') or ('ro' if place.get('ro') else 'rw')
            found.append(f'{source}:{place["bind"]}:{mode}')
        else:
            found.append(f'{source}:{place}')
    return found or None


def _healthcheck(check: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not check:
        return None
    if check.get('disable'):
        return {'test': ['NONE']}
    return {'test': list(check['test']), **{
        name: int(_seconds(check[name]) * _SECOND)
        for name in ('interval', 'timeout', 'start_period')
        if check.get(name)}, **(
            {'retries': check['retries']} if check.get('retries') else {})}


def _seconds(duration: str) -> float:
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(
        r'(\d+(?:\.\d+)?)(ms|h|m|s)', duration))


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a container is on its way to what is waited for."""

    done: bool = False
    failure: str = ''


def progress(state: Mapping[str, Any], wait_for: str) -> Progress:
    """What the Engine's state means to who waits."""
    status, code = state['Status'], state.get('ExitCode')
    if wait_for == NONE:
        return Progress(done=status != 'created')
    if status == 'restarting':
        return Progress()
    if status in ('exited', 'dead'):
        if wait_for == COMPLETED and code == 0:
            return Progress(done=True)
        return Progress(failure=f'the process ended with exit code {code}'
                        + (' (out of memory)' if state.get('OOMKilled')
                           else ''))
    if status != 'running' or wait_for == COMPLETED:
        return Progress()
    if wait_for == RUNNING:
        return Progress(done=True)
    health = (state.get('Health') or {}).get('Status')
    if health == 'unhealthy':
        return Progress(failure='the process is unhealthy')
    return Progress(done=health == 'healthy')


def network(info: Mapping[str, Any]) -> dict[str, Any]:
    """The Engine's settings with what the old plug-in told besides."""
    settings = dict(info['NetworkSettings'])
    if not settings.get('IPAddress'):
        # On a network of its own the Engine tells it there alone.
        for one in (settings.get('Networks') or {}).values():
            if one.get('IPAddress'):
                settings['IPAddress'] = one['IPAddress']
                settings['Gateway'] = one['Gateway']
                break
    for protocol, name in (('tcp', 'TcpPorts'), ('udp', 'UdpPorts')):
        settings[name] = ','.join(
            binding['HostPort']
            for port, bindings in (settings.get('Ports') or {}).items()
            if port.endswith(f'/{protocol}')
            for binding in (bindings or ())[:1])
    return settings


def info(found: Mapping[str, Any]) -> dict[str, Any]:
    """What may be shown: no variable's value is in it."""
    config = dict(found.get('Config') or {})
    config['Env'] = [entry.partition('=')[0]
                     for entry in config.get('Env') or ()]
    return {**found, 'Config': config}
