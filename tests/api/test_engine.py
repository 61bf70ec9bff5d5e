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

"""An Engine that goes away and comes back, below Nova's services.

Each test kills and starts an Engine of its own.
"""

import threading
import time

from nova import context as nova_context
from nova import exception
import os_traits

from nova_docker_driver import names
from tests.api import base
from tests import conservation
from tests import private_engine


class EngineCase(base.ApiCase):

    def setUp(self):
        self.private = private_engine.PrivateEngine()
        self.addCleanup(self.private.remove)
        self.private.start()
        self.endpoint = self.private.endpoint
        super().setUp()

    def watch_containers(self):
        # A stream of events would not outlive its Engine.
        pass

    def _setup_compute_service(self):
        self.flags(health_interval=1, group='docker')
        return super()._setup_compute_service()

    def boot(self, *args, **kwargs):
        server = super().boot(*args, **kwargs)
        self.assertEqual([], conservation.excesses(
            self.engine, names.container(server['id']), self.files))
        return server

    def service(self):
        found, = self.admin_api.get_services(binary='nova-compute')
        return found['status'], found['disabled_reason'] or ''

    def restart_compute(self):
        self.compute = self.start_service('compute', host=base.HOST)
        # While the new service is there.
        self.addCleanup(self.delete_all, self.api)

    def running(self, server):
        return self.container(server)['State']['Running']


class TestAway(EngineCase):

    def test_nova_is_told_and_told_again(self):
        server = self.boot()
        provider = self._get_provider_uuid_by_host(base.HOST)
        self.private.kill()
        self.until(lambda: self.service()[0] == 'disabled')
        self.assertRegex(self.service()[1], '^AUTO: .*cannot be reached')
        self.until(lambda: os_traits.COMPUTE_STATUS_DISABLED
                   in self._get_provider_traits(provider))
        other = base.ApiCase.boot(self, expected='ERROR')
        self.assertIn('No valid host', other['fault']['message'])
        driver = self.compute.manager.driver
        began = time.monotonic()
        with self.assertRaises(exception.VirtDriverNotReady):
            driver.list_instance_uuids()
        self.compute.manager._sync_power_states(
            nova_context.get_admin_context())
        # Fast, though nothing is asked of a dead socket sixty times.
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual('ACTIVE', self.api.get_server(
            server['id'])['status'])
        self.private.start()
        self.until(lambda: self.service() == ('enabled', ''))
        self.until(lambda: os_traits.COMPUTE_STATUS_DISABLED
                   not in self._get_provider_traits(provider))
        # Without live-restore its process has ended; that was missed, and
        # is made good.
        self._wait_for_server_parameter(server, {
            'status': 'SHUTOFF', 'OS-EXT-STS:task_state': None})
        self.until(lambda: 'docker:exit_code' in self.api.get_server(
            server['id'])['metadata'])
        self.api.post_server_action(server['id'], {'os-start': None})
        self._wait_for_server_parameter(server, {'status': 'ACTIVE'})
        self.assertTrue(self.running(server))

    def test_an_engine_that_hangs_holds_nobody_up(self):
        server = self.boot()
        self.private.hang()
        self.addCleanup(self.private.go_on)
        self.until(lambda: self.service()[0] == 'disabled')
        driver = self.compute.manager.driver
        began = time.monotonic()
        for _ in range(20):
            with self.assertRaises(exception.VirtDriverNotReady):
                driver.list_instance_uuids()
        self.assertLess(time.monotonic() - began, 5)
        self.private.go_on()
        self.until(lambda: self.service() == ('enabled', ''))
        self.assertTrue(self.running(server))

    def test_an_operators_word_stands(self):
        service = self.admin_api.get_service_id('nova-compute')
        self.admin_api.put_service(service, {
            'status': 'disabled', 'disabled_reason': 'maintenance'})
        self.private.kill()
        time.sleep(3)
        self.private.start()
        time.sleep(3)
        self.assertEqual(('disabled', 'maintenance'), self.service())
        self.admin_api.put_service(service, {'status': 'enabled'})


class TestBoot(EngineCase):

    def test_servers_of_a_host_that_lost_its_power(self):
        self.flags(resume_guests_state_on_host_boot=True)
        servers = [self.boot(), self.boot()]
        self.api.post_server_action(servers[1]['id'], {'os-stop': None})
        self._wait_for_server_parameter(servers[1], {'status': 'SHUTOFF'})
        self.compute.stop()
        self.private.kill(with_containers=True)
        self.private.start()
        self.assertFalse(self.running(servers[0]))
        self.restart_compute()
        self.until(lambda: self.running(servers[0]))
        self.assertFalse(self.running(servers[1]))
        self.assertEqual(['ACTIVE', 'SHUTOFF'], [
            self.api.get_server(server['id'])['status']
            for server in servers])

    def test_nova_compute_waits_for_the_engine(self):
        self.compute.stop()
        self.private.kill()
        timer = threading.Timer(3, self.private.start)
        timer.start()
        self.addCleanup(timer.join)
        self.restart_compute()
        self.boot()

    def test_an_engine_that_never_comes(self):
        self.flags(start_timeout=1, group='docker')
        self.compute.stop()
        self.private.kill()
        with self.assertRaisesRegex(exception.HypervisorUnavailable,
                                    'no such socket|nothing listens'):
            self.start_service('compute', host=base.HOST)
        self.private.start()
        self.flags(start_timeout=30, group='docker')
        self.restart_compute()
