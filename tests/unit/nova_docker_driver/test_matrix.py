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

"""The support matrix of the documentation says what the driver does."""

from pathlib import Path
import unittest

from nova.virt import driver as virt_driver
import yaml

from nova_docker_driver import driver

PAGE = Path(__file__).parents[3] / 'doc/source/support-matrix.yaml'


class TestMatrix(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.rows = yaml.safe_load(PAGE.read_text())

    def test_every_feature_is_there_once(self):
        features = [row['feature'] for row in self.rows]
        self.assertEqual(59, len(set(features)))
        self.assertEqual(len(features), len(set(features)))
        for row in self.rows:
            self.assertIn(row['status'], ('complete', 'partial', 'missing'))
            self.assertTrue(row['reason'] and row['title'])

    def test_what_is_there_is_implemented_and_what_is_not_is_not(self):
        ours, base = driver.DockerDriver, virt_driver.ComputeDriver
        for row in self.rows:
            there = row['status'] != 'missing'
            if 'method' in row:
                own = getattr(ours, row['method']) is not getattr(
                    base, row['method'])
                self.assertEqual(there, own, row['feature'])
            if 'capability' in row:
                self.assertEqual(
                    there, bool(ours.capabilities.get(row['capability'])),
                    row['feature'])

    def test_no_capability_is_claimed_beside_it(self):
        named = {row['capability'] for row in self.rows
                 if 'capability' in row}
        claimed = {name for name, value
                   in driver.DockerDriver.capabilities.items() if value}
        # Dedicated CPUs are no row of Nova's matrix.
        self.assertEqual({'supports_pcpus'}, claimed - named)
