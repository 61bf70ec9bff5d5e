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

"""What Nova's API does to servers with ports, in the lab."""

import base64
import time

import websocket

from lab import cloud
from tests.integration import base

#: Tells what it is asked, and ends when it is told to.
LISTENING = ('command: [sh, -c, "trap exit TERM; trap \'echo dumped\' QUIT; '
             'while true; do sleep 0.1; done"]')


class ActionCase(base.LabCase):

    def act(self, server, name, arguments=None, expected='ACTIVE',
            status=(200, 202)):
        """One action of the API, and its end."""
        answer = self.tenant.compute.post(
            f'/servers/{server.id}/action', microversion='2.96',
            json={name: arguments})
        self.assertIn(answer.status_code, status, answer.text)
        self.until(lambda: self.found(server).task_state is None,
                   f'{name} is done')
        if expected:
            self.assertEqual(expected, self.found(server).status)
        return answer.json() if answer.content else {}

    def found(self, server):
        return self.admin.compute.get_server(server.id)

    def inside_of(self, name, *command):
        handle = self.engine.exec_create(name, list(command))
        return self.engine.exec_start(handle['Id']).decode()


class TestStates(ActionCase):

    def test_suspended_survives_a_restart_of_the_service(self):
        server = self.boot()
        pid = self.container(server)['State']['Pid']
        self.act(server, 'suspend', expected='SUSPENDED')
        self.assertTrue(self.container(server)['State']['Paused'])
        cloud.Cloud(self.layout).restart(['nova-compute-c1'])
        self.await_compute()
        self.assertEqual('SUSPENDED', self.found(server).status)
        self.act(server, 'resume')
        self.assertEqual((pid, False), (
            self.container(server)['State']['Pid'],
            self.container(server)['State']['Paused']))

    def test_a_process_is_found_again_by_a_new_service(self):
        """It ended while nobody looked."""
        server = self.boot('command: [sh, -c, "trap \'exit 9\' TERM; '
                           'sleep 600 & wait"]')
        lab = cloud.Cloud(self.layout)
        lab.processes.stop(['nova-compute-c1'])
        self.engine.kill(f'nova-{server.id}', 'TERM')
        lab.up()
        self.await_compute()
        self.wait(server, 'SHUTOFF')
        self.until(lambda: self.found(server).metadata.get(
            'docker:exit_code') == '9', 'the code is told')

    def test_lock_and_force_delete(self):
        server = self.boot()
        self.act(server, 'lock')
        self.assertTrue(self.found(server).is_locked)
        self.act(server, 'unlock')
        self.tenant.compute.post(f'/servers/{server.id}/action',
                                 json={'forceDelete': None})
        self.until(lambda: not list(self.tenant.compute.servers()), 'gone')

    def test_stop_costs_no_more_than_the_wish(self):
        server = self.boot(
            'command: [sh, -c, "trap : TERM; while true; do sleep 0.1; '
            'done"]\nstop_grace_period: 1s')
        began = time.monotonic()
        self.act(server, 'os-stop', expected='SHUTOFF')
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual(137, self.container(server)['State']['ExitCode'])


class TestRebuild(ActionCase):

    def test_another_specification_on_the_same_network(self):
        server = self.boot()
        address = self.address(server)
        sandbox = self.container(server, '-sandbox')
        text = '#docker-config\nenvironment: {A: b}\n' + base.LASTING
        self.act(server, 'rebuild', {
            'imageRef': self.image(), 'user_data': base64.b64encode(
                text.encode()).decode()})
        self.assertIn('A=b', self.container(server)['Config']['Env'])
        self.assertEqual(address, self.address(server))
        self.assertEqual(
            (sandbox['Id'], sandbox['State']['Pid']), (
                self.container(server, '-sandbox')['Id'],
                self.container(server, '-sandbox')['State']['Pid']))

    def test_what_cannot_be_built_leaves_the_old_process(self):
        server = self.boot()
        first = self.container(server)['State']['Pid']
        text = '#docker-config\nprivileged: true'
        self.act(server, 'rebuild', {
            'imageRef': self.image(), 'user_data': base64.b64encode(
                text.encode()).decode()}, expected='ERROR')
        self.assertIn('privileged', self.found(server).fault['message'])
        self.assertEqual(first, self.container(server)['State']['Pid'])


class TestRescue(ActionCase):

    def test_the_files_and_the_address_of_the_server(self):
        server = self.boot()
        self.inside(server, 'sh', '-c', 'echo precious > /data')
        address = self.address(server)
        self.act(server, 'rescue', {'rescue_image_ref': self.image('web')},
                 expected='RESCUE')
        rescuer = f'nova-{server.id}-rescue'
        self.assertFalse(self.container(server)['State']['Running'])
        self.assertEqual('precious\n', self.inside_of(
            rescuer, 'cat', '/rescue/data'))
        self.assertIn(address, self.inside_of(
            rescuer, 'ip', 'address', 'show', 'eth0'))
        self.inside_of(rescuer, 'sh', '-c', 'echo mended > /rescue/data')
        self.act(server, 'unrescue')
        self.assertEqual('mended\n', self.inside(server, 'cat', '/data')[1])

    def test_a_rescued_server_is_deleted_whole(self):
        server = self.boot()
        self.act(server, 'rescue', {}, expected='RESCUE')


