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

"""Judges and rewrites an image's configuration. Pure.

Only what a container is run with stays in it. Labels of ours, build triggers
and whatever a future format may add do not reach the Engine.
"""

from __future__ import annotations

from collections.abc import Mapping
import hashlib
import json
import posixpath
import re
from typing import Any

from nova_docker_driver import errors
from nova_docker_driver import imagemodels
from nova_docker_driver import names
from nova_docker_driver import units

_ARCHITECTURES = {'x86_64': 'amd64', 'aarch64': 'arm64', 'armv7l': 'arm',
                  'i686': '386'}

_DIGEST = re.compile(r'sha256:[0-9a-f]{64}')

_KEPT = ('architecture', 'os', 'variant', 'created')

#: Kept as they are, of these types.
_SETTINGS: dict[str, type] = {
    'User': str, 'ExposedPorts': dict, 'WorkingDir': str, 'Volumes': dict}
_LISTS = ('Env', 'Entrypoint', 'Cmd', 'Shell')

#: Nanoseconds; a check that is due more often does nothing else.
_LEAST_INTERVAL = 1_000_000_000


def architecture(machine: str) -> str:
    """How images name the architecture that the kernel calls so."""
    return _ARCHITECTURES.get(machine, machine)


def machine(architecture_name: str) -> str:
    """How the kernel calls the architecture that images name so."""
    return next((kernels for kernels, name in _ARCHITECTURES.items()
                 if name == architecture_name), architecture_name)


def rewritten(content: bytes, terms: imagemodels.Terms
              ) -> imagemodels.Configuration:
    """The configuration with which the Engine gets the image.

    :param content: the archive's own
    :raises InvalidImage: if it cannot be run here, or is not to be
    """
    whole = parsed(content, 'its configuration', dict)
    found = {key: text(whole, key) for key in _KEPT if whole.get(key)}
    if found.get('os', 'linux') != 'linux':
        raise errors.InvalidImage(f'it is for {found["os"][:32]}, not Linux')
    if terms.architecture and found.get(
            'architecture', terms.architecture) != terms.architecture:
        raise errors.InvalidImage(
            f'it is for {found["architecture"][:32]}; this host is '
            f'{terms.architecture}')
    diff_ids = _diff_ids(whole)
    document = json.dumps({
        **found, 'history': _history(whole),
        'config': settings(whole.get('config') or {}, terms.bounds),
        'rootfs': {'type': 'layers', 'diff_ids': list(diff_ids)},
    }, sort_keys=True).encode()
    return imagemodels.Configuration(
        document, 'sha256:' + hashlib.sha256(document).hexdigest(), diff_ids,
        found.get('architecture', ''))


def described(diff_ids: tuple[str, ...], terms: imagemodels.Terms
              ) -> imagemodels.Configuration:
    """The configuration of layers that nobody described."""
    return rewritten(json.dumps({
        'architecture': terms.architecture, 'os': 'linux',
        'rootfs': {'diff_ids': list(diff_ids)}}).encode(), terms)


def settings(given: Any, bounds: imagemodels.ImageBounds) -> dict[str, Any]:
    """What of an image's settings is kept.

    :raises InvalidImage: if one of them is not to be run
    """
    if not isinstance(given, dict):
        raise _not_understood('config')
    kept = {}
    for key, kind in _SETTINGS.items():
        if given.get(key):
            if not isinstance(given[key], kind):
                raise _not_understood(key)
            kept[key] = given[key]
    for key in _LISTS:
        if given.get(key) is not None:
            kept[key] = _words(given[key], key)
    kept['Labels'] = _labels(given.get('Labels') or {})
    _refuse_working_directory(kept.get('WorkingDir', '/'))
    _refuse_volumes(kept.get('Volumes', {}), bounds)
    if _is_signal(given.get('StopSignal')):
        kept['StopSignal'] = given['StopSignal']
    if _is_sane(given.get('Healthcheck')):
        kept['Healthcheck'] = given['Healthcheck']
    return kept


def parsed(content: bytes, what: str, kind: type) -> Any:
    """A JSON document of a type.

    :raises InvalidImage: if it is none
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise errors.InvalidImage(f'{what} is not JSON: {error}') from error
    if not isinstance(found, kind):
        raise errors.InvalidImage(f'{what} is not understood')
    return found


def text(document: Mapping[str, Any], key: str) -> str:
    """A text in a document; empty if there is none.

    :raises InvalidImage: if it is something else
    """
    found = document.get(key) or ''
    if not isinstance(found, str):
        raise _not_understood(key)
    return found


def _not_understood(key: str) -> errors.InvalidImage:
    return errors.InvalidImage(f'{key} of its configuration is not '
                               'understood')


def _diff_ids(whole: Mapping[str, Any]) -> tuple[str, ...]:
    rootfs = whole.get('rootfs')
    found = rootfs.get('diff_ids') if isinstance(rootfs, dict) else None
    if not isinstance(found, list) or not all(
            isinstance(one, str) and _DIGEST.fullmatch(one) for one in found):
        raise _not_understood('rootfs')
    return tuple(found)


def _history(whole: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How each layer came to be, as ``docker history`` tells it."""
    found = whole.get('history') or []
    if not isinstance(found, list) or not all(
            isinstance(step, dict) for step in found):
        raise _not_understood('history')
    return [{key: step[key] for key, kind in (
        ('created', str), ('created_by', str), ('empty_layer', bool),
        ('comment', str)) if isinstance(step.get(key), kind)}
        for step in found]


def _words(value: Any, key: str) -> list[str]:
    if not isinstance(value, list) or not all(
            isinstance(word, str) and '\0' not in word for word in value):
        raise _not_understood(key)
    return value


def _labels(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(
            isinstance(label, str) for label in value.values()):
        raise _not_understood('Labels')
    return {key: label for key, label in value.items()
            if not names.is_reserved_label(key)}


def _refuse_working_directory(directory: str) -> None:
    if _is_kernels(directory):
        raise errors.InvalidImage(f'its working directory is {directory}')


def _refuse_volumes(volumes: Mapping[str, Any],
                    bounds: imagemodels.ImageBounds) -> None:
    if len(volumes) > bounds.volumes:
        raise errors.InvalidImage(
            f'it has {len(volumes)} volumes and may have {bounds.volumes}')
    for path in volumes:
        if not path.startswith('/') or _is_kernels(path) or (
                posixpath.normpath(path) in ('/', '//')):
            raise errors.InvalidImage(f'it has a volume at {path[:255]!r}')


def _is_kernels(path: str) -> bool:
    normal = posixpath.normpath('/' + path.lstrip('/'))
    return normal.split('/')[1] in ('proc', 'sys', 'dev')


def _is_signal(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        units.signal_name(value)
    except ValueError:
        return False
    return True


def _is_sane(check: Any) -> bool:
    """Whether an image's health check may be kept, for who asks for it."""
    if not isinstance(check, dict):
        return False
    test = check.get('Test')
    return (isinstance(test, list)
            and all(isinstance(word, str) for word in test)
            and all(isinstance(check.get(key, 0), int) and (
                check.get(key, 0) == 0 or check[key] >= _LEAST_INTERVAL)
                for key in ('Interval', 'Timeout', 'StartPeriod'))
            and isinstance(check.get('Retries', 0), int)
            and set(check) <= {'Test', 'Interval', 'Timeout', 'StartPeriod',
                               'Retries', 'StartInterval'})
