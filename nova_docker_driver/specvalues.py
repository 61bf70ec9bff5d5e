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

"""What the keys of a container specification mean: a document to values.

Pure. No reason of a refusal repeats a value: it may be secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import math
import re
import shlex
from typing import Any

from oslo_utils import netutils

from nova_docker_driver import errors
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import specfiles
from nova_docker_driver import units

HEADER = specfiles.HEADER

#: The Engine takes less for a mistake.
MIN_TIMEOUT = models.SECOND // 1000

#: Bytes of a variable with its name: the kernel's MAX_ARG_STRLEN.
MAX_VARIABLE = 131071
_TOO_LONG = f'is longer than {MAX_VARIABLE} bytes'

#: Kernel parameters that belong to one namespace and harm no neighbour; the
#: safe list of Kubernetes.
_NUMBERS = re.compile(r'[0-9]{1,10}(?:[ \t,-]+[0-9]{1,10})*', re.ASCII)

SAFE_SYSCTLS = frozenset((
    'kernel.shm_rmid_forced', 'net.ipv4.ip_local_port_range',
    'net.ipv4.ip_local_reserved_ports', 'net.ipv4.ip_unprivileged_port_start',
    'net.ipv4.ping_group_range', 'net.ipv4.tcp_fin_timeout',
    'net.ipv4.tcp_keepalive_intvl', 'net.ipv4.tcp_keepalive_probes',
    'net.ipv4.tcp_keepalive_time', 'net.ipv4.tcp_syncookies'))


def tenant_spec(document: Mapping[str, Any]) -> models.TenantSpec:
    """What a document that the schema allows asks for.

    :raises InvalidSpec: naming the key and the reason
    """
    extension = document.get('x-nova', {})
    tmpfs, volumes = specfiles.storage(document)
    log_size, log_files = _logging(document.get('logging', {}))
    pull_policy = document.get('pull_policy', 'missing')
    found = models.TenantSpec(
        image=document.get('image', ''),
        pull_policy=('missing' if pull_policy == 'if_not_present'
                     else pull_policy),
        command=_words('command', document.get('command')),
        entrypoint=_words('entrypoint', document.get('entrypoint')),
        environment=_environment(document.get('environment', {})),
        environment_secrets={
            name: reference.rpartition('/')[2] for name, reference
            in extension.get('environment_secrets', {}).items()},
        working_dir=specfiles.directory('working_dir',
                                        document.get('working_dir')),
        user=_text(document.get('user')),
        group_add=tuple(map(str, document.get('group_add', ()))),
        tty=document.get('tty', False),
        stdin_open=document.get('stdin_open', False),
        init=document.get('init', False),
        stop_signal=specfiles.parsed('stop_signal', units.signal_name,
                                     document.get('stop_signal')),
        stop_grace_period=_seconds(document),
        restart=_restart(document.get('restart', 'no')),
        healthcheck=_healthcheck(document.get('healthcheck')),
        read_only=document.get('read_only', False),
        tmpfs=tmpfs, volumes=volumes,
        shm_size=specfiles.parsed('shm_size', units.size,
                                  document.get('shm_size')),
        ulimits=_ulimits(document.get('ulimits', {})),
        cap_drop=_capabilities(document.get('cap_drop', ())),
        cap_add=_capabilities(document.get('cap_add', ())),
        sysctls=_sysctls(document.get('sysctls', {})),
        labels=_labels(document.get('labels', {})),
        extra_hosts=_extra_hosts(document.get('extra_hosts', {})),
        dns=_servers(specfiles.listed(document.get('dns', ()))),
        dns_search=specfiles.listed(document.get('dns_search', ())),
        files=specfiles.files(document),
        log_max_size=log_size, log_max_files=log_files,
        mem_reservation=specfiles.parsed('mem_reservation', units.size,
                                         document.get('mem_reservation')),
        oom_score_adj=document.get('oom_score_adj', 0),
        wait_for=extension.get('wait_for', 'running'),
        wait_timeout=extension.get('wait_timeout', 300),
        crash_dump_signal=specfiles.parsed(
            'x-nova.crash_dump_signal', units.signal_name,
            extension.get('crash_dump_signal')) or 'SIGQUIT')
    for name in found.environment_secrets:
        if name in found.environment:
            raise refused_secret(name, 'is in environment too')
    if found.wait_for == 'healthy' and found.healthcheck is None:
        raise errors.InvalidSpec(
            f'{HEADER}: x-nova.wait_for: healthy needs a healthcheck')
    if found.wait_for == 'completed' and found.restart.name not in (
            'no', 'on-failure'):
        raise errors.InvalidSpec(
            f'{HEADER}: x-nova.wait_for: a process that is always restarted '
            'never completes; see restart')
    return found


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
        raise specfiles.refused(key, error) from None


def _pairs(value: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    """A mapping, whether it was given as one or as a list of name=value."""
    if isinstance(value, Mapping):
        return dict(value)
    pairs = [entry.partition('=') for entry in value]
    return {name: text for name, _, text in pairs}


def _environment(value: Mapping[str, Any] | list[str]) -> dict[str, str]:
    found = {name: _scalar(entry) for name, entry in _pairs(value).items()
             if entry is not None}
    for name, entry in found.items():
        if _is_too_long(name, entry):
            raise specfiles.refused(f'environment.{name}', _TOO_LONG)
    return found


def _is_too_long(name: str, value: str) -> bool:
    """The kernel would refuse it when the process starts."""
    return len(f'{name}={value}'.encode()) > MAX_VARIABLE


def secret_variable(name: str, content: bytes) -> str:
    """A secret as the value of a variable.

    :raises InvalidSpec: if it cannot be one
    """
    try:
        value = content.decode()
    except UnicodeDecodeError:
        raise refused_secret(name, 'is not UTF-8') from None
    if '\0' in value:
        raise refused_secret(name, 'has a NUL character')
    if _is_too_long(name, value):
        raise refused_secret(name, _TOO_LONG)
    return value


def refused_secret(name: str, reason: str) -> errors.InvalidSpec:
    """The error that says why a variable cannot hold a secret."""
    return specfiles.refused(f'x-nova.environment_secrets.{name}', reason)


def _scalar(value: Any) -> str:
    """As Compose writes it: booleans small, whole numbers without a point."""
    if isinstance(value, bool):
        return 'true' if value else 'false'
    return str(value).removesuffix('.0')


def _labels(value: Mapping[str, Any] | list[str]) -> dict[str, str]:
    found = {name: '' if entry is None else _scalar(entry)
             for name, entry in _pairs(value).items()}
    for name in found:
        if names.is_reserved_label(name):
            raise specfiles.refused(f'labels.{name}', 'is of the driver')
    return found


def _sysctls(value: Mapping[str, Any] | list[str]) -> dict[str, str]:
    found = {name: str(entry) for name, entry in _pairs(value).items()}
    for name, text in found.items():
        if name not in SAFE_SYSCTLS:
            raise specfiles.refused(
                f'sysctls.{name[:64]}', 'is not of the safe list: '
                + ', '.join(sorted(SAFE_SYSCTLS)))
        if not _NUMBERS.fullmatch(text):
            raise specfiles.refused(f'sysctls.{name}', 'is not a number, nor '
                                    'a list or a range of numbers')
    return found


def _seconds(document: Mapping[str, Any]) -> int | None:
    found = specfiles.parsed('stop_grace_period', units.duration,
                             document.get('stop_grace_period'))
    return None if found is None else math.ceil(found / models.SECOND)


def _restart(value: str | bool) -> models.Restart:
    # YAML reads a bare "no" as a boolean.
    if isinstance(value, bool):
        if value:
            raise specfiles.refused('restart', 'is none of no, on-failure, '
                                    'always and unless-stopped')
        return models.Restart()
    name, _, attempts = value.partition(':')
    if name == 'always':
        # The same, but a server that was stopped stays stopped.
        name = 'unless-stopped'
    return models.Restart(name, int(attempts or 0))


def _ulimits(value: Mapping[str, Any]) -> tuple[models.Ulimit, ...]:
    found = []
    for name, limit in sorted(value.items()):
        soft, hard = ((limit['soft'], limit['hard'])
                      if isinstance(limit, Mapping) else (limit, limit))
        if hard != -1 and (soft > hard or soft == -1):
            raise specfiles.refused(f'ulimits.{name}',
                                    'soft is more than hard')
        found.append(models.Ulimit(name, soft, hard))
    return tuple(found)


def _capabilities(value: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted({name.upper().removeprefix('CAP_')
                         for name in value}))


def _extra_hosts(value: Mapping[str, str] | list[str]
                 ) -> tuple[tuple[str, str], ...]:
    pairs = value.items() if isinstance(value, Mapping) else [
        re.split('[=:]', entry, maxsplit=1) for entry in value]
    found = []
    for name, address in pairs:
        if not _is_address(address.strip('[]')):
            raise specfiles.refused(f'extra_hosts.{name[:64]}',
                                    'is not an IP address')
        found.append((name, address.strip('[]')))
    return tuple(found)


def _is_address(text: str) -> bool:
    # The library lets a line break at the end pass.
    return text == text.strip() and bool(netutils.is_valid_ip(text))


def _servers(value: tuple[str, ...]) -> tuple[str, ...]:
    for address in value:
        if not _is_address(address):
            raise specfiles.refused('dns', 'has an entry that is not an IP '
                                    'address')
    return value


def _logging(value: Mapping[str, Any]) -> tuple[int | None, int | None]:
    options = value.get('options', {})
    files = options.get('max-file')
    return (specfiles.parsed('logging.options.max-size', units.size,
                             options.get('max-size')),
            None if files is None else max(1, int(files)))


def _healthcheck(value: Mapping[str, Any] | None
                 ) -> models.Healthcheck | None:
    if value is None or value.get('disable') or value.get('test') == ['NONE']:
        return None
    test = value.get('test')
    if test is None:
        raise specfiles.refused('healthcheck.test', 'is missing')
    if isinstance(test, str):
        test = ['CMD-SHELL', test]
    elif test[0] not in ('CMD', 'CMD-SHELL') or len(test) < 2:
        raise specfiles.refused(
            'healthcheck.test', 'a list begins with CMD or CMD-SHELL and '
            'goes on with a command')
    return models.Healthcheck(
        test=tuple(test),
        interval=_at_least(MIN_TIMEOUT, 'interval', value),
        timeout=_at_least(MIN_TIMEOUT, 'timeout', value),
        start_period=_at_least(MIN_TIMEOUT, 'start_period', value),
        retries=value.get('retries', 0))


def _at_least(floor: int, key: str, value: Mapping[str, Any]) -> int:
    found = specfiles.parsed(f'healthcheck.{key}', units.duration,
                             value.get(key))
    return 0 if found is None else max(floor, found)
