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

from collections.abc import Callable, Mapping, Sequence
import math
import posixpath
import re
import shlex
from typing import Any, TypeVar

from oslo_utils import netutils

from nova_docker_driver import errors
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import units

HEADER = '#docker-config'

# A check costs the host, outside of the server's own limits.
MIN_INTERVAL = 1 * models.SECOND
MIN_TIMEOUT = models.SECOND // 1000

#: Bytes of a variable with its name (the kernel's MAX_ARG_STRLEN) and of all
#: files together.
MAX_VARIABLE, MAX_FILES = 131071, 49152

#: Kernel parameters that belong to one namespace and harm no neighbour; the
#: safe list of Kubernetes.
SAFE_SYSCTLS = frozenset((
    'kernel.shm_rmid_forced', 'net.ipv4.ip_local_port_range',
    'net.ipv4.ip_local_reserved_ports', 'net.ipv4.ip_unprivileged_port_start',
    'net.ipv4.ping_group_range', 'net.ipv4.tcp_fin_timeout',
    'net.ipv4.tcp_keepalive_intvl', 'net.ipv4.tcp_keepalive_probes',
    'net.ipv4.tcp_keepalive_time', 'net.ipv4.tcp_syncookies'))

_LARGEST_ID = 2 ** 31 - 1
_OWN_FILES = ('/etc/hosts', '/etc/hostname', '/etc/resolv.conf')


def tenant_spec(document: Mapping[str, Any]) -> models.TenantSpec:
    """What a document that the schema allows asks for.

    :raises InvalidSpec: naming the key and the reason
    """
    extension = document.get('x-nova', {})
    tmpfs, volumes = _storage(document)
    log_size, log_files = _logging(document.get('logging', {}))
    found = models.TenantSpec(
        command=_words('command', document.get('command')),
        entrypoint=_words('entrypoint', document.get('entrypoint')),
        environment=_environment(document.get('environment', {})),
        working_dir=document.get('working_dir'),
        user=_text(document.get('user')),
        group_add=tuple(map(str, document.get('group_add', ()))),
        tty=document.get('tty', False),
        stdin_open=document.get('stdin_open', False),
        init=document.get('init', False),
        stop_signal=_parsed('stop_signal', units.signal_name,
                            document.get('stop_signal')),
        stop_grace_period=_seconds(document),
        restart=_restart(document.get('restart', 'no')),
        healthcheck=_healthcheck(document.get('healthcheck')),
        read_only=document.get('read_only', False),
        tmpfs=tmpfs, volumes=volumes,
        shm_size=_parsed('shm_size', units.size, document.get('shm_size')),
        ulimits=_ulimits(document.get('ulimits', {})),
        cap_drop=_capabilities(document.get('cap_drop', ())),
        cap_add=_capabilities(document.get('cap_add', ())),
        sysctls=_sysctls(document.get('sysctls', {})),
        labels=_labels(document.get('labels', {})),
        extra_hosts=_extra_hosts(document.get('extra_hosts', {})),
        dns=_servers(_listed(document.get('dns', ()))),
        dns_search=_listed(document.get('dns_search', ())),
        files=_files(document),
        log_max_size=log_size, log_max_files=log_files,
        mem_reservation=_parsed('mem_reservation', units.size,
                                document.get('mem_reservation')),
        oom_score_adj=document.get('oom_score_adj', 0),
        wait_for=extension.get('wait_for', 'running'),
        wait_timeout=extension.get('wait_timeout', 300),
        crash_dump_signal=_parsed(
            'x-nova.crash_dump_signal', units.signal_name,
            extension.get('crash_dump_signal')) or 'SIGQUIT')
    if found.wait_for == 'healthy' and found.healthcheck is None:
        raise errors.InvalidSpec(
            f'{HEADER}: x-nova.wait_for: healthy needs a healthcheck')
    if found.wait_for == 'completed' and found.restart.name not in (
            'no', 'on-failure'):
        raise errors.InvalidSpec(
            f'{HEADER}: x-nova.wait_for: a process that is always restarted '
            'never completes; see restart')
    return found


def _refused(key: str, reason: object) -> errors.InvalidSpec:
    return errors.InvalidSpec(f'{HEADER}: {key}: {reason}')


_Value = TypeVar('_Value')


