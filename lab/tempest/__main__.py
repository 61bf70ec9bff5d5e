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

"""Runs Tempest against the lab: ``python -m lab.tempest``.

Without arguments, all tests that are about us; with ``--smoke``, a few of
each kind; with ``--regex REGEX``, those.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
import re
import subprocess
import sys
import time

import yaml

from lab import cloud
from lab import layout as lab_layout
from lab.tempest import exclusions
from lab.tempest import report
from lab.tempest import settings

#: What judges us: Nova's API, what spans services, and Heat's API.
ALL = (r'^tempest\.api\.compute\.|^tempest\.scenario\.'
       r'|^heat_tempest_plugin\.tests\.api\.|^nova_docker_tempest_plugin\.')

SMOKE = '|'.join((
    r'^tempest\.api\.compute\..*\bsmoke\b',
    r'^tempest\.api\.compute\.servers\.test_server_actions\.'
    r'ServerActionsTestJSON\.',
    r'^tempest\.scenario\.test_server_basic_ops\.',
    r'^nova_docker_tempest_plugin\..*smoke'))

PAGE = 'doc/source/tempest-figures.rst'


def main() -> int:
    options = _parser().parse_args()
    layout = lab_layout.Layout.from_environment()
    lab = cloud.Cloud(layout)
    lab.up(metadata=True)
    try:
        return _judge(layout, options)
    finally:
        _await_idle_agent()
        lab.stop_metadata()


def _judge(layout: lab_layout.Layout, options: argparse.Namespace) -> int:
    workspace = _workspace(layout)
    tests = _tests(workspace, options.regex)
    known = exclusions.read()
    left_out = exclusions.excluded(known, tests)
    mistakes = exclusions.stale(known, tests, _matrix(layout)
                                ) if _is_whole(options) else []
    for mistake in mistakes:
        print(f'tempest: {mistake}', file=sys.stderr)
    (workspace / 'run').write_text('\n'.join(
        f'^{re.escape(test)}(\\[|$)' for test in tests
        if test not in left_out))
    began = time.monotonic()
    code = _tempest(workspace, 'run', '--concurrency', str(options.workers),
                    '--include-list', str(workspace / 'run')).returncode
    outcome = report.last(workspace, tests)
    page = report.table(outcome, left_out, time.monotonic() - began)
    print(page)
    if _is_whole(options):
        (layout.source / PAGE).write_text(page)
    return 1 if code or mistakes or outcome.failed else 0


def _await_idle_agent(patience: float = 60) -> None:
    """The agent takes down what it has made for servers that are gone."""
    deadline = time.monotonic() + patience
    while 'ovnmeta-' in subprocess.run(
            ['ip', 'netns', 'list'], capture_output=True, text=True,
            check=True).stdout and time.monotonic() < deadline:
        time.sleep(1)


def _is_whole(options: argparse.Namespace) -> bool:
    return bool(options.regex == ALL)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='lab.tempest', description=__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument('--regex', default=ALL)
    which.add_argument('--smoke', dest='regex', action='store_const',
                       const=SMOKE)
    parser.add_argument('--workers', type=int, default=2)
    return parser


def _workspace(layout: lab_layout.Layout) -> Path:
    """Where Tempest runs; its configuration is current."""
    workspace = layout.root / 'tempest'
    workspace.mkdir(parents=True, exist_ok=True)
    if not (workspace / '.stestr.conf').exists():
        _tempest(workspace, 'init', str(workspace), quiet=True)
    settings.write(layout, workspace / 'etc/tempest.conf')
    return workspace


def _tests(workspace: Path, regex: str) -> list[str]:
    """Ids, without the attributes in brackets that Tempest adds."""
    answer = _tempest(workspace, 'run', '--list-tests', '--regex', regex,
                      quiet=True)
    return [line.partition('[')[0] for line in answer.stdout.splitlines()
            if re.match(r'(tempest|heat_tempest_plugin|'
                        r'nova_docker_tempest_plugin)\.', line)]


def _tempest(workspace: Path, verb: str, *arguments: str,
             quiet: bool = False) -> subprocess.CompletedProcess[str]:
    command = ['tempest', verb]
    if verb == 'run':
        command += ['--config-file', str(workspace / 'etc/tempest.conf')]
    return subprocess.run(
        [*command, *arguments], cwd=workspace, check=quiet,
        capture_output=quiet, text=True,
        env={**os.environ, 'PATH': f'{Path(sys.executable).parent}:'
             f'{os.environ["PATH"]}'})


def _matrix(layout: lab_layout.Layout) -> list[dict[str, str]]:
    path = layout.source / 'doc/source/support-matrix.yaml'
    found: list[dict[str, str]] = yaml.safe_load(path.read_text())
    return found


if __name__ == '__main__':
    sys.exit(main())