class TestImages(ActionCase):

    def test_a_snapshot_in_glance(self):
        server = self.boot()
        self.inside(server, 'sh', '-c', 'echo precious > /data')
        self.act(server, 'createImage', {'name': 'snapshot'}, expected=None)
        image = self.until(lambda: next(
            (image for image in self.tenant.image.images(name='snapshot')
             if image.status == 'active'), None), 'the snapshot is active')
        self.addCleanup(self.tenant.image.delete_image, image.id)
        self.assertEqual(('docker', 'raw'),
                         (image.container_format, image.disk_format))
        other = self.boot(image=image.id)
        self.assertEqual('precious\n', self.inside(other, 'cat',
                                                   '/data')[1])

    def test_backups_are_rotated(self):
        server = self.boot()
        for _ in range(2):
            self.act(server, 'createBackup', {
                'name': 'daily', 'backup_type': 'daily', 'rotation': 1})
        found = list(self.tenant.image.images(name='daily'))
        for image in found:
            self.addCleanup(self.tenant.image.delete_image, image.id)
        self.assertEqual(['active'], [image.status for image in found])

    def test_shelve_and_unshelve(self):
        server = self.boot()
        self.inside(server, 'sh', '-c', 'echo precious > /data')
        address = self.address(server)
        self.act(server, 'shelve', expected='SHELVED_OFFLOADED')
        self.assertEqual([], self.engine.containers(all=True, filters={
            'name': server.id}))
        self.act(server, 'unshelve')
        self.assertEqual('precious\n', self.inside(server, 'cat',
                                                   '/data')[1])
        self.assertIn(address, self.inside(server, 'ip', 'address')[1])


class TestGuest(ActionCase):

    def test_a_password(self):
        server = self.boot(image=self.image('with_passwords'))
        self.act(server, 'changePassword', {'adminPass': 'canary-9a4'})
        self.assertIn('root:$5$', self.inside(
            server, 'cat', '/etc/shadow')[1])
        log = self.layout.logs / 'nova-compute-c1.log'
        self.assertNotIn('canary-9a4', log.read_text(errors='replace'))

    def test_no_tool_for_passwords(self):
        server = self.boot()
        self.act(server, 'changePassword', {'adminPass': 'canary-9a4'},
                 status=(409,))

    def test_a_crash_dump(self):
        server = self.boot(LISTENING)
        self.act(server, 'trigger_crash_dump')
        self.until(lambda: 'dumped' in self.tenant.compute
                   .get_server_console_output(server.id)['output'], 'dumped')

    def test_diagnostics(self):
        server = self.boot()
        found = self.admin.compute.get(
            f'/servers/{server.id}/diagnostics', microversion='2.48').json()
        self.assertEqual(('docker', self.port(server).mac_address), (
            found['hypervisor'], found['nic_details'][0]['mac_address']))
        self.assertGreater(found['memory_details']['used'], -1)
        old = self.admin.compute.get(
            f'/servers/{server.id}/diagnostics', microversion='2.1').json()
        self.assertIn('eth0_rx', old)

    def test_the_host(self):
        found = self.admin.compute.get(
            '/os-hypervisors/detail', microversion='2.88').json()
        host, = found['hypervisors']
        self.assertEqual('docker', host['hypervisor_type'])
        self.assertIn('load average', host['uptime'])


class TestConsole(ActionCase):

    def open(self, server):
        """A browser's end of a console, by a URL of the API."""
        url = self.url(server)
        peer = websocket.create_connection(
            url, timeout=20, subprotocols=['binary'],
            origin='http://127.0.0.1')
        self.addCleanup(peer.close)
        return peer

    def url(self, server):
        found = self.tenant.compute.post(
            f'/servers/{server.id}/remote-consoles', microversion='2.96',
            json={'remote_console': {'protocol': 'serial',
                                     'type': 'serial'}})
        self.assertEqual(200, found.status_code, found.text)
        return found.json()['remote_console']['url']

    def read_until(self, peer, text):
        said = b''
        while text not in said:
            said += peer.recv()
        return said

    def test_a_shell_and_a_terminal(self):
        server = self.boot()
        peer = self.open(server)
        peer.send_binary(b'echo $((6 * 7)) from $(hostname)\n')
        self.read_until(peer, b'42 from ' + server.name.encode())
        own = self.boot('command: [sh]\ntty: true\nstdin_open: true')
        peer = self.open(own)
        peer.send_binary(b'echo $((6 * 7)) from $$\n')
        self.read_until(peer, b'42 from 1')
        # A rebuild ends it: its container is another one.
        self.act(own, 'rebuild', {'imageRef': self.image()})
        with self.assertRaises(websocket.WebSocketConnectionClosedException):
            while peer.recv():
                pass
            raise websocket.WebSocketConnectionClosedException

    def test_a_token_is_good_once_and_nobody_elses(self):
        server = self.boot()
        url = self.url(server)
        peer = websocket.create_connection(url, timeout=20,
                                           subprotocols=['binary'])
        self.addCleanup(peer.close)
        peer.send_binary(b'echo $((6 * 7))\n')
        self.read_until(peer, b'42')
        for wrong in (url, url[:-4] + '0000',
                      url.partition('?')[0] + '?token='):
            with self.subTest(url=wrong), self.assertRaises(
                    (websocket.WebSocketException, OSError)):
                again = websocket.create_connection(
                    wrong, timeout=10, subprotocols=['binary'])
                self.addCleanup(again.close)
                if not again.recv():
                    raise OSError('closed')

    def test_what_does_not_run_has_no_console(self):
        server = self.boot()
        self.act(server, 'os-stop', expected='SHUTOFF')
        answer = self.tenant.compute.post(
            f'/servers/{server.id}/remote-consoles', microversion='2.96',
            json={'remote_console': {'protocol': 'serial',
                                     'type': 'serial'}})
        self.assertEqual(409, answer.status_code)
