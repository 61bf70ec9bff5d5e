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

"""Every action of Nova's API on a server, asserted on the real container."""

import time
from unittest import mock

from nova.compute import api as compute_api
from nova import context as nova_context

from lab import container_images
from nova_docker_driver import health
from nova_docker_driver import names
from tests.api import base

#: Says what it hears, and ends when it is asked to.
TALKATIVE = ('command: [sh, -c, "trap exit TERM; trap \'echo dumped\' QUIT; '
             'trap \'echo aborted\' ABRT; while true; do sleep 0.1; done"]')


class ActionCase(base.ApiCase):

    def act(self, server, name, arguments=None, expected='ACTIVE'):
        self.api.post_server_action(server['id'], {name: arguments})
        return self.settled(server, expected)

    def settled(self, server, expected='ACTIVE'):
        return self._wait_for_server_parameter(server, {
            'OS-EXT-STS:task_state': None, 'status': expected})

    def state(self, server, suffix=''):
        return self.engine.inspect_container(
            names.container(server['id']) + suffix)['State']

    def log(self, server):
        return self.engine.logs(names.container(server['id'])).decode()

    def faults(self, server):
        """The last action's name and what its events say of failures."""
        action = self.api.get_instance_actions(server['id'])[0]
        details = self.api.get_instance_action_details(
            server['id'], action['request_id'])
        return action['action'], ' '.join(
            str(event['details']) for event in details['events'])


class TestPower(ActionCase):

    def test_stop_and_start(self):
        server = self.boot()
        self.act(server, 'os-stop', expected='SHUTOFF')
        self.assertEqual('exited', self.state(server)['Status'])
        self.act(server, 'os-start')
        self.assertTrue(self.state(server)['Running'])

    def test_a_reboot_keeps_what_was_written(self):
        server = self.boot()
        self.inside(server, 'touch', '/kept')
        first = self.container(server)
        for kind in ('SOFT', 'HARD'):
            before = self.state(server)['StartedAt']
            self.act(server, 'reboot', {'type': kind})
            self.assertNotEqual(before, self.state(server)['StartedAt'])
            self.assertIn('kept', self.inside(server, 'ls', '/'))
        self.assertEqual(first['Id'], self.container(server)['Id'])

    def test_a_hard_reboot_makes_a_lost_container_anew(self):
        server = self.boot()
        first = self.container(server)['Id']
        self.engine.remove_container(first, force=True)
        self.act(server, 'reboot', {'type': 'HARD'})
        self.assertTrue(self.state(server)['Running'])
        self.assertNotEqual(first, self.container(server)['Id'])

    def test_the_wish_for_time_is_within_novas_bound(self):
        # It ignores the request to end, and is killed when time is up.
        deaf = ('command: [sh, -c, "trap : TERM; while true; do sleep 0.1; '
                'done"]\nstop_grace_period: %s')
        self.flags(shutdown_timeout=2)
        for wish, least, most in (('1s', 1, 2), ('300s', 2, 10)):
            server = self.boot(deaf % wish)
            began = time.monotonic()
            self.act(server, 'os-stop', expected='SHUTOFF')
            self.assertEqual(137, self.state(server)['ExitCode'])
            self.assertTrue(least <= time.monotonic() - began < most * 3)

    def test_pause_suspend_and_a_restart_of_the_service(self):
        server = self.boot()
        for act, status, undo in (('pause', 'PAUSED', 'unpause'),
                                  ('suspend', 'SUSPENDED', 'resume')):
            before = self.state(server)['Pid']
            self.act(server, act, expected=status)
            self.assertTrue(self.state(server)['Paused'])
            self.compute = self.restart_compute_service(
                self.compute, keep_hypervisor_state=False)
            # While the new service is there.
            self.addCleanup(self.delete_all, self.api)
            self.compute.manager._sync_power_states(
                nova_context.get_admin_context())
            self.assertEqual(status, self.api.get_server(
                server['id'])['status'])
            self.act(server, undo)
            # The same process goes on, with its memory.
            self.assertEqual((before, False), (
                self.state(server)['Pid'], self.state(server)['Paused']))

    def test_lock_refuses_others(self):
        server = self.boot()
        self.api.post_server_action(server['id'], {'lock': None})
        self.assertTrue(self.api.get_server(server['id'])['locked'])
        self.api.post_server_action(server['id'], {'unlock': None})
        self.act(server, 'os-stop', expected='SHUTOFF')


