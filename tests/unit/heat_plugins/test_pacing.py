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

import unittest

from heat_plugins import pacing


class TestPace(unittest.TestCase):

    def looks(self, seconds):
        """The seconds at which somebody looks who is asked each second."""
        now = 0.0
        pace = pacing.Pace(clock=lambda: now)
        found = []
        for now in range(seconds + 1):
            if pace.is_due():
                found.append(now)
        return found

    def test_at_first_each_second(self):
        self.assertEqual(list(range(9)), self.looks(8))

    def test_waiting_takes_an_eighth_longer_at_most(self):
        found = self.looks(600)
        for one, other in zip(found, found[1:], strict=False):
            self.assertLessEqual(other - one, max(1, other / 8 + 1))

    def test_what_takes_long_is_looked_at_seldom(self):
        self.assertLess(len(self.looks(60)), 30)
        self.assertLess(len(self.looks(600)), 75)
        self.assertEqual(15, max(
            other - one for one, other in zip(
                self.looks(600), self.looks(600)[1:], strict=False)))

    def test_at_least(self):
        now = 0.0
        pace = pacing.Pace(5, clock=lambda: now)
        found = []
        for now in range(12):
            if pace.is_due():
                found.append(now)
        self.assertEqual([5, 10], found)


class TestShared(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.now = 0.0
        self.shared = pacing.Shared(lambda: self.now)
        self.asked = []

    def ids(self, question='a', lasting=0.0):
        def ask():
            self.asked.append(question)
            self.now += lasting
            return [question]
        return self.shared.ids(question, ask)

    def test_an_answer_serves_all_for_a_second(self):
        self.assertEqual({'a'}, self.ids())
        self.now = 0.9
        self.assertEqual({'a'}, self.ids())
        self.assertEqual({'b'}, self.ids('b'))
        self.now = 1.1
        self.ids()
        self.assertEqual(['a', 'b', 'a'], self.asked)

    def test_what_is_hard_to_answer_is_asked_seldom(self):
        self.ids(lasting=3)
        self.now = 14.9
        self.ids()
        self.assertEqual(['a'], self.asked)
        self.now = 15.1
        self.ids(lasting=60)
        self.assertEqual(['a', 'a'], self.asked)
        # But not after ever so long.
        self.now += 15.1
        self.ids()
        self.assertEqual(['a', 'a', 'a'], self.asked)

    def test_nobody_waits_for_another_ones_question(self):
        seen = []

        def ask():
            seen.append(self.ids())
            self.now += 40
            seen.append(self.ids())
            return ['new']
        self.ids()
        self.now = 1.5
        self.assertEqual({'new'}, self.shared.ids('a', ask))
        # What was known is told, until it is too old.
        self.assertEqual([{'a'}, None], seen)

    def test_that_there_is_no_answer_is_shared(self):
        self.assertIsNone(self.shared.ids('a', lambda: None))
        self.assertIsNone(self.ids())
        self.assertEqual([], self.asked)
        self.now = 1.1
        self.assertEqual({'a'}, self.ids())

    def test_after_an_error_it_is_asked_again(self):
        with self.assertRaises(ZeroDivisionError):
            self.shared.ids('a', lambda: [str(1 / 0)])
        self.now = 1.1
        self.assertEqual({'a'}, self.ids())

    def test_old_answers_are_forgotten(self):
        self.ids()
        self.now = 60
        self.ids('b')
        self.assertEqual(['b'], list(self.shared._answers))
