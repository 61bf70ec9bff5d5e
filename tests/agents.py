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

"""An image whose process is Heat's own agent for software configuration.

The host's Python with os-collect-config, and of heat-agents what applies a
configuration, runs a script and tells Heat what came of it. Images for real
clouds are made of the same programs, by diskimage-builder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile

from lab import container_images

CONSTRAINTS = Path(__file__).parents[1] / 'lab/constraints.txt'

_PYTHON = '/usr/bin/python3.11'
_LIBRARY = Path('/usr/lib/python3.11')
_PACKAGES = 'usr/local/lib/python3.11/dist-packages'

#: In heat-agents' archive, and in the image.
_SCRIPTS = {
    'heat-config/os-refresh-config/configure.d/55-heat-config':
        'usr/bin/heat-config',
    'heat-config/bin/heat-config-notify': 'usr/bin/heat-config-notify',
    'heat-config-script/install.d/hook-script.py':
        'var/lib/heat-config/hooks/script'}

#: In place of the program of this name, which renders templates: the one
#: that is wanted has nothing but the deployments in it.
_REFRESH = """#!/usr/bin/env python3
import json, os, subprocess
found = {}
for path in os.environ['OS_CONFIG_FILES'].split(':'):
    with open(path) as file:
        found.update(json.load(file))
os.makedirs('/var/run/heat-config', exist_ok=True)
with open('/var/run/heat-config/heat-config', 'w') as file:
    json.dump(found.get('deployments', []), file)
subprocess.run(['heat-config'], check=True)
"""

_START = """#!/bin/sh
# The laboratory's catalogue has addresses that only its own host reaches:
# what leads there is the way out.
for port in {ports}; do
    nc -ll -p $port -e nc {gateway} $port &
done
until [ -s /etc/os-collect-config.conf ]; do sleep 1; done
exec os-collect-config --config-file /etc/os-collect-config.conf
"""


def image(gateway: str, *ports: int) -> bytes:
    """The archive, of some 110 MiB.

    :param gateway: where Keystone and Heat are, seen from a container
    :param ports: what they listen at, there and in the catalogue
    """
    with tempfile.TemporaryDirectory() as directory:
        packages = Path(directory) / 'packages'
        _pip('install', '--target', packages, '-c', CONSTRAINTS,
             'os-collect-config', 'PyYAML')
        _pip('download', '--dest', directory, '--no-deps', '--no-binary',
             ':all:', '--no-build-isolation', '-c', CONSTRAINTS,
             'heat-agents')
        files = {
            **_scripts(next(Path(directory).glob('heat*agents*.tar.gz'))),
            **_tree(packages, _PACKAGES), **_python(packages)}
    files |= {
        'usr/bin/os-refresh-config': (_REFRESH, 0o755),
        'usr/bin/os-collect-config': (
            '#!/usr/bin/env python3\n'
            'from os_collect_config import collect\n'
            'collect.main()\n', 0o755),
        'sbin/agent': (_START.format(
            gateway=gateway, ports=' '.join(map(str, ports))), 0o755)}
    return container_images.archive('agent:lab', files,
                                    {'Cmd': ['/sbin/agent']})


def _pip(*arguments: object) -> None:
    subprocess.run([sys.executable, '-m', 'pip', '-q', '--no-input',
                    '--disable-pip-version-check', *map(str, arguments)],
                   check=True)


def _scripts(archive: Path) -> dict[str, tuple[str | bytes, int]]:
    found: dict[str, tuple[str | bytes, int]] = {}
    with tarfile.open(archive) as members:
        for member in members:
            path = member.name.partition('/')[2]
            if path in _SCRIPTS and (content := members.extractfile(member)):
                found[_SCRIPTS[path]] = (content.read(), 0o755)
    missing = set(_SCRIPTS.values()) - set(found)
    if missing:
        raise LookupError(f'{archive.name} has no {" and no ".join(missing)}')
    return found


def _tree(source: Path, target: str) -> dict[str, tuple[str | bytes, int]]:
    return {f'{target}/{path.relative_to(source)}': (
        path.read_bytes(), 0o644) for path in _wanted(source)}


def _wanted(source: Path) -> Iterator[Path]:
    for path in source.rglob('*'):
        parts = path.relative_to(source).parts
        if path.is_file() and not (
                parts[0].startswith('config-')
                or {'__pycache__', 'tests', 'test', 'locale'} & set(parts)):
            yield path


def _python(packages: Path) -> dict[str, tuple[str | bytes, int]]:
    """The host's Python, and what it and the packages are linked to."""
    if sysconfig.get_python_version() != '3.11':
        raise LookupError('the image is made of Python 3.11 of this host')
    programs = [_PYTHON, *(str(path) for place in (
        _LIBRARY / 'lib-dynload', packages) for path in place.rglob('*.so'))]
    linked = subprocess.run(['ldd', *programs], capture_output=True,
                            text=True, check=True).stdout
    needed = {path: (Path(path).read_bytes(), 0o755)
              for path in re.findall(r'(/\S+) \(0x', linked)
              if not path.startswith(str(packages))}
    return {**{path.lstrip('/'): entry for path, entry in needed.items()},
            'usr/bin/python3': (Path(_PYTHON).read_bytes(), 0o755),
            'usr/bin/env': (Path(container_images.BUSYBOX).read_bytes(),
                            0o755),
            **_tree(_LIBRARY, str(_LIBRARY).lstrip('/'))}