class TestRemoval(ActionCase):

    def test_force_delete(self):
        server = self.boot()
        self.api.post_server_action(server['id'], {'forceDelete': None})
        self._wait_until_gone(self.api, server['id'])
        self.assertEqual([], self.engine.containers(all=True, filters={
            'label': f'{names.INSTANCE_LABEL}={server["id"]}'}))

    def test_soft_delete_and_restore(self):
        self.flags(reclaim_instance_interval=3600)
        server = self.boot()
        self.inside(server, 'touch', '/kept')
        self.api.delete_server(server['id'])
        self.settled(server, 'SOFT_DELETED')
        self.assertFalse(self.state(server)['Running'])
        self.act(server, 'restore')
        self.assertIn('kept', self.inside(server, 'ls', '/'))
        self.flags(reclaim_instance_interval=0)


class TestRebuild(ActionCase):

    def test_another_specification(self):
        server = self.boot()
        first = self.container(server)
        spec = '#docker-config\nenvironment: {A: b}\n' + base.LASTING
        self.act(server, 'rebuild', {
            'imageRef': base.IMAGE_ID, 'user_data': base.encoded(spec)})
        found = self.container(server)
        self.assertIn('A=b', found['Config']['Env'])
        self.assertNotEqual(first['Id'], found['Id'])
        self.assertNotEqual(*(one['Config']['Labels'][names.SPEC_LABEL]
                              for one in (first, found)))

    def test_a_stopped_server_stays_stopped(self):
        server = self.boot()
        self.act(server, 'os-stop', expected='SHUTOFF')
        self.act(server, 'rebuild', {'imageRef': base.IMAGE_ID},
                 expected='SHUTOFF')
        # Nothing has run meanwhile, and been ended in the middle.
        self.assertEqual('created', self.state(server)['Status'])
        self.act(server, 'os-start')
        self.assertTrue(self.state(server)['Running'])

    def test_what_cannot_be_built_leaves_the_old_one(self):
        server = self.boot()
        first = self.container(server)['Id']
        self.act(server, 'rebuild', {
            'imageRef': base.IMAGE_ID,
            'user_data': base.encoded('#docker-config\nbuild: .')},
            expected='ERROR')
        self.assertEqual(first, self.container(server)['Id'])
        self.assertIn('build', self.api.get_server(
            server['id'])['fault']['message'])
        self.act(server, 'rebuild', {
            'imageRef': base.IMAGE_ID,
            'user_data': base.encoded('#docker-config\n' + base.LASTING)})


class TestRescue(ActionCase):

    def test_another_container_with_the_files_of_this_one(self):
        server = self.boot()
        self.inside(server, 'sh', '-c', 'echo precious > /data')
        self.act(server, 'rescue', {}, expected='RESCUE')
        self.assertFalse(self.state(server)['Running'])
        name = names.rescue(server['id'])
        handle = self.engine.exec_create(name, [
            'sh', '-c', 'cat /rescue/data; echo mended > /rescue/data'])
        self.assertEqual(b'precious\n',
                         self.engine.exec_start(handle['Id']))
        self.act(server, 'unrescue')

    def test_the_server_comes_back_with_what_was_mended(self):
        server = self.boot()
        own = self.container(server)['Id']
        self.act(server, 'rescue', {}, expected='RESCUE')
        handle = self.engine.exec_create(names.rescue(server['id']), [
            'sh', '-c', 'echo mended > /rescue/data'])
        self.engine.exec_start(handle['Id'])
        self.act(server, 'unrescue')
        self.assertEqual(own, self.container(server)['Id'])
        self.assertEqual('mended', self.inside(server, 'cat', '/data').strip())
        self.assertEqual(1, len(self.engine.containers(all=True, filters={
            'label': f'{names.INSTANCE_LABEL}={server["id"]}'})))

    def test_a_rescued_server_can_be_deleted(self):
        server = self.boot()
        self.act(server, 'rescue', {}, expected='RESCUE')


class TestImages(ActionCase):

    def test_a_snapshot_makes_another_server(self):
        server = self.boot()
        self.inside(server, 'sh', '-c', 'echo precious > /data')
        self.api.post_server_action(
            server['id'], {'createImage': {'name': 'no/Valid Tag:ever'}})
        self.until(lambda: any(
            image['name'] == 'no/Valid Tag:ever'
            and image['status'] == 'active'
            for image in self.glance.images.values()))
        self.settled(server)
        self.assertTrue(self.state(server)['Running'])
        # A committed image has its container's labels.
        self.assertEqual([], self.engine.images(filters={
            'label': f'{names.INSTANCE_LABEL}={server["id"]}'}))
        made = next(image_id for image_id, image
                    in self.glance.images.items()
                    if image['name'] == 'no/Valid Tag:ever')
        other = self.boot(image=made)
        self.assertEqual('precious',
                         self.inside(other, 'cat', '/data').strip())

    def test_shelve_and_unshelve_keep_the_files(self):
        server = self.boot()
        self.inside(server, 'sh', '-c', 'echo precious > /data')
        self.act(server, 'shelve', expected='SHELVED_OFFLOADED')
        self.assertEqual([], self.engine.containers(all=True, filters={
            'label': f'{names.INSTANCE_LABEL}={server["id"]}'}))
        self.act(server, 'unshelve')
        self.assertEqual('precious',
                         self.inside(server, 'cat', '/data').strip())


