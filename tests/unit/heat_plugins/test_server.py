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

"""What we build upon in Heat's server is what it was.

A newer Heat that differs is not wrong: look at what has changed, mend the
container if need be, and write the snapshot anew.
"""

import inspect
import json
from pathlib import Path
import unittest

from heat.engine import properties
from heat.engine.resources.openstack.nova import server

SNAPSHOT = json.loads(
    Path(__file__).with_name('server_schema.json').read_text())


class TestServer(unittest.TestCase):

    def test_properties(self):
        found = {name: [entry.type, bool(entry.update_allowed),
                        bool(entry.required)]
                 for name, entry in properties.schemata(
                     server.Server.properties_schema).items()}
        self.assertEqual(SNAPSHOT['properties'], found)

    def test_attributes(self):
        # Heat adds one to each class that has been used.
        self.assertEqual(SNAPSHOT['attributes'], sorted(
            set(server.Server.attributes_schema) - {'show'}))

    def test_methods(self):
        self.assertEqual(SNAPSHOT['methods'], {
            name: list(inspect.signature(
                getattr(server.Server, name)).parameters)
            for name in SNAPSHOT['methods']})
