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

"""Installs what the lab needs: Debian packages and a Python environment.

Runs on the system's own Python, before any dependency is there, hence the
standard library only. Every step is skipped when its result is in place, so
that a second call costs a few milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import hashlib
import os
from pathlib import Path
import shutil
import subprocess
import sys
import time

from lab import layout as lab_layout

DEBIAN_PACKAGES = (
    'btrfs-progs', 'busybox-static', 'ca-certificates', 'curl', 'docker.io',
    'docker-registry', 'dropbear-bin', 'git', 'haproxy', 'iproute2',
    'iptables', 'iputils-ping', 'mariadb-server', 'openvswitch-switch',
    'ovn-central', 'ovn-host', 'procps', 'python3-venv', 'rabbitmq-server')

_POLICY = Path('/usr/sbin/policy-rc.d')


def install(layout: lab_layout.Layout) -> None:
    """Makes packages, environment and our own code present and current."""
    _install_debian_packages(layout)
    _install_environment(layout)
    _install_source(layout)


def _install_debian_packages(layout: lab_layout.Layout) -> None:
    missing = [name for name in DEBIAN_PACKAGES if not _installed(name)]
    if not missing:
        return
    if os.geteuid() != 0:
        raise SystemExit('Run this as root: these Debian packages are '
                         'missing: ' + ' '.join(missing))
    environment = dict(os.environ, DEBIAN_FRONTEND='noninteractive')
    with _step('Debian packages: ' + ' '.join(missing)), _no_service_starts():
        log = _log(layout, 'apt')
        _run(['apt-get', 'update'], log, environment)
        _run(['apt-get', 'install', '-y', '--no-install-recommends',
              *missing], log, environment)


def _installed(package: str) -> bool:
    answer = subprocess.run(
        ['dpkg-query', '-W', '-f', '${db:Status-Status}', package],
        capture_output=True, text=True)
    return answer.stdout.strip() == 'installed'


@contextlib.contextmanager
def _no_service_starts() -> Iterator[None]:
    """Keeps apt from starting daemons: the lab starts its own."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text('#!/bin/sh\nexit 101\n')
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def _install_environment(layout: lab_layout.Layout) -> None:
    here = layout.source / 'lab'
    requirements = (layout.source / 'requirements.txt',
                    here / 'requirements.txt')
    constraints = here / 'constraints.txt'
    wanted = _digest(sys.version, *(
        path.read_text() for path in (*requirements, constraints)))
    marker = layout.venv / 'lab-environment'
    if marker.exists() and marker.read_text() == wanted:
        return
    log = _log(layout, 'pip')
    with _step('Python environment (about two minutes, once)'):
        marker.unlink(missing_ok=True)
        if not (layout.bin / 'pip').exists():
            shutil.rmtree(layout.venv, ignore_errors=True)
            _run([sys.executable, '-m', 'venv', str(layout.venv)], log)
        pip = [str(layout.bin / 'pip'), 'install', '--progress-bar', 'off',
               '-c', str(constraints)]
        _run([*pip, 'pip', 'setuptools', 'wheel', 'pbr'], log)
        _run([*pip, *(part for path in requirements
                      for part in ('-r', str(path)))], log)
        marker.write_text(wanted)


def _install_source(layout: lab_layout.Layout) -> None:
    """Installs this checkout, editable, unless it is the one installed."""
    packages = sorted(str(path) for path in
                      layout.source.glob('*/__init__.py'))
    wanted = _digest(str(layout.source), *packages,
                     (layout.source / 'setup.cfg').read_text())
    marker = layout.venv / 'lab-source'
    if marker.exists() and marker.read_text() == wanted:
        return
    with _step('nova-docker-driver, editable'):
        _run([str(layout.bin / 'pip'), 'install', '--no-deps',
              '--no-build-isolation', '-e', str(layout.source)],
             _log(layout, 'pip'))
        marker.write_text(wanted)


def _digest(*parts: str) -> str:
    return hashlib.sha256('\0'.join(parts).encode()).hexdigest()


def _log(layout: lab_layout.Layout, name: str) -> Path:
    layout.logs.mkdir(parents=True, exist_ok=True)
    return layout.logs / f'install-{name}.log'


@contextlib.contextmanager
def _step(title: str) -> Iterator[None]:
    print(f'  installing {title} ...', file=sys.stderr, flush=True)
    began = time.monotonic()
    yield
    print(f'  done in {time.monotonic() - began:.0f} s', file=sys.stderr,
          flush=True)


def _run(command: list[str], log: Path,
         environment: dict[str, str] | None = None) -> None:
    with log.open('ab') as output:
        answer = subprocess.run(command, stdout=output, stderr=output,
                                stdin=subprocess.DEVNULL, env=environment)
    if answer.returncode:
        raise SystemExit(f'"{" ".join(command[:4])} ..." failed with status '
                         f'{answer.returncode}; its output is in {log}')


def main() -> None:
    """Installs, then hands over to the module named on the command line."""
    layout = lab_layout.Layout.from_environment()
    install(layout)
    if sys.argv[1:]:
        python = str(layout.bin / 'python')
        os.execv(python, [python, '-m', *sys.argv[1:]])


if __name__ == '__main__':
    main()