class TestGuest(ActionCase):

    def test_a_password(self):
        server = self.boot(
            image=self.image(container_images.with_passwords()))
        self.act(server, 'changePassword', {'adminPass': 's3cret-canary'})
        self.until(lambda: 'root:$5$' in self.inside(
            server, 'cat', '/etc/shadow'))
        self.assertNotIn('s3cret-canary', self.stdlog.logger.output)

    def test_an_image_without_the_tool(self):
        server = self.boot()
        self.api.post_server_action(
            server['id'], {'changePassword': {'adminPass': 's3cret-canary'}},
            check_response_status=[409])
        action, said = self.faults(server)
        self.assertEqual('changePassword', action)
        self.assertIn('no chpasswd', said)
        self.assertNotIn('s3cret-canary', self.stdlog.logger.output)
        self.settled(server)

    def test_a_crash_dump_is_a_signal(self):
        for text, word in (('', 'dumped'),
                           ('\nx-nova: {crash_dump_signal: SIGABRT}',
                            'aborted')):
            server = self.boot(TALKATIVE + text)
            self.api.post_server_action(
                server['id'], {'trigger_crash_dump': None})
            self.until(lambda s=server, w=word: w in self.log(s))

    def test_both_forms_of_diagnostics(self):
        # Nova's enumeration of drivers has none for containers; outside of
        # tests it only warns of that.
        self.flags(response_validation='warn', group='api')
        server = self.boot('command: [sh, -c, "trap exit TERM; dd '
                           'if=/dev/zero of=/dev/shm/x bs=1M count=8; '
                           'sleep 600 & wait"]')
        self.until(lambda: 'x' in self.inside(server, 'ls', '/dev/shm'))
        found = self.admin_api.get_server_diagnostics(server['id'])
        self.assertEqual(('docker', 'running', 64), (
            found['hypervisor'], found['state'],
            found['memory_details']['maximum']))
        self.assertGreaterEqual(found['memory_details']['used'], 8)
        self.assertGreater(found['cpu_details'][0]['time'], 0)
        with base.older(self.admin_api, '2.47'):
            found = self.admin_api.get_server_diagnostics(server['id'])
        self.assertGreater(found['memory'], 8 * 1024)
        self.assertGreaterEqual(found['processes'], 2)

    def test_the_console_s_log_is_a_bounded_tail(self):
        server = self.boot('command: [sh, -c, "trap exit TERM; seq 200000; '
                           'echo the end; sleep 600 & wait"]')
        self.until(lambda: 'the end' in self.log(server)[-20:])
        answer = self.api.api_post(
            f'/servers/{server["id"]}/action',
            {'os-getConsoleOutput': {}}).body['output']
        self.assertTrue(answer.endswith('the end\n'))
        self.assertLessEqual(len(answer), 110 * 1024)
        answer = self.api.api_post(
            f'/servers/{server["id"]}/action',
            {'os-getConsoleOutput': {'length': 3}}).body['output']
        # Nova counts the end of the last line as a line.
        self.assertEqual('200000\nthe end\n', answer)


class TestSurroundings(ActionCase):

    def test_the_host_and_its_uptime(self):
        found, = self.admin_api.api_get(
            '/os-hypervisors/detail').body['hypervisors']
        self.assertEqual('docker', found['hypervisor_type'])
        self.assertRegex(found['uptime'], 'load average')
        self.assertEqual('up', found['state'])

    def test_a_host_in_maintenance_gets_no_servers_and_keeps_its_own(self):
        server = self.boot()
        service = self.admin_api.get_service_id('nova-compute')
        self.admin_api.put_service(service, {
            'status': 'disabled', 'disabled_reason': 'maintenance'})
        other = self.boot(expected='ERROR')
        self.assertIn('No valid host', other['fault']['message'])
        self.act(server, 'reboot', {'type': 'HARD'})
        self.admin_api.put_service(service, {'status': 'enabled'})
        self.boot()

    def test_groups_names_tags_and_keys(self):
        group = self.api.post_server_groups({
            'name': 'g', 'policy': 'anti-affinity'})
        self.api.post_keypair({'keypair': {
            'name': 'k', 'type': 'ssh', 'public_key': base.PUBLIC_KEY}})
        server = self.boot(
            hostname='front-1', key_name='k', tags=['one'],
            hints={'group': group['id']})
        self.assertEqual('front-1', self.inside(server, 'hostname').strip())
        self.api.put_server_tags(server['id'], ['one', 'two'])
        self.assertEqual(['one', 'two'],
                         self.api.get_server_tags(server['id']))
        self.assertEqual([server['id']], self.api.get_server_group(
            group['id'])['members'])
        self.assertEqual('k', self.api.get_server(server['id'])['key_name'])
        second = self.boot(expected='ERROR', hints={'group': group['id']})
        self.assertIn('No valid host', second['fault']['message'])

    def test_a_failed_action_names_cause_and_object(self):
        server = self.boot()
        name, lost = names.container(server['id']), f'lost-{server["id"]}'
        # Not removed: Nova would hear of its end, and stop it by itself.
        self.engine.rename(name, lost)
        try:
            self.api.post_server_action(server['id'], {'os-stop': None})
            self.until(lambda: 'stop' == self.faults(server)[0]
                       and server['id'] in self.faults(server)[1])
        finally:
            self.engine.rename(lost, name)


