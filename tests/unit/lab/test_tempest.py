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

"""What is left out of Tempest, and what is told of its runs."""

from pathlib import Path
import unittest

import yaml

from lab.tempest import exclusions
from lab.tempest import report

MATRIX = yaml.safe_load(
    (Path(__file__).parents[3] / 'doc/source/support-matrix.yaml'
     ).read_text())


class TestExclusions(unittest.TestCase):

    def test_each_has_a_reason_that_holds(self):
        known = exclusions.read()
        self.assertTrue(known)
        for one in known:
            with self.subTest(one.tests):
                self.assertGreater(len(one.reason.split()), 3)
        # That there are such tests is seen by a run.
        self.assertEqual([], [
            mistake for mistake in exclusions.stale(known, (), MATRIX)
            if 'no such test' not in mistake])

    def test_one_that_has_become_wrong(self):
        rows = [{'feature': 'resize', 'status': 'complete'},
                {'feature': 'tpm', 'status': 'missing'}]
        known = [exclusions.Exclusion(r'a\.', 'why', 'resize'),
                 exclusions.Exclusion(r'b\.', 'why', 'tpm'),
                 exclusions.Exclusion(r'c\.', 'why')]
        self.assertEqual(
            ['a\\.: resize is not missing', 'c\\.: there is no such test'],
            exclusions.stale(known, ['a.x', 'b.x'], rows))

    def test_which_are_left_out(self):
        known = [exclusions.Exclusion(r'a\.B\.', 'one'),
                 exclusions.Exclusion(r'a\.', 'two')]
        self.assertEqual({'a.B.x': 'one', 'a.C.y': 'two'},
                         exclusions.excluded(known, ['a.B.x', 'a.C.y',
                                                     'xa.B.z']))


class TestReport(unittest.TestCase):

    def test_what_became_of_each(self):
        found = report.judged([
            ('a.B.one', 'success', ''), ('a.B.two', 'fail', ''),
            ('setUpClass (a.C)', 'skip', 'C skipped as X is away.'),
            ('setUpClass (a.D)', 'fail', ''), ('a.E.x', 'uxsuccess', ''),
            ('a.F.x', 'inprogress', ''), ('a.G.x', 'exists', ''),
            ('setUpClass (a.H)', 'fail', '')],
            ['a.B.one', 'a.B.two', 'a.C.x', 'a.C.y', 'a.CC.x', 'a.D.x'])
        self.assertEqual({'a.B.one'}, found.passed)
        self.assertEqual({'a.B.two', 'a.D.x', 'a.E.x', 'a.F.x',
                          'setUpClass (a.H)'}, found.failed)
        self.assertEqual({'a.C.x': 'X is away', 'a.C.y': 'X is away'},
                         found.skipped)

    def test_the_page(self):
        page = report.table(report.Outcome(
            frozenset('ab'), frozenset(), {'c': 'no_x', 'd': 'no_x'}),
            {'e': 'its own clock'}, 125)
        for line in ('   * - passed\n     -\n     - 2',
                     '   * - failed\n     -\n     - 0',
                     '   * - left out\n     - its own clock\n     - 1',
                     '   * - skipped by Tempest\n     - no\\_x\n     - 2',
                     'The run took 2 minutes.'):
            self.assertIn(line, page)