def _parsed(key: str, parse_value: Callable[[Any], _Value], value: Any
            ) -> _Value | None:
    if value is None:
        return None
    try:
        return parse_value(value)
    except ValueError as error:
        raise _refused(key, error) from None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _listed(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


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
        raise _refused(key, error) from None


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
        # The kernel refuses a longer one when the process starts.
        if len(f'{name}={entry}'.encode()) > MAX_VARIABLE:
            raise _refused(f'environment.{name}',
                           f'is longer than {MAX_VARIABLE} bytes')
    return found


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return 'true' if value else 'false'
    return str(value)


def _labels(value: Mapping[str, Any] | list[str]) -> dict[str, str]:
    found = {name: '' if entry is None else _scalar(entry)
             for name, entry in _pairs(value).items()}
    for name in found:
        if names.is_reserved_label(name):
            raise _refused(f'labels.{name}', 'is of the driver')
    return found


def _sysctls(value: Mapping[str, Any] | list[str]) -> dict[str, str]:
    found = {name: str(entry) for name, entry in _pairs(value).items()}
    for name in found:
        if name not in SAFE_SYSCTLS:
            raise _refused(f'sysctls.{name[:64]}',
                           'is not of the safe list: '
                           + ', '.join(sorted(SAFE_SYSCTLS)))
    return found


def _seconds(document: Mapping[str, Any]) -> int | None:
    found = _parsed('stop_grace_period', units.duration,
                    document.get('stop_grace_period'))
    return None if found is None else math.ceil(found / models.SECOND)


def _restart(value: str | bool) -> models.Restart:
    # YAML reads a bare "no" as a boolean.
    if isinstance(value, bool):
        if value:
            raise _refused('restart', 'is none of no, on-failure, always '
                           'and unless-stopped')
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
            raise _refused(f'ulimits.{name}', 'soft is more than hard')
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
        if not netutils.is_valid_ip(address.strip('[]')):
            raise _refused(f'extra_hosts.{name[:64]}',
                           'is not an IP address')
        found.append((name, address.strip('[]')))
    return tuple(found)


def _servers(value: tuple[str, ...]) -> tuple[str, ...]:
    for address in value:
        if not netutils.is_valid_ip(address):
            raise _refused('dns', 'has an entry that is not an IP address')
    return value


def _logging(value: Mapping[str, Any]) -> tuple[int | None, int | None]:
    options = value.get('options', {})
    files = options.get('max-file')
    return (_parsed('logging.options.max-size', units.size,
                    options.get('max-size')),
            None if files is None else max(1, int(files)))


# -- files and directories --------------------------------------------------

def _files(document: Mapping[str, Any]) -> tuple[models.GuestFile, ...]:
    found: dict[str, models.GuestFile] = {}
    for key, home in (('configs', '/'), ('secrets', '/run/secrets/')):
        for number, entry in enumerate(document.get(key, ())):
            where = f'{key}.{number}'
            # A bare name goes where Compose puts it; so is the mode its own.
            target = _target(f'{where}.target', posixpath.join(
                home, entry['target']))
            if target in found:
                raise _refused(f'{where}.target', 'is given twice')
            found[target] = models.GuestFile(
                target=target, content=entry['content'].encode(),
                mode=_mode(f'{where}.mode', entry.get('mode', 0o444)),
                uid=_owner(f'{where}.uid', entry.get('uid')),
                gid=_owner(f'{where}.gid', entry.get('gid')))
    if sum(len(file.content) for file in found.values()) > MAX_FILES:
        raise _refused('configs and secrets',
                       f'are larger than {MAX_FILES} bytes together')
    return tuple(found.values())


def _mode(where: str, value: int | str) -> int:
    try:
        mode = int(value, 8) if isinstance(value, str) else int(value)
    except ValueError:
        raise _refused(where, 'is not an octal mode such as 0440') from None
    if not 0 <= mode <= 0o777:
        # Not even a set-user-id bit of a file that the driver owns.
        raise _refused(where, 'is not between 0 and 0777')
    return mode


def _owner(where: str, value: int | str | None) -> int | None:
    return None if value is None else _number(where, value)


def _number(where: str, value: int | str) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit()) or int(text) > _LARGEST_ID:
        raise _refused(where, 'is not a number of a user or group')
    return int(text)


