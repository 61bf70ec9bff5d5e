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


"""What becomes of a server whose ports are reported late, or never."""

import contextlib
import signal

from lab import cloud
from nova_docker_driver import names
from tests.integration import test_network


class TestPlugging(test_network.NetworkCase):
    """OVN is held up, so that Neutron has nothing to report."""

    def setUp(self):
        super().setUp()
        self.lab = cloud.Cloud(self.layout)

    @contextlib.contextmanager
    def nothing_is_plugged(self):
        controllers = self.lab.processes.running()['ovn-controller-c1']
        for process in controllers:
            process.suspend()
        try:
            yield
        finally:
            for process in controllers:
                process.resume()

    def waiting(self):
        """A server that has its namespace, and waits for Neutron."""
        server = self.create(test_network.SERVES, security_groups=[
            {'name': self.open_group()}])
        self.until(lambda: self.engine.containers(filters={
            'name': names.sandbox(server.id)}), 'it has a namespace', 30)
        # No process of the tenant's before its network.
        self.assertFalse(self.own_containers(server))
        return server

    def own_containers(self, server):
        return [name for found in self.engine.containers(all=True)
                for name in found['Names']
                if name == f'/{names.container(server.id)}']

    def check_nothing_runs(self, server):
        """What was made for it is gone, although it is still there."""
        self.until(lambda: not self.engine.containers(all=True, filters={
            'name': f'nova-{server.id}'}), 'containers are gone', 20)
        self.check_nothing_is_plugged()
        self.assertFalse((self.files / server.id).exists())

    def check_nothing_is_plugged(self):
        self.assertEqual([], [port for port in self.switch_ports()
                              if port.startswith('tap')])

    def test_late(self):
        client = self.boot()
        with self.nothing_is_plugged():
            server = self.waiting()
        server = self.wait(server, 'ACTIVE')
        address = self.address(server)
        self.until(lambda: self.reach(client, address, 80), 'TCP', 20)

    @contextlib.contextmanager
    def patience(self, seconds):
        """Nova's own is five minutes, which a busy cloud may need."""
        path = self.layout.etc / 'nova-c1/compute.conf'
        text = path.read_text()
        path.write_text(f'{text}\n[DEFAULT]\n'
                        f'vif_plugging_timeout = {seconds}\n')
        try:
            self.lab.restart(['nova-compute-c1'])
            self.await_compute()
            yield
        finally:
            path.write_text(text)
            self.lab.restart(['nova-compute-c1'])
            self.await_compute()

    def test_never(self):
        with self.patience(10), self.nothing_is_plugged():
            server = self.wait(self.waiting(), 'ERROR')
            self.check_nothing_runs(server)
        self.assertIn('network(s)', server.fault['message'])

    def test_failed(self):
        with self.nothing_is_plugged():
            server = self.waiting()
            self.admin.compute.post('/os-server-external-events', json={
                'events': [{'name': 'network-vif-plugged',
                            'status': 'failed', 'server_uuid': server.id,
                            'tag': self.port(server).id}]})
            server = self.wait(server, 'ERROR')
            self.check_nothing_runs(server)

    def test_the_service_is_killed_meanwhile(self):
        with self.nothing_is_plugged():
            server = self.waiting()
            processes = self.lab.processes.running()['nova-compute-c1']
            for process in processes:
                process.send_signal(signal.SIGKILL)
            for process in processes:
                process.wait(10)
        self.lab.up()
        # Nova says so of each build that its service did not survive.
        self.wait(server, 'ERROR')
        self.tenant.compute.delete_server(server.id)
        self.until(lambda: not list(self.tenant.compute.servers(
            details=False)), 'it can be deleted', 30)
        self.assertFalse(self.engine.containers(all=True, filters={
            'name': f'nova-{server.id}'}))
        self.check_nothing_is_plugged()
        self.await_compute()
