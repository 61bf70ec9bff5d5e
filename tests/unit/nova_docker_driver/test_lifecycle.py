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

"""The composer, with an Engine in memory: order, undo, number of calls."""

from pathlib import Path
import tempfile
import unittest
from unittest import mock

from nova import exception
from oslo_utils import timeutils

from nova_docker_driver import errors
from nova_docker_driver import guestfiles
from nova_docker_driver import imagemodels
from nova_docker_driver import images
from nova_docker_driver import lifecycle
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import network
from nova_docker_driver import sandbox
from nova_docker_driver import snapshot
from nova_docker_driver import snapshots
from nova_docker_driver import streams
from tests.unit.nova_docker_driver import fakes

DIGEST, _ = sandbox.image_archive('x86_64')

SECRET = '5d3c0b1e-8f0a-4a57-9d0e-9b8c7a6f5e4d'
WITH_SECRET = ('#docker-config\nx-nova: {environment_secrets: '
               f'{{PASSWORD: {SECRET}}}}}')
#: Of the project of the servers here, which have none.
CONTEXT = mock.Mock(project_id='')


class LifecycleCase(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.engine = fakes.Engine()
        self.engine.known_images = {
            names.image_tag(fakes.IMAGE_ID): models.EngineImage(
                'sha256:1', command=('sh',)),
            DIGEST: models.EngineImage(DIGEST)}
        self.network = mock.create_autospec(network.Network, instance=True)
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.files = guestfiles.GuestFiles(Path(directory.name))
        self.sandboxes = sandbox.Sandboxes(self.engine, '')
        self.secret = mock.Mock(side_effect=errors.SecretUnavailable('gone'))
        self.lifecycle = lifecycle.Lifecycle(
            self.engine, images.Images(
                self.engine, fakes.Glance(), imagemodels.Terms('')),
            self.sandboxes, self.network, self.files,
            snapshot.Snapshot(self.engine),
            mock.create_autospec(snapshots.Snapshots, instance=True),
            self.secret)

    def spawn(self, instance=None, vifs=(), block_devices=None):
        self.lifecycle.spawn(
            None, instance or fakes.instance(), fakes.image_meta(),
            list(vifs), block_devices, fakes.policy())

    def assert_nothing_left(self):
        self.assertEqual({}, self.engine.specs)
        self.assertEqual(set(), self.files.instance_uuids())


class TestSpawn(LifecycleCase):

    def test_without_a_port_it_costs_four_calls(self):
        self.spawn()
        self.assertEqual(['image', 'create', 'start', 'inspect'],
                         self.engine.calls)

    def test_with_a_port_it_costs_seven_calls(self):
        self.sandboxes._known_image = DIGEST
        self.spawn(vifs=[fakes.vif()])
        self.assertEqual(
            ['image', 'create', 'start', 'inspect',
             'create', 'start', 'inspect'], self.engine.calls)

    def test_the_network_is_there_before_the_process(self):
        def connect(instance, vifs, namespace):
            started = [spec.name for container_id, spec
                       in self.engine.specs.items()]
            self.assertEqual([names.sandbox(fakes.UUID)], started)
            self.assertTrue(namespace)
        self.network.connect.side_effect = connect
        self.spawn(vifs=[fakes.vif()])
        spec = list(self.engine.specs.values())[1]
        self.assertEqual('container:id1', spec.network_mode)
        self.assertEqual(['/etc/hostname', '/etc/hosts', '/etc/resolv.conf'],
                         [mount.target for mount in spec.mounts])

    def test_a_failure_at_any_step_leaves_nothing(self):
        for verb, number in (('image', 1), ('create', 1), ('create', 2),
                             ('start', 1), ('start', 2)):
            with self.subTest(verb=verb, number=number):
                self.engine.failures = {
                    verb: [None] * (number - 1) + [
                        errors.EngineError('broken')]}
                with self.assertRaises(
                        exception.ComputeResourcesUnavailable):
                    self.spawn(vifs=[fakes.vif()])
                self.assert_nothing_left()

    def test_neutron_never_answers(self):
        self.network.connect.side_effect = (
            exception.VirtualInterfaceCreateException)
        with self.assertRaises(exception.VirtualInterfaceCreateException):
            self.spawn(vifs=[fakes.vif()])
        self.network.disconnect.assert_called_once()
        self.assert_nothing_left()

    def test_a_tenants_mistake_is_not_rescheduled(self):
        bad = fakes.instance('#docker-config\nprivileged: true')
        with self.assertRaisesRegex(exception.InvalidInput, 'privileged'):
            self.spawn(bad)
        self.assertEqual([], self.engine.calls)

    def test_volumes_and_ephemeral_disks_are_refused(self):
        with self.assertRaisesRegex(exception.InvalidInput, 'volumes'):
            self.spawn(block_devices={'block_device_mapping': [{}]})
        instance = fakes.instance()
        instance.flavor.ephemeral_gb = 1
        with self.assertRaisesRegex(exception.InvalidInput, 'ephemeral'):
            self.spawn(instance)
        with self.assertRaisesRegex(exception.InvalidInput, 'config_drive'):
            self.spawn(fakes.instance(config_drive='True'))
        self.spawn(fakes.instance(config_drive=''))
        # Nova notes an operator's wish when the server has been built.
        self.spawn(fakes.instance(
            config_drive='True', launched_at=timeutils.utcnow(True)))

    def test_a_process_that_ends_at_once_fails_the_build(self):
        self.engine.after_start = {'status': 'exited', 'exit_code': 3}
        self.engine.log = b'no such table\n'
        with self.assertRaisesRegex(
                exception.BuildAbortException, 'code 3.*no such table'):
            self.spawn()
        self.assert_nothing_left()

    def test_out_of_memory_is_named(self):
        self.engine.after_start = {'status': 'exited', 'exit_code': 137,
                                   'oom_killed': True}
        with self.assertRaisesRegex(exception.BuildAbortException,
                                    'out of memory'):
            self.spawn()

    def test_a_job_may_end_well_at_once(self):
        self.engine.after_start = {'status': 'exited', 'exit_code': 0}
        self.spawn(fakes.instance(
            '#docker-config\nx-nova: {wait_for: completed}'))
        self.assertEqual(1, len(self.engine.specs))

    def test_a_job_that_fails_at_once_fails_the_build(self):
        self.engine.after_start = {'status': 'exited', 'exit_code': 1}
        with self.assertRaises(exception.BuildAbortException):
            self.spawn(fakes.instance(
                '#docker-config\nx-nova: {wait_for: completed}'))

    @mock.patch('time.sleep')
    def test_health_is_waited_for(self, sleep):
        text = ('#docker-config\nhealthcheck: {test: x}\n'
                'x-nova: {wait_for: healthy}')
        self.engine.after_start = {'health': 'starting'}
        sleep.side_effect = lambda _: self.engine.states['id1'].update(
            health='healthy')
        self.spawn(fakes.instance(text))
        self.engine.after_start = {'health': 'unhealthy'}
        self.lifecycle.destroy(fakes.instance(), [])
        with self.assertRaisesRegex(exception.BuildAbortException,
                                    'unhealthy'):
            self.spawn(fakes.instance(text))
        self.assert_nothing_left()

    @mock.patch('time.sleep')
    def test_nobody_waits_for_what_is_being_deleted(self, sleep):
        self.engine.after_start = {'health': 'starting'}
        with mock.patch.object(
                lifecycle.objects.Instance, 'get_by_uuid',
                return_value=fakes.instance(task_state='deleting')):
            with self.assertRaises(
                    exception.UnexpectedDeletingTaskStateError):
                self.spawn(fakes.instance(
                    '#docker-config\nhealthcheck: {test: x}\n'
                    'x-nova: {wait_for: healthy}'))
        self.assert_nothing_left()

    @mock.patch('time.sleep')
    def test_an_attempt_that_failed_is_not_the_end(self, sleep):
        """A restart policy is about to make another one."""
        text = ('#docker-config\nrestart: always\n'
                'healthcheck: {test: x}\nx-nova: {wait_for: healthy}')
        self.engine.after_start = {'status': 'restarting', 'exit_code': 1}
        sleep.side_effect = lambda _: self.engine.states['id1'].update(
            status='running', health='healthy')
        self.spawn(fakes.instance(text))

    @mock.patch('time.sleep')
    @mock.patch('time.monotonic', side_effect=[0, 301])
    def test_health_is_not_waited_for_without_end(self, clock, sleep):
        self.engine.after_start = {'health': 'starting'}
        with self.assertRaisesRegex(exception.BuildAbortException,
                                    'within 300 s'):
            self.spawn(fakes.instance(
                '#docker-config\nhealthcheck: {test: x}\n'
                'x-nova: {wait_for: healthy}'))

    def test_a_command_that_cannot_be_started(self):
        def start(container_id):
            self.engine.states[container_id] = {
                'status': 'created', 'error': 'executable file not found'}
            raise errors.InvalidRequest('OCI runtime create failed')
        with mock.patch.object(self.engine, 'start', start):
            with self.assertRaisesRegex(exception.BuildAbortException,
                                        'executable file not found'):
                self.spawn()
        self.assert_nothing_left()

    def test_a_lost_answer_to_create_is_made_good(self):
        self.spawn()
        self.engine.calls.clear()
        self.spawn()
        self.assertEqual(1, len(self.engine.specs))

    def test_a_foreign_container_with_our_name_stays(self):
        self.spawn()
        foreign = list(self.engine.specs)[0]
        spec = self.engine.specs[foreign]
        self.engine.specs[foreign] = mock.Mock(labels={}, image='x')
        self.engine.specs[foreign].name = spec.name
        with self.assertRaisesRegex(
                exception.ComputeResourcesUnavailable, 'not of this driver'):
            self.spawn()
        self.assertEqual([foreign], list(self.engine.specs))


class TestRebuild(LifecycleCase):

    def setUp(self):
        super().setUp()
        self.vifs = [fakes.vif()]
        self.sandboxes._known_image = DIGEST
        self.spawn(vifs=self.vifs)
        self.engine.calls.clear()
        self.network.reset_mock()

    def rebuild(self, text='', **changes):
        self.lifecycle.rebuild(
            CONTEXT, fakes.instance(text, **changes), fakes.image_meta(),
            self.vifs, None, fakes.policy())

    def roles(self):
        return sorted(spec.labels[names.ROLE_LABEL]
                      for spec in self.engine.specs.values())

    def test_the_network_stays(self):
        self.rebuild('#docker-config\ncommand: [new]')
        self.assertEqual(['image', 'remove', 'remove', 'inspect', 'create',
                          'start', 'inspect'], self.engine.calls)
        self.network.restore.assert_called_once()
        self.network.connect.assert_not_called()
        self.assertEqual(('new',), self.engine.specs['id3'].command)
        self.assertEqual(['sandbox', 'server'], self.roles())

    def test_what_is_stopped_is_not_run(self):
        self.rebuild('#docker-config\ncommand: [new]',
                     vm_state='stopped')
        self.assertNotIn('start', self.engine.calls)
        self.assertEqual(('new',), self.engine.specs['id3'].command)
        self.assertEqual('created', self.engine.states['id3']['status'])

    def test_another_name_needs_another_namespace(self):
        self.rebuild(hostname='other')
        self.network.connect.assert_called_once()
        self.assertEqual(['sandbox', 'server'], self.roles())
        self.assertNotIn('id1', self.engine.specs)

    def test_a_secret_is_read_with_the_requesters_rights(self):
        self.secret.side_effect = [b'new']
        self.rebuild(WITH_SECRET)
        self.secret.assert_called_once_with(CONTEXT, SECRET)
        self.assertEqual(('PASSWORD=new',),
                         self.engine.specs['id3'].environment)

    def test_what_cannot_be_is_refused_before_anything_is_lost(self):
        with self.assertRaises(exception.InvalidInput):
            self.rebuild(WITH_SECRET)
        with self.assertRaises(exception.InvalidInput):
            self.rebuild('#docker-config\nprivileged: true')
        with self.assertRaises(exception.InvalidInput):
            self.rebuild('#docker-config\ncap_add: [SYS_ADMIN]')
        self.engine.known_images.clear()
        self.engine.failures = {'image': [errors.InvalidRequest('x')]}
        with self.assertRaises(exception.InvalidInput):
            self.rebuild()
        self.assertEqual('running', self.engine.states['id2']['status'])

    def test_a_new_process_that_fails_leaves_the_network(self):
        self.engine.after_start = {'status': 'exited', 'exit_code': 3}
        with self.assertRaises(exception.BuildAbortException):
            self.rebuild()
        self.assertEqual(['sandbox'], self.roles())
        self.engine.after_start = {}
        self.rebuild()
        self.assertEqual(['sandbox', 'server'], self.roles())


class TestSnapshot(LifecycleCase):

    def setUp(self):
        super().setUp()
        self.glance = mock.Mock()
        self.glance.get.return_value = {'name': 'mine'}
        self.engine.commit = mock.Mock(return_value='sha256:c')
        self.engine.save = mock.Mock(return_value=[])
        self.engine.image_settings = mock.Mock(return_value={})
        self.lifecycle._snapshots = snapshots.Snapshots(
            self.engine, self.glance)
        self.spawn()
        self.engine.calls.clear()
        self.told = []

    def snapshot(self, **changes):
        def update(task_state, expected_state=None):
            self.told.append((task_state, expected_state))
        self.lifecycle.take_snapshot(None, fakes.instance(**changes), [], 'i',
                                     update)

    def test_it_is_uploaded_and_nothing_is_left(self):
        self.snapshot()
        self.assertEqual(
            [('image_pending_upload', None),
             ('image_uploading', 'image_pending_upload')], self.told)
        described = self.glance.update.call_args[0][2]
        self.assertEqual(('mine', 'active', 'docker', 'raw'), tuple(
            described[key] for key in ('name', 'status', 'container_format',
                                       'disk_format')))
        self.assertEqual(['inspect', 'remove_image'], self.engine.calls)

    def test_a_failure_leaves_nothing_either(self):
        self.glance.update.side_effect = exception.ImageNotFound(image_id='i')
        with self.assertRaises(exception.ImageNotFound):
            self.snapshot()
        self.assertEqual('remove_image', self.engine.calls[-1])

    def test_a_server_that_cannot_be_shelved_runs_again(self):
        self.lifecycle.power_off(fakes.instance(), 0)
        self.glance.update.side_effect = exception.ImageNotFound(image_id='i')
        with self.assertRaises(exception.ImageNotFound):
            self.snapshot(task_state='shelving_image_uploading')
        self.assertEqual('running', self.engine.states['id1']['status'])

    def test_what_is_gone_is_not_running(self):
        self.lifecycle.destroy(fakes.instance(), [])
        with self.assertRaises(exception.InstanceNotRunning):
            self.snapshot()

    def test_a_container_that_is_not_ours_is_not_taken(self):
        spec = self.engine.specs['id1']
        self.engine.specs['id1'] = mock.Mock(labels={}, image='x')
        self.engine.specs['id1'].name = spec.name
        with self.assertRaises(exception.InstanceNotRunning):
            self.snapshot()
        self.engine.commit.assert_not_called()

    def test_chunks_are_a_file(self):
        stream = streams.Stream(iter([b'abc', b'', b'de']))
        self.assertEqual([b'ab', b'c', b'de', b''],
                         [stream.read(2) for _ in range(4)])
        self.assertEqual(b'abcd', streams.Stream(
            iter([b'ab', b'cd'])).read())
        self.assertTrue(stream.readable())


class TestPower(LifecycleCase):

    def setUp(self):
        super().setUp()
        self.instance = fakes.instance()
        self.vifs = [fakes.vif()]
        self.spawn(vifs=self.vifs)
        self.engine.calls.clear()
        self.network.reset_mock()

    def test_ports_that_nova_has_forgotten(self):
        self.lifecycle.destroy(self.instance, [])
        self.network.forget.assert_called_once_with(fakes.UUID)

    def test_what_went_with_its_namespace_comes_back(self):
        """As its policy says; the network is wired before it starts."""
        for text, code, revived in (
                ('restart: always', 0, True),
                ('restart: unless-stopped', 137, True),
                ('restart: on-failure', 1, True),
                ('restart: on-failure', 0, False),
                ('restart: "no"', 137, False)):
            instance = fakes.instance(f'#docker-config\n{text}')
            self.network.reset_mock()
            for name in (names.sandbox(fakes.UUID),
                         names.container(fakes.UUID)):
                self.engine.kill(name)
            own = self.engine._id(names.container(fakes.UUID))
            self.engine.states[own]['exit_code'] = code
            self.assertEqual(revived, self.lifecycle.revive(
                instance, self.vifs), text)
            self.assertEqual(revived, self.network.connect.called, text)
            self.assertEqual('running' if revived else 'exited',
                             self.engine.states[own]['status'])

    def test_what_nobody_wants_to_run_stays(self):
        always = '#docker-config\nrestart: always'
        # Its namespace is there: the Engine itself restarts it.
        self.engine.kill(names.container(fakes.UUID))
        self.assertFalse(self.lifecycle.revive(fakes.instance(always),
                                               self.vifs))
        self.engine.kill(names.sandbox(fakes.UUID))
        for changes in ({'vm_state': 'stopped'},
                        {'task_state': 'powering-off'}):
            self.assertFalse(self.lifecycle.revive(
                fakes.instance(always, **changes), self.vifs))

    def hosts(self):
        return (self.files._root / fakes.UUID / 'hosts').read_text()

    def test_one_more_port_and_one_less(self):
        new = fakes.vif(2)
        self.lifecycle.attach_port(self.instance, new, self.vifs)
        self.network.attach.assert_called_once_with(
            self.instance, new, self.vifs, mock.ANY)
        self.assertIn('10.0.0.12 web', self.hosts())
        self.assertEqual(['inspect'], self.engine.calls)
        self.lifecycle.detach_port(self.instance, new, self.vifs)
        self.network.detach.assert_called_once_with(self.instance, new,
                                                    mock.ANY)
        self.assertNotIn('10.0.0.12', self.hosts())

    def test_a_port_for_a_namespace_that_is_not_there_now(self):
        """It is wired when the server starts."""
        self.engine.kill(names.sandbox(fakes.UUID))
        self.lifecycle.attach_port(self.instance, fakes.vif(2), self.vifs)
        self.network.attach.assert_not_called()
        self.assertIn('10.0.0.12 web', self.hosts())

    def test_a_port_for_a_server_without_a_network(self):
        self.engine.remove(names.sandbox(fakes.UUID))
        with self.assertRaisesRegex(errors.Unsupported, 'without ports'):
            self.lifecycle.attach_port(self.instance, fakes.vif(2), [])
        self.lifecycle.detach_port(self.instance, fakes.vif(2), [])

    def test_destroy_costs_three_calls_and_leaves_nothing(self):
        self.lifecycle.destroy(self.instance, self.vifs)
        self.assertEqual(['containers', 'remove', 'remove'],
                         self.engine.calls)
        self.network.disconnect.assert_called_once_with(
            self.instance, self.vifs)
        self.assert_nothing_left()

    def test_destroy_of_nothing_succeeds(self):
        self.lifecycle.destroy(self.instance, self.vifs)
        self.lifecycle.destroy(self.instance, [])

    def test_stop_gives_time_or_none(self):
        self.lifecycle.power_off(self.instance, 10)
        self.assertEqual(['stop'], self.engine.calls)
        self.lifecycle.power_off(self.instance, 0, self.vifs)
        self.assertEqual('kill', self.engine.calls[-1])
        self.network.set_links.assert_called_with(self.vifs, False)

    def test_start_restores_the_network_first(self):
        self.lifecycle.power_off(self.instance, 0)
        self.lifecycle.power_on(self.instance, self.vifs)
        self.network.restore.assert_called_once()
        self.assertEqual('start', self.engine.calls[-1])

    def test_start_after_the_sandbox_stopped_wires_anew(self):
        self.engine.states['id1'] = {'status': 'exited'}
        self.lifecycle.power_on(self.instance, self.vifs)
        self.network.connect.assert_called_once()

    def test_start_without_a_sandbox_says_so(self):
        self.engine.remove('id1')
        with self.assertRaisesRegex(errors.ProcessFailed, 'lost'):
            self.lifecycle.power_on(self.instance, self.vifs)

    def test_a_switch_that_does_not_answer_keeps_no_files(self):
        self.network.disconnect.side_effect = (
            exception.VirtualInterfacePlugException('no switch'))
        with self.assertRaises(exception.VirtualInterfacePlugException):
            self.lifecycle.destroy(self.instance, self.vifs)
        self.assert_nothing_left()

    def test_nova_compute_starts_whatever_is_wrong_with_one_server(self):
        for failure in (errors.EngineTimeout('x'), errors.ForeignContainer()):
            self.engine.failures = {'inspect': [failure]}
            with self.assertRaises(exception.VirtualInterfacePlugException):
                self.lifecycle.restore_network(self.instance, self.vifs)

    def test_a_specification_of_another_age_does_not_keep_it_running(self):
        odd = fakes.instance('#docker-config\nunheard_of: 1')
        self.lifecycle.power_off(odd, 10)
        self.lifecycle.crash(odd)
        self.assertEqual((['stop', 'kill'], ['SIGQUIT']),
                         (self.engine.calls, self.engine.signals))

    def test_what_is_not_there_is_not_found(self):
        self.lifecycle.destroy(self.instance, self.vifs)
        for act in (lambda: self.lifecycle.power_off(self.instance, 1),
                    lambda: self.lifecycle.inspect(self.instance),
                    lambda: self.reboot(hard=False)):
            with self.assertRaises(exception.InstanceNotFound):
                act()

    def reboot(self, hard):
        self.lifecycle.reboot(CONTEXT, self.instance, self.vifs, hard, 60,
                              fakes.policy())

    def test_reboot_ends_one_process_and_starts_another(self):
        self.reboot(hard=False)
        self.assertEqual(['inspect', 'stop', 'inspect', 'start'],
                         self.engine.calls)
        self.engine.calls.clear()
        self.reboot(hard=True)
        self.assertEqual(['inspect', 'kill', 'inspect', 'start'],
                         self.engine.calls)

    def test_a_hard_reboot_makes_a_lost_container_anew(self):
        self.instance = fakes.instance(WITH_SECRET)
        self.secret.side_effect = [b'again']
        self.engine.remove('id2')
        with mock.patch.object(type(self.instance), 'image_meta',
                               fakes.image_meta(), create=True):
            self.reboot(hard=True)
        self.assertEqual(
            ('PASSWORD=again',),
            self.engine.specs[list(self.engine.specs)[-1]].environment)
        self.assertEqual({'running'}, {state['status'] for state
                                       in self.engine.states.values()})

    def test_pause_and_unpause(self):
        self.lifecycle.pause(self.instance, self.vifs)
        self.assertEqual('paused',
                         self.lifecycle.inspect(self.instance).status)
        self.lifecycle.unpause(self.instance, self.vifs)
        self.assertEqual('running',
                         self.lifecycle.inspect(self.instance).status)
        self.lifecycle.pause(self.instance, self.vifs)
        self.lifecycle.resume(self.instance, self.vifs)
        self.assertEqual(
            [mock.call(self.vifs, up)
             for up in (False, True, False, True)],
            self.network.set_links.call_args_list)

    def test_what_is_done_already_is_no_error(self):
        for act, status in ((self.lifecycle.unpause, 'running'),
                            (self.lifecycle.pause, 'paused')):
            for found in ('running', 'paused'):
                self.engine.states['id2'] = {'status': found}
                self.engine.failures = {
                    act.__name__: [errors.EngineError('no')]}
                if found == status:
                    act(self.instance)
                else:
                    self.assertRaises(errors.EngineError, act, self.instance)
        self.engine.failures = {'pause': [errors.EngineTimeout('x')]}
        with self.assertRaises(errors.EngineTimeout):
            self.lifecycle.pause(self.instance)

    def test_all_servers_are_listed_with_one_call(self):
        self.assertEqual({fakes.UUID: fakes.UUID},
                         self.lifecycle.instances('c1'))
        self.assertEqual(['containers'], self.engine.calls)

    def test_the_console_is_the_end_of_the_log(self):
        self.engine.log = b'abcdef'
        self.assertEqual(b'def', self.lifecycle.console(self.instance, 9, 3))

    def test_a_restart_of_the_service_only_restores(self):
        self.lifecycle.restore_network(self.instance, self.vifs)
        self.network.restore.assert_called_once()
        self.lifecycle.restore_network(self.instance, [])
        self.engine.states['id1'] = {'status': 'exited'}
        self.lifecycle.restore_network(self.instance, self.vifs)
        self.network.restore.assert_called_once()
        self.lifecycle.disconnect(self.instance, self.vifs)
        self.network.disconnect.assert_called_once()

    def test_a_container_with_other_labels_is_not_taken(self):
        spec = self.engine.specs['id2']
        self.engine.specs['id2'] = mock.Mock(labels={}, image='x')
        self.engine.specs['id2'].name = spec.name
        for act in (lambda: self.lifecycle.power_on(self.instance, []),
                    lambda: self.lifecycle.power_state(
                        self.instance, fakes.HOST, False)):
            with self.assertRaises(exception.InstanceNotFound):
                act()
