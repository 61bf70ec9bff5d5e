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

"""What the Nova API does to a container, without a network."""

from nova_docker_driver import names
from tests.api import base


class TestServers(base.ApiCase):

    def test_a_server_lives_and_ends(self):
        server = self.boot()
        container = self.container(server)
        self.assertTrue(container['State']['Running'])
        self.assertEqual(64 * 1024 ** 2, container['HostConfig']['Memory'])
        self.assertEqual(server['id'], container['Config']['Labels'][
            names.INSTANCE_LABEL])
        server = self._stop_server(server)
        self.assertFalse(self.container(server)['State']['Running'])
        server = self._start_server(server)
        self.assertTrue(self.container(server)['State']['Running'])
        self._reboot_server(server, hard=True)
        self.assertEqual(container['Id'], self.container(server)['Id'])
        self._delete_server(server)

    def test_a_process_that_ends_stops_the_server(self):
        server = self.boot()
        self.engine.kill(names.container(server['id']))
        self._wait_for_state_change(server, 'SHUTOFF')

    def test_an_unknown_key_is_the_servers_fault(self):
        server = self.boot('comand: [sleep]', 'ERROR')
        self.assertIn('comand', server['fault']['message'])
