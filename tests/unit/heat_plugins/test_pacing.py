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
        pace = pacing.Pace(lambda: now)
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
