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

"""``nova-docker-check``, as an operator runs it."""

import subprocess
import tempfile
import unittest


class TestCheck(unittest.TestCase):

    def run_with(self, text):
        with tempfile.NamedTemporaryFile('w', suffix='.conf') as file:
            file.write(text)
            file.flush()
            return subprocess.run(
                ['nova-docker-check', '--config-file', file.name],
                capture_output=True, text=True, timeout=60)

    def test_it_names_what_is_weak_and_how_to_mend_it(self):
        answer = self.run_with(
            '[docker]\nallow_privileged = true\ndevices = fuse:/dev/fuse\n')
        self.assertEqual(1, answer.returncode, answer.stderr)
        for words in ('allow_privileged', '/dev/fuse'):
            self.assertIn(words, answer.stdout)
        self.assertNotIn('eventlet', answer.stderr.lower())

    def test_a_host_without_an_engine(self):
        answer = self.run_with('[docker]\nendpoint = unix:///nowhere\n')
        self.assertEqual(2, answer.returncode)
        self.assertIn('there is no such socket',
                      answer.stdout + answer.stderr)
        self.assertNotIn('Traceback', answer.stderr)
