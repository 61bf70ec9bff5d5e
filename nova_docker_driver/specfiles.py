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

"""Files and directories of a container specification: keys to values. Pure.

No reason of a refusal repeats a value: it may be secret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import posixpath
import re
from typing import Any, TypeVar

from nova_docker_driver import errors
from nova_docker_driver import models
from nova_docker_driver import units

HEADER = '#docker-config'

#: Bytes of all files together.
MAX_FILES = 49152

_LARGEST_ID = 2 ** 31 - 1
_OWN_FILES = ('/etc/hosts', '/etc/hostname', '/etc/resolv.conf')


def refused(key: str, reason: object) -> errors.InvalidSpec:
    """What is raised for a key that cannot be honoured."""
    return errors.InvalidSpec(f'{HEADER}: {key}: {reason}')


_Value = TypeVar('_Value')


def parsed(key: str, parse_value: Callable[[Any], _Value], value: Any
           ) -> _Value | None:
    """A value that a parser of ``units`` accepts, or None for none."""
    if value is None:
        return None
    try:
        return parse_value(value)
    except ValueError as error:
        raise refused(key, error) from None


def listed(value: Any) -> tuple[str, ...]:
    """A list, whether it was given as one or as its only entry."""
    return (value,) if isinstance(value, str) else tuple(value)


def files(document: Mapping[str, Any]) -> tuple[models.GuestFile, ...]:
    """What ``configs`` and ``secrets`` stand for."""
    found: dict[str, models.GuestFile] = {}
    for key, home in (('configs', '/'), ('secrets', '/run/secrets/')):
        for number, entry in enumerate(document.get(key, ())):
            where = f'{key}.{number}'
            # A bare name goes where Compose puts it; so is the mode its own.
            target = _target(f'{where}.target', posixpath.join(
                home, entry['target']))
            if target in found:
                raise refused(f'{where}.target', 'is given twice')
            found[target] = models.GuestFile(
                target=target, content=entry['content'].encode(),
                mode=_mode(f'{where}.mode', entry.get('mode', 0o444)),
                uid=_owner(f'{where}.uid', entry.get('uid')),
                gid=_owner(f'{where}.gid', entry.get('gid')))
    if sum(len(file.content) for file in found.values()) > MAX_FILES:
        raise refused('configs and secrets',
                      f'are larger than {MAX_FILES} bytes together')
    return tuple(found.values())


def _mode(where: str, value: int | str) -> int:
    try:
        mode = int(value, 8) if isinstance(value, str) else int(value)
    except ValueError:
        raise refused(where, 'is not an octal mode such as 0440') from None
    if not 0 <= mode <= 0o777:
        # Not even a set-user-id bit of a file that the driver owns.
        raise refused(where, 'is not between 0 and 0777')
    return mode


def _owner(where: str, value: int | str | None) -> int | None:
    return None if value is None else _number(where, value)


def _number(where: str, value: int | str) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit()) or int(text) > _LARGEST_ID:
        raise refused(where, 'is not a number of a user or group')
    return int(text)


def directory(where: str, path: str | None) -> str | None:
    """A normal absolute path to start in; the kernel's own are not.

    A descriptor below /proc was a way out of the container once.
    """
    return None if path is None else _normal(where, path)


def _normal(where: str, path: str) -> str:
    found = posixpath.normpath('/' + path.lstrip('/'))
    if not path.startswith('/') or '..' in path.split('/'):
        raise refused(where, 'is not an absolute path')
    if found.split('/')[1] in ('proc', 'sys', 'dev'):
        raise refused(where, 'is below /proc, /sys or /dev')
    return found


def _target(where: str, path: str) -> str:
    """A normal absolute path that a tenant may mount something at."""
    found = _normal(where, path)
    if found == '/':
        raise refused(where, 'is not below /')
    if ':' in found:
        raise refused(where, 'has a colon')
    if found in _OWN_FILES:
        raise refused(where, 'is written by the driver')
    return found


def storage(document: Mapping[str, Any]
            ) -> tuple[dict[str, str], tuple[str, ...]]:
    """Directories in memory, and directories on anonymous volumes."""
    tmpfs: dict[str, str] = {}
    volumes: list[str] = []
    for entry in listed(document.get('tmpfs', ())):
        path, _, text = entry.partition(':')
        tmpfs[_target('tmpfs', path)] = _tmpfs_options('tmpfs', dict(
            _option(option) for option in text.split(',') if option))
    for number, volume in enumerate(document.get('volumes', ())):
        where = f'volumes.{number}'
        kind, source, target, options = _volume(where, volume)
        if kind in ('bind', 'npipe') or source.startswith(('/', '.', '~')):
            raise refused(where, 'paths of the host are never given to a '
                          'container')
        if kind not in ('volume', 'tmpfs') or source:
            raise refused(where, 'volumes of Cinder are not available yet; '
                          'a bare path is an anonymous volume')
        if kind == 'tmpfs':
            tmpfs[_target(where, target)] = _tmpfs_options(where, options)
        else:
            volumes.append(_target(where, target))
    targets = [*tmpfs, *volumes]
    if len(targets) != len(set(targets)):
        raise refused('volumes', 'a target is given twice')
    return tmpfs, tuple(volumes)


def _volume(where: str, value: str | Mapping[str, Any]
            ) -> tuple[str, str, str, dict[str, Any]]:
    """Kind, source, target and options of a tmpfs."""
    if isinstance(value, str):
        source, colon, rest = value.partition(':')
        return ('volume', source, rest.partition(':')[0], {}) if colon else (
            'volume', '', source, {})
    if value.get('read_only'):
        raise refused(f'{where}.read_only', 'an empty directory that cannot '
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
            found.append(f'size={parsed(where, units.size, value)}')
        elif name == 'mode':
            # A sticky directory for everybody is what /tmp is.
            text = str(value) if isinstance(value, str) else f'{value:o}'
            if not re.fullmatch('[01]?[0-7]{3,4}', text, re.ASCII):
                raise refused(where, 'mode is not octal such as 1777')
            found.append(f'mode={text}')
        elif name in ('uid', 'gid'):
            found.append(f'{name}={_number(where, value)}')
        else:
            raise refused(where, f'{name[:64]}: unknown option; there are '
                          'size, mode, uid and gid')
    return ','.join(found)
