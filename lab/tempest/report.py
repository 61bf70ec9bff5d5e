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

"""What came of a run: one figure for each reason, and the page of it."""

from __future__ import annotations

import collections
from collections import abc
import dataclasses
import io
from pathlib import Path
import re
import subprocess
from typing import Any

import subunit
import testtools

#: What Tempest says of a skip, and what it is about.
_CLASSES = re.compile(r'^\S+ skipped as ')
_SET_UP = re.compile(r'^setUpClass \((?P<name>[^)]+)\)$')


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Ids of tests by what became of them."""

    passed: frozenset[str]
    failed: frozenset[str]
    #: Id to the reason.
    skipped: abc.Mapping[str, str]


def last(workspace: Path, tests: abc.Collection[str]) -> Outcome:
    """The outcome of the last run in a workspace of stestr.

    :param tests: ids of all that were to run; one that is skipped as a class
        counts for each of its tests
    """
    answer = subprocess.run(['stestr', 'last', '--subunit'], cwd=workspace,
                            capture_output=True)
    found: list[Any] = []
    result = testtools.StreamToDict(found.append)
    result.startTestRun()
    subunit.ByteStreamToStreamResult(
        io.BytesIO(answer.stdout), non_subunit_name='output').run(result)
    result.stopTestRun()
    return judged([(test['id'], test['status'], _reason(test))
                   for test in found], tests)


def _reason(test: abc.Mapping[str, Any]) -> str:
    reason = test['details'].get('reason')
    return reason.as_text().strip() if reason else ''


def judged(results: abc.Iterable[tuple[str, str, str]],
           tests: abc.Collection[str]) -> Outcome:
    """Ids, statuses and reasons by what they mean; pure."""
    passed, failed, skipped = set(), set(), {}
    for identity, status, reason in results:
        of_class = _SET_UP.match(identity)
        names = {identity} if not of_class else {
            test for test in tests
            if test.startswith(of_class['name'] + '.')}
        if status in ('success', 'xfail'):
            passed |= names
        elif status == 'skip':
            skipped.update(dict.fromkeys(
                names, _CLASSES.sub('', reason).rstrip('.')))
        elif status != 'exists':
            # Of a class that has no tests of its own, too.
            failed |= names or {identity}
    return Outcome(frozenset(passed), frozenset(failed), skipped)


def table(outcome: Outcome, excluded: abc.Mapping[str, str],
          seconds: float) -> str:
    """The figures as a page of the documentation."""
    reasons = collections.Counter(excluded.values())
    said = collections.Counter(outcome.skipped.values())
    rows = [('passed', '', len(outcome.passed)),
            ('failed', '', len(outcome.failed)),
            *(('left out', reason, count)
              for reason, count in reasons.most_common()),
            *(('skipped by Tempest', reason, count)
              for reason, count in said.most_common())]
    lines = ['.. This file is written by a run of tools/test tempest.', '',
             '.. list-table::', '   :header-rows: 1', '   :widths: 20 70 10',
             '', '   * - Outcome', '     - Reason', '     - Tests']
    for outcome_, reason, count in rows:
        lines += [f'   * - {outcome_}', f'     - {_escaped(reason)}'.rstrip(),
                  f'     - {count}']
    return '\n'.join([*lines, '', f'The run took {seconds / 60:.0f} '
                      'minutes.', ''])


def _escaped(text: str) -> str:
    return re.sub(r'([*`|_\\])', r'\\\1', ' '.join(text.split()))
