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

"""Heat's words to Nova's and back: pure functions.

The properties of a container become the ``user_data`` that the driver reads;
a server's status and metadata become progress.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
import dataclasses
import hashlib
import json
import re
from typing import Any

#: First line of a user_data that is a container specification.
HEADER = '#docker-config'

#: Nova accepts 65535 characters of base64.
MAXIMUM_SIZE = 65535 // 4 * 3

#: Server metadata that the driver and this plugin write.
RESERVED_PREFIXES = ('docker:', 'heat:')
EXIT_CODE = 'docker:exit_code'
HEALTH = 'docker:health'
IMAGE_DIGEST = 'docker:image_digest'
RESOURCE_KEY = 'heat:resource_uuid'
SPEC_KEY = 'heat:spec_digest'

_VARIABLE = re.compile(r'[^=\x00-\x1f\x7f]{1,256}')
_SECRET = re.compile(r'[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}')
_WHOLE = re.compile(r'-1|[0-9]{1,18}')

RUNNING, HEALTHY, COMPLETED, NONE = WAITS = (
    'running', 'healthy', 'completed', 'none')


def specification(properties: Mapping[str, Any]) -> str:
    """The user_data that asks for what the properties say.

    Equal properties give equal text.
    """
    document = {key: _given(properties[name]) for name, key in _SAME.items()
                if properties.get(name) is not None}
    for name, translate in _OTHERWISE.items():
        if properties.get(name) is not None:
            _merge(document, translate(properties[name]))
    document['x-nova'] = _given({
        'wait_for': properties['wait_for'],
        'wait_timeout': properties['wait_timeout'],
        'environment_secrets': secrets(properties) or None,
        'crash_dump_signal': properties.get('crash_dump_signal')})
    # JSON is YAML; sorted, so that a digest of it means something.
    return f'{HEADER}\n{json.dumps(document, sort_keys=True, indent=1)}\n'


def secrets(properties: Mapping[str, Any]) -> dict[str, str]:
    """Variable to the id of its secret, which Barbican's addresses end in.

    One that is not there yet, while a stack is validated, has none.
    """
    return {name: str(reference).rstrip('/').rpartition('/')[2]
            for name, reference in (
                properties.get('environment_secrets') or {}).items()
            if reference is not None}


def _merge(document: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, list):
            value = document.get(key, []) + value
        document[key] = value


def _files(files: list[Mapping[str, Any]]) -> dict[str, Any]:
    return {'configs': [
        _given({'target': file['path'], 'content': file['content'],
                'mode': file.get('mode'), 'uid': file.get('uid'),
                'gid': file.get('gid')}) for file in files]}


def _mounts(mounts: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Those of Cinder are not the specification's."""
    found: dict[str, Any] = {'tmpfs': [], 'volumes': []}
    for mount in mounts:
        if mount['type'] == 'ephemeral':
            found['volumes'].append(mount['target'])
        elif mount['type'] == 'tmpfs':
            options = ','.join(
                f'{name}={value}{unit}' for name, value, unit in (
                    ('size', mount.get('size_mb'), 'm'),
                    ('mode', mount.get('mode'), '')) if value)
            found['tmpfs'].append(
                mount['target'] + (f':{options}' if options else ''))
    return {key: entries for key, entries in found.items() if entries}


def _restart(policy: Mapping[str, Any]) -> dict[str, Any]:
    retries = policy.get('max_retries')
    return {'restart': f'{policy["name"]}:{retries}'
            if retries and policy['name'] == 'on-failure'
            else policy['name']}


def _logging(options: Mapping[str, Any]) -> dict[str, Any]:
    size, files = options.get('max_size_mb'), options.get('max_files')
    return {'logging': {'driver': 'json-file', 'options': _given({
        'max-size': f'{size}m' if size else None,
        'max-file': str(files) if files else None})}}


#: Property to the key of the specification that means the same.
_SAME = {'image_ref': 'image', **{name: name for name in (
    'pull_policy', 'command', 'entrypoint', 'environment', 'working_dir',
    'user', 'group_add', 'healthcheck', 'stop_signal', 'stop_grace_period',
    'init', 'tty', 'stdin_open', 'read_only', 'oom_score_adj', 'ulimits',
    'sysctls', 'cap_drop', 'cap_add', 'extra_hosts', 'dns', 'dns_search',
    'labels', 'expose')}}

#: Property to what makes keys of its value.
_OTHERWISE: dict[str, Callable[[Any], dict[str, Any]]] = {
    'files': _files,
    'mounts': _mounts,
    'restart_policy': _restart,
    'log_options': _logging,
    'shm_size_mb': lambda size: {'shm_size': f'{size}m'},
    'mem_reservation_mb': lambda size: {'mem_reservation': f'{size}m'},
}

#: A change of any of these asks for another process.
SPEC_PROPERTIES = (*_SAME, *_OTHERWISE, 'environment_secrets',
                   'crash_dump_signal')


