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

"""The tenant's container specification: ``user_data`` to a TenantSpec.

A user_data whose first line is ``#docker-config`` is a YAML mapping with the
keys of a Compose service. ``container_spec.schema.json`` beside this module
says which keys and forms there are; this module says what they mean. Other
user_data is ordinary user data and asks nothing of the container.

Pure: text in, values or InvalidSpec out.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Hashable, Mapping
import functools
import json
from pathlib import Path
import re
import shlex
from typing import Any

import jsonschema
import yaml

from nova_docker_driver import errors
from nova_docker_driver import models

HEADER = '#docker-config'

#: Keys of a Compose service that only an operator can grant.
_OPERATORS = frozenset((
    'blkio_config', 'cap_add', 'cgroup', 'cgroup_parent', 'cpu_rt_period',
    'cpu_rt_runtime', 'cpuset', 'credential_spec', 'device_cgroup_rules',
    'devices', 'gpus', 'ipc', 'isolation', 'oom_kill_disable', 'pid',
    'pids_limit', 'privileged', 'runtime', 'security_opt', 'storage_opt',
    'userns_mode', 'uts'))

#: Keys of a Compose service for which Nova has another way.
_ELSEWHERE = {
    'build': 'build the image beforehand and upload it to Glance',
    'container_name': 'set the name of the server',
    'cpu_count': 'choose a flavor',
    'cpu_shares': 'choose a flavor',
    'cpus': 'choose a flavor',
    'deploy': 'choose a flavor, or let Heat make several servers',
    'domainname': 'set the dns_domain of the network',
    'hostname': 'set the hostname of the server',
    'links': 'use the addresses of Neutron ports',
    'mac_address': 'set it on the Neutron port',
    'mem_limit': 'choose a flavor',
    'memswap_limit': 'choose a flavor',
    'network_mode': 'choose Neutron networks or ports',
    'networks': 'choose Neutron networks or ports',
    'ports': 'use a floating IP and security groups',
    'pull_policy': 'images come from Glance',
    'scale': 'let Heat make several servers',
}

_DURATION = re.compile(
    r'(?=.)(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m(?!s))?'
    r'(?:(?P<s>\d+(?:\.\d+)?)s)?(?:(?P<ms>\d+)ms)?(?:(?P<us>\d+)us)?')
_UNITS = {'h': 3600 * models.SECOND, 'm': 60 * models.SECOND,
          's': models.SECOND, 'ms': models.SECOND // 1000,
          'us': models.SECOND // 1_000_000}

# A check costs the host, outside of the server's own limits.
MIN_INTERVAL = 1 * models.SECOND
MIN_TIMEOUT = models.SECOND // 1000


def parse(user_data: str | None) -> models.TenantSpec:
    """The specification in a server's user_data.

    :param user_data: base64, as Nova has it
    :raises InvalidSpec: naming the key and the reason
    """
    text = _decoded(user_data)
    first, _, rest = text.partition('\n')
    if first.strip() != HEADER:
        return models.TenantSpec()
    document = _mapping(rest)
    _refuse_unsupported(document)
    _validate(document)
    return _spec(document)


def _decoded(user_data: str | None) -> str:
    if not user_data:
        return ''
    try:
        raw = base64.b64decode(user_data, validate=True)
    except binascii.Error:
        return ''
    if not raw.startswith(HEADER.encode()):
        return ''
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise errors.InvalidSpec(f'{HEADER}: not UTF-8: {error}') from error


class _Loader(yaml.SafeLoader):
    """YAML without what makes a small text a large or ambiguous value."""

    def compose_node(self, parent: yaml.Node | None, index: int
                     ) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise errors.InvalidSpec(
                f'{HEADER}: YAML aliases are not supported')
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False
                          ) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise errors.InvalidSpec(f'{HEADER}: {key} cannot be a key')
            if key in seen:
                raise errors.InvalidSpec(f'{HEADER}: {key} is given twice')
            seen.add(key)
        return super().construct_mapping(node, deep)


def _mapping(text: str) -> dict[str, Any]:
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise errors.InvalidSpec(f'{HEADER}: not YAML: {error}') from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise errors.InvalidSpec(f'{HEADER}: not a mapping of keys to values')
    return document


def _refuse_unsupported(document: Mapping[Any, Any]) -> None:
    for key in document:
        if key in _OPERATORS:
            raise errors.InvalidSpec(
                f'{HEADER}: {key}: only an operator can grant this')
        if key in _ELSEWHERE:
            raise errors.InvalidSpec(
                f'{HEADER}: {key}: not here: {_ELSEWHERE[key]}')
        if key not in _schema()['properties']:
            raise errors.InvalidSpec(f'{HEADER}: {key}: unknown key')


@functools.cache
def _schema() -> dict[str, Any]:
    file = Path(__file__).with_name('container_spec.schema.json')
    schema: dict[str, Any] = json.loads(file.read_text())
    return schema


def _validate(document: Mapping[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(_schema())
    error = jsonschema.exceptions.best_match(validator.iter_errors(document))
    if error is None:
        return
    where = '.'.join(str(part) for part in error.absolute_path)
    raise errors.InvalidSpec(f'{HEADER}: {where or "mapping"}: '
                             f'{error.message}')


def _spec(document: Mapping[str, Any]) -> models.TenantSpec:
    extension = document.get('x-nova', {})
    spec = models.TenantSpec(
        command=_words('command', document.get('command')),
        entrypoint=_words('entrypoint', document.get('entrypoint')),
        environment=_environment(document.get('environment', {})),
        working_dir=document.get('working_dir'),
        user=_text(document.get('user')),
        healthcheck=_healthcheck(document.get('healthcheck')),
        wait_for=extension.get('wait_for', 'running'),
        wait_timeout=extension.get('wait_timeout', 300))
    if spec.wait_for == 'healthy' and spec.healthcheck is None:
        raise errors.InvalidSpec(
            f'{HEADER}: x-nova.wait_for: healthy needs a healthcheck')
    return spec


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _words(key: str, value: str | list[str] | None
           ) -> tuple[str, ...] | None:
    """A command line: a list, or a text that is split like a shell would."""
    if value is None:
        return None
    if isinstance(value, list):
        return tuple(value)
    try:
        return tuple(shlex.split(value))
    except ValueError as error:
        raise errors.InvalidSpec(f'{HEADER}: {key}: {error}') from error


def _environment(value: Mapping[str, Any] | list[str]) -> dict[str, str]:
    if isinstance(value, list):
        pairs = [entry.partition('=') for entry in value]
        return {name: text for name, _, text in pairs}
    return {name: _scalar(entry) for name, entry in value.items()
            if entry is not None}


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return 'true' if value else 'false'
    return str(value)


def _healthcheck(value: Mapping[str, Any] | None
                 ) -> models.Healthcheck | None:
    if value is None or value.get('disable') or value.get('test') == ['NONE']:
        return None
    test = value.get('test')
    if test is None:
        raise errors.InvalidSpec(f'{HEADER}: healthcheck.test: is missing')
    if isinstance(test, str):
        test = ['CMD-SHELL', test]
    elif test[0] not in ('CMD', 'CMD-SHELL') or len(test) < 2:
        raise errors.InvalidSpec(
            f'{HEADER}: healthcheck.test: a list begins with CMD or '
            'CMD-SHELL and goes on with a command')
    return models.Healthcheck(
        test=tuple(test),
        interval=_at_least(MIN_INTERVAL, 'interval', value),
        timeout=_at_least(MIN_TIMEOUT, 'timeout', value),
        start_period=_at_least(MIN_TIMEOUT, 'start_period', value),
        retries=value.get('retries', 0))


def _at_least(floor: int, key: str, value: Mapping[str, Any]) -> int:
    if value.get(key) is None:
        return 0
    return max(floor, duration(f'healthcheck.{key}', str(value[key])))


def duration(key: str, text: str) -> int:
    """Nanoseconds of a Compose duration such as ``1m30s``.

    :raises InvalidSpec: if it is not one
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise errors.InvalidSpec(
            f'{HEADER}: {key}: {text!r} is not a duration such as 1m30s')
    return int(sum(float(number) * _UNITS[unit]
                   for unit, number in match.groupdict().items()
                   if number is not None))
