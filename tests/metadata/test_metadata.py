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

"""The metadata service, through OVN's agent."""

import json

from lab import cloud
from tests.integration import test_network


class TestMetadata(test_network.NetworkCase):
    """What a server is told at 169.254.169.254, by OVN's agent."""

    def setUp(self):
        super().setUp()
        lab = cloud.Cloud(self.layout)
        # After the servers: the agent takes down what it has made for them.
        self.made.callback(lab.stop_metadata)
        self.made.callback(self.until, self.agent_is_idle, 'it is idle', 60)
        lab.start_metadata()

    def agent_is_idle(self):
        return not [port for port in self.switch_ports()
                    if port.startswith('tap')]

    def test_a_server_knows_who_it_is(self):
        server = self.boot(networks=[
            {'uuid': self.network().id, 'tag': 'front'}])

        def told():
            return self.inside(
                server, 'wget', '-q', '-O', '-',
                'http://169.254.169.254/openstack/latest/meta_data.json')[1]
        self.until(lambda: server.id in told(), 'it is told its id', 60)
        found = json.loads(told())
        device, = found['devices']
        self.assertEqual((['front'], self.port(server).mac_address), (
            device['tags'], device['mac']))
