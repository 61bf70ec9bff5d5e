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

"""Runs the test suites and tells their seconds.

``suites.py`` runs the set of the continuous integration, ``suites.py full``
adds what takes long, and ``suites.py NAME...`` runs single suites, with
``tempest --smoke`` for a part of one. Suites that need no cloud run beside the
others, so the seconds of the suites are more than those of the run.
"""

from __future__ import annotations

from concurrent import futures
import dataclasses
import io
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any, TextIO

import docker

from lab import cloud
from lab import layout as lab_layout
from nova_docker_driver import names

SOURCE = Path(__file__).resolve().parent.parent

#: Branch coverage in percent that the unit-testable modules must have.
COVERAGE = 90

#: What suites that use no real nova-compute call their host.
_TEST_HOSTS = frozenset(('functional', 'bench'))

#: Lines of a traceback that the end of the run repeats.
_TRACE_LINES = 25


@dataclasses.dataclass(frozen=True)
class Suite:
    """One directory of tests, or one command that counts as one test."""

    name: str
    path: str = ''
    command: tuple[str, ...] = ()
    needs_lab: bool = False
    #: The package whose coverage is gated.
    measured: str = ''
    full_only: bool = False
    workers: int = 2


SUITES = (
    Suite('ruff', command=('ruff', 'check', '.')),
    Suite('hacking', command=('flake8', 'nova_docker_driver',
                              'nova_docker_client', 'heat_plugins', 'lab',
                              'nova_docker_tempest_plugin', 'tests')),
    Suite('texts', command=('sh', '-c', ' && '.join((
        'codespell',
        # sphinx-build -W judges validity, with the tables that it makes.
        'doc8 --ignore D000 doc/source README.rst CONTRIBUTING.rst',
        'bashate -i E003,E005,E006 tools/lab tools/demo tools/test '
        'tools/genconfig .ci/run devstack/plugin.sh devstack/settings '
        'devstack/lib/nova_docker',
        'reno -q lint')))),
    Suite('mypy', command=('mypy', 'nova_docker_driver',
                           'nova_docker_client', 'heat_plugins', 'lab',
                           'nova_docker_tempest_plugin')),
    Suite('unit-driver', 'tests/unit/nova_docker_driver',
          measured='nova_docker_driver'),
    Suite('unit-heat', 'tests/unit/heat_plugins', measured='heat_plugins'),
    Suite('unit-client', 'tests/unit/nova_docker_client',
          measured='nova_docker_client'),
    Suite('unit-lab', 'tests/unit/lab'),
    Suite('unit-devstack', 'tests/unit/devstack'),
    Suite('docs', command=('sphinx-build', '-W', '-q', '-b', 'html',
                           'doc/source', 'doc/build/html')),
    Suite('functional', 'tests/functional', needs_lab=True, workers=1),
    Suite('functional-heat', 'tests/functional_heat', needs_lab=True,
          workers=1),
    Suite('api', 'tests/api', needs_lab=True),
    Suite('integration', 'tests/integration', needs_lab=True, workers=1),
    Suite('metadata', 'tests/metadata', needs_lab=True, workers=1),
    Suite('secrets', 'tests/secrets', needs_lab=True, workers=1),
    Suite('tempest-smoke', command=('python', '-m', 'lab.tempest',
                                    '--smoke'), needs_lab=True),
    # Last of those that use the lab: it has one host more from then on.
    Suite('hosts', 'tests/hosts', needs_lab=True, workers=1),
    Suite('tempest', command=('python', '-m', 'lab.tempest'), needs_lab=True,
          full_only=True),
    # Nova's conformance tests of drivers are in api.
    Suite('upstream', 'tests/upstream', full_only=True),
    Suite('loading', 'tests/loading', needs_lab=True, full_only=True,
          workers=1),
    Suite('bombs', 'tests/bombs', needs_lab=True, full_only=True, workers=1),
    Suite('benchmarks', command=('python', '-m', 'tests.benchmarks'),
          needs_lab=True, full_only=True),
    Suite('examples', 'tests/examples', needs_lab=True, full_only=True,
          workers=1),
    Suite('commands', 'tests/commands', needs_lab=True, full_only=True,
          workers=1),
    Suite('many', 'tests/scale', needs_lab=True, full_only=True, workers=1),
    Suite('scale', command=('python', '-m', 'tests.benchmarks.scale'),
          needs_lab=True, full_only=True),
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a suite."""

    name: str
    passed: int
    failed: int
    seconds: float
    #: Name and end of the traceback of each test that failed.
    reasons: tuple[str, ...] = ()


def main(arguments: list[str]) -> int:
    layout = lab_layout.Layout.from_environment()
    os.environ['PATH'] = f'{layout.bin}:{os.environ["PATH"]}'
    os.environ.setdefault('PYTHONWARNINGS', 'ignore')
    if arguments == ['full']:
        os.environ.setdefault('NOVA_DOCKER_EXAMPLES', '20000')
    began = time.monotonic()
    outcomes = _outcomes(_chosen(arguments), layout)
    _print(outcomes, time.monotonic() - began)
    return 1 if any(outcome.failed for outcome in outcomes) else 0


def _outcomes(chosen: list[Suite], layout: lab_layout.Layout
              ) -> list[Outcome]:
    """What came of the suites, in their order.

    Those that need no cloud run beside those that mostly wait for one.
    """
    with_lab = [suite for suite in chosen if suite.needs_lab]
    without = [suite for suite in chosen if not suite.needs_lab]
    if not with_lab or not without:
        return [_outcome(suite, layout, sys.stdout) for suite in chosen]
    with futures.ThreadPoolExecutor(1) as lane:
        beside = [lane.submit(_outcome_beside, suite, layout)
                  for suite in without]
        found = [_outcome(suite, layout, sys.stdout) for suite in with_lab]
        found += [future.result() for future in beside]
    order = [suite.name for suite in chosen]
    return sorted(found, key=lambda outcome: order.index(outcome.name))


def _outcome_beside(suite: Suite, layout: lab_layout.Layout) -> Outcome:
    """As ``_outcome``, shown at its end and in one piece."""
    print(f'\n=== {suite.name} begins beside', flush=True)
    began = time.monotonic()
    with tempfile.TemporaryFile('w+', errors='replace') as output:
        try:
            return _outcome(dataclasses.replace(suite, workers=1), layout,
                            output)
        except Exception as error:
            # The other suites' outcomes are worth to be told as well.
            return Outcome(suite.name, 0, 1, time.monotonic() - began,
                           (f'{suite.name}: {error!r}',))
        finally:
            output.seek(0)
            sys.stdout.write(output.read())
            sys.stdout.flush()


def _outcome(suite: Suite, layout: lab_layout.Layout, output: TextIO
             ) -> Outcome:
    print(f'\n=== {suite.name}', file=output, flush=True)
    began = time.monotonic()
    if suite.needs_lab:
        _lab_up(layout)
    passed, failed = _run(suite, output)
    reasons = _reasons(suite) if failed and suite.path else ()
    if suite.measured and not _covered(output):
        failed += 1
        reasons += (f'coverage of {suite.measured}: below {COVERAGE} %',)
    return Outcome(suite.name, passed, failed, time.monotonic() - began,
                   reasons)


def _chosen(arguments: list[str]) -> list[Suite]:
    if arguments == ['full']:
        return list(SUITES)
    if arguments == ['tempest', '--smoke']:
        arguments = ['tempest-smoke']
    if arguments:
        unknown = set(arguments) - {suite.name for suite in SUITES}
        if unknown:
            raise SystemExit(f'No such suite: {" ".join(sorted(unknown))}')
        return [suite for suite in SUITES if suite.name in arguments]
    return [suite for suite in SUITES if not suite.full_only]


_lab_is_up = False


def _lab_up(layout: lab_layout.Layout) -> None:
    """A fresh cloud, once a run: what earlier runs left proves nothing."""
    global _lab_is_up
    if not _lab_is_up:
        cloud.Cloud(layout).up(fresh=True)
        _remove_what_killed_tests_left()
        _lab_is_up = True


def _remove_what_killed_tests_left() -> None:
    """Containers of hosts that are tests' own; others' stay."""
    client = docker.APIClient(version='auto')
    for entry in client.containers(all=True, filters={
            'label': names.HOST_LABEL}):
        host = entry['Labels'][names.HOST_LABEL]
        if host in _TEST_HOSTS or host.startswith('inprocess-'):
            client.remove_container(entry['Id'], v=True, force=True)
    client.close()


def _run(suite: Suite, output: TextIO) -> tuple[int, int]:
    if suite.command:
        answer = subprocess.run(suite.command, cwd=SOURCE, stdout=output,
                                stderr=subprocess.STDOUT)
        return (0, 1) if answer.returncode else (1, 0)
    stestr = [*_stestr(suite), '--test-path', suite.path, '--top-dir', '.']
    environment = dict(os.environ)
    if suite.measured:
        environment['PYTHON'] = (
            'coverage run --branch --parallel-mode '
            f'--source {suite.measured}')
        subprocess.run(['coverage', 'erase'], cwd=SOURCE, check=True)
    # Or the counts of an earlier run would be this one's, if it finds no test.
    shutil.rmtree(_record(suite), ignore_errors=True)
    _record(suite).mkdir(parents=True)
    answer = subprocess.run(
        [*stestr, 'run', '--concurrency', str(suite.workers)], cwd=SOURCE,
        env=environment, stdout=output, stderr=subprocess.STDOUT)
    passed, failed = _counted(suite)
    # A run that counted nothing, or died, has failed whatever it says.
    if answer.returncode and not failed or not passed:
        failed += 1
    return passed, failed


def _record(suite: Suite) -> Path:
    """What is known of a suite's last run."""
    return SOURCE / '.stestr' / suite.name


def _stestr(suite: Suite) -> list[str]:
    return ['stestr', '--repo-url', str(_record(suite))]


def _counted(suite: Suite) -> tuple[int, int]:
    answer = subprocess.run([*_stestr(suite), 'last'], cwd=SOURCE,
                            capture_output=True, text=True)
    counts = dict(re.findall(r'- (Passed|Failed|Unexpected Success): (\d+)',
                             answer.stdout))
    return int(counts.get('Passed', 0)), int(counts.get('Failed', 0))


def _reasons(suite: Suite) -> tuple[str, ...]:
    """What failed and why, without the logs that each test brings along."""
    # Both come with stestr, which the system's Python does not have.
    import subunit
    import testtools

    answer = subprocess.run([*_stestr(suite), 'last', '--subunit'],
                            cwd=SOURCE, capture_output=True)
    found: list[str] = []

    def see(test: dict[str, Any]) -> None:
        if test['status'] in ('fail', 'uxsuccess'):
            traces = [content.as_text().strip()
                      for name, content in test['details'].items()
                      if 'traceback' in name]
            lines = '\n'.join(traces).splitlines()[-_TRACE_LINES:]
            found.append('\n    '.join([test['id'], *lines]))

    result = testtools.StreamToDict(see)
    result.startTestRun()
    subunit.ByteStreamToStreamResult(
        io.BytesIO(answer.stdout), non_subunit_name='output').run(result)
    result.stopTestRun()
    return tuple(found)


def _covered(output: TextIO) -> bool:
    subprocess.run(['coverage', 'combine', '-q'], cwd=SOURCE, check=True,
                   stdout=output)
    return subprocess.run(
        ['coverage', 'report', f'--fail-under={COVERAGE}', '--skip-covered',
         # Their work is with the kernel: the functional suite runs it.
         '--omit', 'nova_docker_driver/netns.py'],
        cwd=SOURCE, stdout=output).returncode == 0


def _print(outcomes: list[Outcome], seconds: float) -> None:
    for outcome in outcomes:
        for reason in outcome.reasons:
            print(f'\nFAILED {reason}')
    print('\nsuite         passed failed  seconds')
    for outcome in outcomes:
        print(f'{outcome.name:13} {outcome.passed:6} {outcome.failed:6} '
              f'{outcome.seconds:8.1f}')
    passed = sum(outcome.passed for outcome in outcomes)
    failed = sum(outcome.failed for outcome in outcomes)
    print(f'\n{passed} passed, {failed} failed in {seconds:.0f} s')


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
