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


import json
import unittest

from lab import generated
from lab import metadefs


class TestSample(unittest.TestCase):

    def test_the_sample_is_what_the_code_says(self):
        self.assertEqual(generated.sample(), generated.SAMPLE.read_text(),
                         'run tools/genconfig')
        self.assertEqual(generated.sample('heat_plugins'),
                         generated.HEAT_SAMPLE.read_text(),
                         'run tools/genconfig')


class TestMetadefs(unittest.TestCase):

    def test_the_files_are_what_the_code_says(self):
        for name, content in metadefs.namespaces().items():
            self.assertEqual(
                content,
                json.loads((metadefs.DIRECTORY / name).read_text()),
                'run tools/genconfig')

    def test_every_extra_spec_and_property_is_described(self):
        flavor, image = metadefs.namespaces().values()
        self.assertIn('docker:cap_add', flavor['properties'])
        self.assertIn('docker_command', image['properties'])
        for properties in (flavor['properties'], image['properties']):
            for name, definition in properties.items():
                self.assertTrue(definition['description'], name)
