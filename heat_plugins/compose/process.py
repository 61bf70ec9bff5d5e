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

"""What a service says about its process, as properties of a container."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import ipaddress
import re
from typing import Any

from heat_plugins.compose import keys
from heat_plugins.compose import mounts
from heat_plugins.compose import reader


def properties(reading: reader.Reading, service: Mapping[str, Any],
               deploy: Mapping[str, Any], ours: Mapping[str, Any],
               where: str) -> dict[str, Any]:
    """Properties of a container, as the resource names them.

    :param deploy: of the service
    :param ours: the service's ``x-nova``
    """
    found = {
        **{key: service.get(key) for key in keys.SAME},
        **_values(reading, service, where),
        'extra_hosts': _hosts(reading, service.get('extra_hosts') or {},
                              f'{where}.extra_hosts') or None,
        'restart_policy': _restart(reading, service, deploy, where),
        'healthcheck': _healthcheck(reading, service, where),
        'log_options': _logging(reading, service, where),
        'ulimits': _ulimits(reading, service, where),
        'files': [*mounts.files(reading, service, 'configs', where),
                  *mounts.files(reading, service, 'secrets', where)] or None,
        'mounts': list(mounts.mounts(reading, service, where)) or None,
        'metadata': reading.pairs(deploy.get('labels') or {},
                                  f'{where}.deploy.labels') or None,
        **{key: ours.get(key) for key in keys.OURS}}
    for key in ours:
        if key not in (*keys.OURS, 'flavor'):
            reading.refuse(f'{where}.x-nova.{key}', 'is no key of x-nova')
    return {name: value for name, value in found.items() if value is not None}


def _values(reading: reader.Reading, service: Mapping[str, Any], where: str
            ) -> dict[str, Any]:
    """What is written otherwise by the resource."""
    def given(key: str, take: Callable[[Any, str], Any]) -> Any:
        value = service.get(key)
        return None if value is None else take(value, f'{where}.{key}')

    def texts(value: Any, at: str) -> list[str] | None:
        return [str(entry) for entry in (
            [value] if isinstance(value, str)
            else reading.sequence(value, at))] or None

    def variables(value: Any, at: str) -> dict[str, Any]:
        # A name without a value is the environment's of who starts it.
        return {name: entry for name, entry
                in reading.pairs(value, at).items() if entry is not None}

    def pulling(value: Any, at: str) -> str | None:
        # To build is how an image comes about, not when it is looked up.
        return None if value == 'build' else str(value)

    return {
        **{key: given(key, reading.pairs) for key in ('sysctls', 'labels')},
        **{key: given(key, reading.words)
           for key in ('command', 'entrypoint')},
        **{key: given(key, texts) for key in keys.LISTS},
        'environment': given('environment', variables),
        'user': given('user', lambda value, at: str(value)),
        'name': service.get('container_name') or None,
        'pull_policy': given('pull_policy', pulling),
        'shm_size_mb': given('shm_size', reading.mebibytes) or None,
        'mem_reservation_mb': given('mem_reservation',
                                    reading.mebibytes) or None}


def _hosts(reading: reader.Reading, value: Any, where: str) -> dict[str, str]:
    found: dict[str, str] = {}
    entries = (value.items() if isinstance(value, Mapping) else [
        re.split('[=:]', str(entry), maxsplit=1)
        for entry in reading.sequence(value, where)])
    for name, *addresses in entries:
        address = str(addresses[0]).strip('[]') if addresses else ''
        try:
            ipaddress.ip_address(address)
        except ValueError:
            reading.refuse(where, f'{address!r} of {name} is not an '
                           'address')
        if str(name) in found:
            reading.refuse(where, f'{name} has two addresses')
        found[str(name)] = address
    return found


def _restart(reading: reader.Reading, service: Mapping[str, Any],
             deploy: Mapping[str, Any], where: str
             ) -> dict[str, Any] | None:
    policy = reading.child(deploy, 'restart_policy', f'{where}.deploy')
    if policy:
        condition = str(policy.get('condition', 'any'))
        name = {'none': 'no', 'any': 'always'}.get(condition, condition)
        retries = policy.get('max_attempts')
    else:
        name, _, retries = str(service.get('restart') or '').partition(
            ':')
    if not name:
        return None
    if name not in ('no', 'on-failure', 'always', 'unless-stopped'):
        reading.refuse(f'{where}.restart', f'{name!r} is no policy')
    found: dict[str, Any] = {'name': name}
    if retries and name == 'on-failure':
        found['max_retries'] = int(reading.number(retries,
                                                  f'{where}.restart'))
    return found


def _healthcheck(reading: reader.Reading, service: Mapping[str, Any],
                 where: str) -> dict[str, Any] | None:
    check = service.get('healthcheck')
    if not check:
        return None
    where = f'{where}.healthcheck'
    check = reading.mapping(check, where)
    for key in check:
        if key not in ('test', 'interval', 'timeout', 'retries',
                       'start_period', 'disable'):
            reading.refuse(f'{where}.{key}', 'is no key of a check')
    found = {key: check[key] for key in (
        'interval', 'timeout', 'retries', 'start_period', 'disable')
        if check.get(key)}
    if found.get('disable') or check.get('test') in (['NONE'], 'NONE'):
        return {'disable': True}
    if check.get('test'):
        test = check['test']
        found['test'] = (['CMD-SHELL', test] if isinstance(test, str)
                         else [str(word) for word in reading.sequence(
                             test, f'{where}.test')])
    return found


def _logging(reading: reader.Reading, service: Mapping[str, Any], where: str
             ) -> dict[str, Any] | None:
    logging = reading.child(service, 'logging', where)
    where = f'{where}.logging'
    if logging.get('driver', 'json-file') not in ('json-file', 'local'):
        reading.refuse(f'{where}.driver',
                       'the operator collects logs; use json-file')
    found = {}
    for key, value in reading.child(logging, 'options', where).items():
        if key == 'max-size':
            found['max_size_mb'] = max(1, reading.mebibytes(value, where))
        elif key == 'max-file':
            found['max_files'] = int(reading.number(value, where))
        else:
            reading.refuse(f'{where}.options.{key}', 'is not honoured')
    return found or None


def _ulimits(reading: reader.Reading, service: Mapping[str, Any], where: str
             ) -> dict[str, Any] | None:
    found = {}
    for name, limit in reading.mapping(service.get('ulimits') or {},
                                       f'{where}.ulimits').items():
        found[name] = (limit['single'] if isinstance(limit, Mapping)
                       and 'single' in limit else limit)
    return found or None