class TestOutcomes(ActionCase):

    def metadata(self, server):
        return self.api.get_server(server['id'])['metadata']

    def test_an_end_is_told_with_its_code(self):
        server = self.boot('command: [sh, -c, "sleep 1; exit 7"]',
                           metadata={'mine': '1'})
        self.settled(server, 'SHUTOFF')
        found = self.metadata(server)
        self.assertEqual(('7', '1'), (found['docker:exit_code'],
                                      found['mine']))
        self.assertTrue(found['docker:finished_at'])

    def test_out_of_memory_is_told(self):
        server = self.boot('command: [sh, -c, "sleep 1; tail /dev/zero"]',
                           flavor=self.flavor(memory=16))
        self.settled(server, 'SHUTOFF')
        self.assertEqual('true', self.metadata(server)['docker:oom_killed'])

    def test_health_and_restarts_are_told(self):
        server = self.boot(
            'command: [sh, -c, "sleep 3; exit 1"]\nrestart: always\n'
            'healthcheck: {test: "true", interval: 1s}')
        self.until(lambda: self.metadata(server).get(
            'docker:health') == 'healthy')
        self.until(lambda: int(self.metadata(server).get(
            'docker:restart_count', 0)) > 0)
        self.assertEqual('ACTIVE', self.api.get_server(
            server['id'])['status'])

    def test_a_tenants_change_just_before_ours_stays(self):
        server = self.boot('command: [sh, -c, "sleep 2; exit 7"]')
        write = health._write

        def change_and_write(*args):
            self.api.post_server_metadata(server['id'], {'late': '1'})
            write(*args)
        with mock.patch.object(health, '_write', change_and_write):
            self.settled(server, 'SHUTOFF')
        self.assertEqual(('1', '7'), (
            self.metadata(server)['late'],
            self.metadata(server)['docker:exit_code']))

    def test_a_tenants_request_that_is_slower_than_ours(self):
        """It knows nothing of the outcome, and is written over it."""
        server = self.boot('command: [sh, -c, "sleep 2; exit 7"]')
        update = compute_api.API.update_instance_metadata

        def wait_and_update(api, context, instance, metadata, delete=False):
            self.until(lambda: 'docker:exit_code' in self.metadata(server))
            return update(api, context, instance, metadata, delete)
        with mock.patch.object(compute_api.API, 'update_instance_metadata',
                               wait_and_update):
            self.api.post_server_metadata(server['id'], {'late': '1'})
        self.until(lambda: self.metadata(server).get(
            'docker:exit_code') == '7')
        self.assertEqual('1', self.metadata(server)['late'])

    def test_a_job_is_active_and_then_has_ended(self):
        server = self.boot('command: [sh, -c, "sleep 2; exit 5"]\n'
                           'x-nova: {wait_for: completed}')
        self.settled(server, 'SHUTOFF')
        self.assertEqual('5', self.metadata(server)['docker:exit_code'])
        # Over before the build is: well, and otherwise.
        server = self.boot('command: "true"\n'
                           'x-nova: {wait_for: completed}',
                           expected='SHUTOFF')
        self.assertEqual('0', self.metadata(server)['docker:exit_code'])

    def test_an_end_before_the_build_is_fails_it(self):
        server = self.boot(
            'command: [sh, -c, "echo why; sleep 0.5; exit 5"]\n'
            'healthcheck: {test: "true", interval: 30s}\n'
            'x-nova: {wait_for: healthy}', expected='ERROR')
        self.assertRegex(server['fault']['message'], 'code 5.*why')