def is_secret(secret: str) -> bool:
    """Whether it has the form of an id of Barbican's."""
    return bool(_SECRET.fullmatch(secret))


def problems(properties: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with properties that each by itself are valid.

    :return: of each fault the property and the reason
    """
    for name in ('environment', 'labels', 'sysctls', 'extra_hosts'):
        for key, value in (properties.get(name) or {}).items():
            if not _VARIABLE.fullmatch(key):
                yield name, f'{key!r} is not a name'
            if not isinstance(value, str | int | float | bool | None):
                yield name, (f'the value of {key} is neither a string nor a '
                             'number nor a boolean')
            elif '\0' in str(value):
                yield name, f'the value of {key} has a NUL character'
    for name in secrets(properties):
        if not _VARIABLE.fullmatch(name):
            yield 'environment_secrets', f'{name!r} is not a name'
        if name in (properties.get('environment') or {}):
            yield 'environment_secrets', f'{name} is in environment too'
    for name, value in (properties.get('ulimits') or {}).items():
        parts = value.values() if isinstance(value, Mapping) else [value]
        if isinstance(value, Mapping) and set(value) != {'soft', 'hard'}:
            yield 'ulimits', f'{name} needs both soft and hard'
        elif not all(_WHOLE.fullmatch(str(part)) for part in parts):
            yield 'ulimits', f'{name} is not a whole number'
    for name in properties.get('metadata') or {}:
        if is_reserved(name):
            yield 'metadata', f'{name} is written by the driver'
    if properties['wait_for'] == HEALTHY and not (
            properties.get('healthcheck') or {}).get('test'):
        yield 'wait_for', 'healthy needs a test in the property healthcheck'
    for mount in properties.get('mounts') or ():
        yield from _problems_of_mount(mount)


def _problems_of_mount(mount: Mapping[str, Any]
                       ) -> Iterator[tuple[str, str]]:
    kind = mount['type']
    if kind == 'volume':
        # Refused here and not by a server in ERROR half a minute later.
        yield 'mounts', ('type volume: containers have no Cinder volumes '
                         'yet; use ephemeral, or keep the data in another '
                         'service')
    for name, kinds in (('volume', ('volume',)), ('size_mb', ('tmpfs',)),
                        ('mode', ('tmpfs',)), ('read_only', ('volume',))):
        if mount.get(name) is not None and kind not in kinds:
            yield 'mounts', f'{name} is not for type {kind}'


def digest(text: str) -> str:
    """The digest of a specification."""
    return hashlib.sha256(text.encode()).hexdigest()


def _given(value: Any) -> Any:
    """The value without the parts that were not given."""
    if isinstance(value, Mapping):
        return {key: entry for key, entry in value.items()
                if entry is not None}
    return value


def without_nothing(value: Any) -> Any:
    """The value without the parts that are None, at any depth."""
    if isinstance(value, Mapping):
        return {key: without_nothing(entry) for key, entry in value.items()
                if entry is not None}
    if isinstance(value, list):
        return [without_nothing(entry) for entry in value]
    return value


def merged_metadata(current: Mapping[str, str], wanted: Mapping[str, str]
                    ) -> tuple[dict[str, str], list[str]]:
    """What to set and what to delete, leaving the reserved keys alone."""
    stale = [key for key in current
             if key not in wanted and not is_reserved(key)]
    return dict(wanted), sorted(stale)


def is_reserved(key: str) -> bool:
    """Whether only the driver and this plugin may write the key."""
    return key.startswith(RESERVED_PREFIXES)


def own_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata that a template has a say in."""
    return {key: value for key, value in metadata.items()
            if not is_reserved(key)}


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a container is on its way to what is waited for."""

    done: bool = False
    #: Why it will never get there.
    failure: str = ''


def exit_code(metadata: Mapping[str, str]) -> int | None:
    """The exit code of the process; None while there is none."""
    try:
        return int(metadata[EXIT_CODE])
    except (KeyError, ValueError):
        return None


def progress(status: str, metadata: Mapping[str, str], wait_for: str
             ) -> Progress:
    """What a server's status means to who waits for it.

    ERROR is not among the answers: why it is decides there.
    """
    code = exit_code(metadata)
    if status == 'ACTIVE':
        # The driver lets a server become ACTIVE only when it is healthy, if
        # that was asked for; a job is only begun by then.
        return Progress(done=wait_for != COMPLETED)
    if status != 'SHUTOFF':
        return Progress()
    if wait_for == NONE or (wait_for == COMPLETED and code == 0):
        return Progress(done=True)
    if code is None:
        return Progress(failure='the process was stopped')
    return Progress(failure=f'the process ended with exit code {code}')


def is_final(fault: str, server_id: str) -> bool:
    """Whether Nova gave up a build for a reason that no retry changes."""
    return fault.startswith(f'Build of instance {server_id} aborted')