def _target(where: str, path: str) -> str:
    """A normal absolute path that a tenant may mount something at."""
    found = posixpath.normpath('/' + path.lstrip('/'))
    parts = found.split('/')
    if not path.startswith('/') or found == '/' or '..' in path.split('/'):
        raise _refused(where, 'is not an absolute path below /')
    if parts[1] in ('proc', 'sys', 'dev'):
        raise _refused(where, 'is below /proc, /sys or /dev')
    if ':' in found:
        raise _refused(where, 'has a colon')
    if found in _OWN_FILES:
        raise _refused(where, 'is written by the driver')
    return found


def _storage(document: Mapping[str, Any]
             ) -> tuple[dict[str, str], tuple[str, ...]]:
    """Directories in memory, and directories on anonymous volumes."""
    tmpfs: dict[str, str] = {}
    volumes: list[str] = []
    for entry in _listed(document.get('tmpfs', ())):
        path, _, text = entry.partition(':')
        tmpfs[_target('tmpfs', path)] = _tmpfs_options('tmpfs', dict(
            _option(option) for option in text.split(',') if option))
    for number, volume in enumerate(document.get('volumes', ())):
        where = f'volumes.{number}'
        kind, source, target, options = _volume(where, volume)
        if kind in ('bind', 'npipe') or source.startswith(('/', '.', '~')):
            raise _refused(where, 'paths of the host are never given to a '
                           'container')
        if kind not in ('volume', 'tmpfs') or source:
            raise _refused(where, 'volumes of Cinder are not available yet; '
                           'a bare path is an anonymous volume')
        if kind == 'tmpfs':
            tmpfs[_target(where, target)] = _tmpfs_options(where, options)
        else:
            volumes.append(_target(where, target))
    targets = [*tmpfs, *volumes]
    if len(targets) != len(set(targets)):
        raise _refused('volumes', 'a target is given twice')
    return tmpfs, tuple(volumes)


def _volume(where: str, value: str | Mapping[str, Any]
            ) -> tuple[str, str, str, dict[str, Any]]:
    """Kind, source, target and options of a tmpfs."""
    if isinstance(value, str):
        source, colon, rest = value.partition(':')
        return ('volume', source, rest.partition(':')[0], {}) if colon else (
            'volume', '', source, {})
    if value.get('read_only'):
        raise _refused(f'{where}.read_only', 'an empty directory that cannot '
                       'be written is of no use')
    return (value['type'], value.get('source', ''), value['target'],
            dict(value.get('tmpfs', {})))


def _option(text: str) -> tuple[str, str]:
    name, _, value = text.partition('=')
    return name, value


def _tmpfs_options(where: str, options: Mapping[str, Any]) -> str:
    found = []
    for name, value in options.items():
        if name == 'size':
            found.append(f'size={_parsed(where, units.size, value)}')
        elif name == 'mode':
            # A sticky directory for everybody is what /tmp is.
            text = str(value) if isinstance(value, str) else f'{value:o}'
            if not re.fullmatch('[01]?[0-7]{3,4}', text, re.ASCII):
                raise _refused(where, 'mode is not octal such as 1777')
            found.append(f'mode={text}')
        elif name in ('uid', 'gid'):
            found.append(f'{name}={_number(where, value)}')
        else:
            raise _refused(where, f'{name[:64]}: unknown option; there are '
                           'size, mode, uid and gid')
    return ','.join(found)


def _healthcheck(value: Mapping[str, Any] | None
                 ) -> models.Healthcheck | None:
    if value is None or value.get('disable') or value.get('test') == ['NONE']:
        return None
    test = value.get('test')
    if test is None:
        raise _refused('healthcheck.test', 'is missing')
    if isinstance(test, str):
        test = ['CMD-SHELL', test]
    elif test[0] not in ('CMD', 'CMD-SHELL') or len(test) < 2:
        raise _refused('healthcheck.test', 'a list begins with CMD or '
                       'CMD-SHELL and goes on with a command')
    return models.Healthcheck(
        test=tuple(test),
        interval=_at_least(MIN_INTERVAL, 'interval', value),
        timeout=_at_least(MIN_TIMEOUT, 'timeout', value),
        start_period=_at_least(MIN_TIMEOUT, 'start_period', value),
        retries=value.get('retries', 0))


def _at_least(floor: int, key: str, value: Mapping[str, Any]) -> int:
    found = _parsed(f'healthcheck.{key}', units.duration, value.get(key))
    return 0 if found is None else max(floor, found)
