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

"""The facade and its contract with Nova."""

import ast
import inspect
from pathlib import Path
import unittest
from unittest import mock

from nova.api.validation.extra_specs import validators
from nova import exception
from nova.virt import driver as virt_driver
from nova.virt import event as virtevent
import os_vif

import nova_docker_driver
from nova_docker_driver import driver
from nova_docker_driver import errors
from nova_docker_driver import events
from nova_docker_driver import health
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import spec
from nova_docker_driver import vif_entry
from tests.unit.nova_docker_driver import fakes


class TestContract(unittest.TestCase):

    def test_nova_loads_it_by_its_name(self):
        found = virt_driver.load_compute_driver(mock.Mock(),
                                                'docker.DockerDriver')
        self.assertIsInstance(found, driver.DockerDriver)

    def test_os_vif_accepts_the_plug_in(self):
        plugin = vif_entry.Plugin.load('docker')
        self.assertEqual([], plugin.describe().vif_info)
        for verb in (plugin.plug, plugin.unplug):
            self.assertRaises(NotImplementedError, verb, None, None)
        self.assertTrue(os_vif)

    def test_signatures_are_nova_s(self):
        base = virt_driver.ComputeDriver
        for name, method in vars(driver.DockerDriver).items():
            if name.startswith('_') or not inspect.isfunction(method):
                continue
            expected = inspect.signature(getattr(base, name)).parameters
            found = inspect.signature(method).parameters
            self.assertEqual(
                [(key, value.default) for key, value in expected.items()],
                [(key, value.default) for key, value in found.items()], name)

    def test_capabilities_are_claimed_one_by_one(self):
        claimed = {name for name, value
                   in driver.DockerDriver.capabilities.items() if value}
        self.assertEqual({'supports_image_type_raw', 'supports_pcpus'},
                         claimed)

    def test_a_mistyped_extra_spec_is_refused(self):
        validators.load_validators()
        for name, value in (
                ('pids_limit', '5'), ('cap_add', 'NET_RAW,CAP_SYS_NICE'),
                ('privileged', 'true'), ('devices', 'fuse,kvm'),
                ('gpus', '2'), ('runtime', 'runsc'),
                ('seccomp_profile', 'audit'), ('log_max_size', '20'),
                ('ulimits', 'nofile=1024:4096,core=0'), ('userns', 'host'),
                ('profile', 'restricted'), ('cpu_limit', 'soft')):
            validators.validate(f'docker:{name}', value)
        for name, value in (('docker:pids_limit', '0'),
                            ('docker:privilegd', 'true'),
                            ('docker:privileged', 'perhaps'),
                            ('docker:cap_add', 'NET RAW'),
                            ('docker:ulimits', 'nofile'),
                            ('docker:profile', 'none'),
                            ('docker:gpus', 'all')):
            with self.assertRaises(exception.ValidationError):
                validators.validate(name, value)


class TestFacade(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.driver = driver.DockerDriver(mock.Mock())
        self.lifecycle = self.driver._lifecycle = mock.Mock()
        self.engine = fakes.Engine()
        self.driver._hostinfo._engine = self.engine
        self.instance = fakes.instance()

    def test_delegations(self):
        d, i = self.driver, self.instance
        d.spawn(None, i, None, [], None, {}, network_info=None)
        d.destroy(None, i, None)
        d.cleanup(None, i, None)
        d.power_on(None, i, None)
        d.power_off(i, 3, 1)
        d.reboot(None, i, None, 'HARD')
        d.pause(i)
        d.unpause(i)
        d.plug_vifs(i, None)
        d.unplug_vifs(i, None)
        d.resume_state_on_host_boot(None, i, None, None)
        d.get_console_output(None, i)
        d.suspend(None, i)
        d.resume(None, i, None)
        d.rescue(None, i, None, None, None, None, None)
        d.trigger_crash_dump(i)
        self.assertEqual(
            ['spawn', 'destroy', 'destroy', 'power_on', 'power_off',
             'reboot', 'pause', 'unpause', 'restore_network', 'disconnect',
             'power_on', 'console', 'pause', 'resume', 'rescue', 'crash'],
            [call[0] for call in self.lifecycle.method_calls])
        self.assertEqual([], self.lifecycle.spawn.call_args[0][3])

    def test_what_there_is(self):
        self.lifecycle.power_state.return_value = 1
        self.assertEqual(1, self.driver.get_info(self.instance).state)
        self.assertTrue(self.driver.instance_exists(self.instance))
        self.lifecycle.inspect.side_effect = exception.InstanceNotFound(
            instance_id='x')
        self.assertFalse(self.driver.instance_exists(self.instance))
        self.lifecycle.instance_uuids.return_value = ['a', 'b']
        self.assertEqual(2, self.driver.get_num_instances())
        self.assertEqual(['a', 'b'], self.driver.list_instances())
        self.assertEqual([self.driver._host],
                         self.driver.get_available_nodes())
        self.assertTrue(self.driver.get_host_ip_addr())

    def test_the_engine_is_down(self):
        self.lifecycle.instance_uuids.side_effect = errors.EngineTimeout('x')
        with self.assertRaises(exception.VirtDriverNotReady):
            self.driver.list_instance_uuids()
        self.lifecycle.pause.side_effect = errors.EngineUnavailable('gone')
        with self.assertRaises(exception.HypervisorUnavailable):
            self.driver.pause(self.instance)

    def test_resources(self):
        found = self.driver.get_available_resource('c1')
        self.assertEqual('c1', found['hypervisor_hostname'])
        tree = mock.Mock()
        tree.data.return_value.inventory = {}
        tree.data.return_value.traits = {'HW_CPU_X86_OLD', 'CUSTOM_MINE'}
        self.driver.update_provider_tree(tree, 'c1')
        self.assertIn('VCPU', tree.update_inventory.call_args[0][1])
        self.assertIn('HW_ARCH_X86_64', tree.add_traits.call_args[0])
        tree.remove_traits.assert_called_once_with('c1', 'HW_CPU_X86_OLD')
        self.assertEqual(1, self.engine.calls.count('facts'))

    def test_the_service_starts_and_stops(self):
        with mock.patch.object(events, 'Listener') as listener:
            self.driver.init_host('c7')
            self.driver.cleanup_host('c7')
        self.assertEqual(['c7'], self.driver.get_available_nodes())
        listener.return_value.start.assert_called_once()
        listener.return_value.stop.assert_called_once()
        self.driver._listener = None
        self.driver.cleanup_host('c7')

    def test_without_an_engine_the_service_does_not_start(self):
        self.engine.failures = {'facts': [errors.EngineUnavailable('no')]}
        with self.assertRaises(exception.HypervisorUnavailable):
            self.driver.init_host('c7')

    def test_a_weakening_is_logged(self):
        caps = [*spec.BASELINE_CAPS, 'NET_RAW']
        with self.assertLogs(driver.LOG.logger, 'WARNING') as logs:
            driver.CONF.set_override('allowed_caps', caps, 'docker')
            self.addCleanup(driver.CONF.clear_override, 'allowed_caps',
                            'docker')
            self.driver._report('c1')
        self.assertIn('CAP_NET_RAW', logs.output[0])

    def test_refusals_that_do_no_damage(self):
        d, i = self.driver, self.instance
        with self.assertRaises(NotImplementedError):
            d.snapshot(None, i, 'id', None)
        self.lifecycle.power_on.assert_not_called()
        shelved = mock.Mock(task_state='shelving')
        shelved.info_cache.network_info = []
        with self.assertRaises(NotImplementedError):
            d.snapshot(None, shelved, 'id', None)
        self.lifecycle.power_on.assert_called_once()
        with self.assertRaises(exception.MigrationPreCheckError):
            d.check_can_live_migrate_destination(None, i, None, None)
        for console in (d.get_vnc_console, d.get_spice_console,
                        d.get_serial_console):
            with self.assertRaises(exception.ConsoleTypeUnavailable):
                console(None, i)


class TestErrors(unittest.TestCase):

    def test_what_a_build_does(self):
        for error, kind in (
                (errors.InvalidSpec('x'), exception.InvalidInput),
                (errors.InvalidImage('x'), exception.InvalidInput),
                (errors.ProcessFailed('x'), exception.BuildAbortException),
                (errors.EngineTimeout('x'),
                 exception.ComputeResourcesUnavailable),
                (errors.TransferFailed('x'),
                 exception.ComputeResourcesUnavailable)):
            self.assertIsInstance(
                errors.to_build_failure(error, fakes.UUID), kind)
        self.assertIs(exception.NovaException,
                      type(errors.to_nova(errors.ProcessFailed('x'))))


class TestListener(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.engine = mock.Mock()
        self.told = []
        self.listener = events.Listener(
            self.engine, 'c1', lambda e: self.told.append(
                ('emit', e.transition)),
            lambda e: self.told.append(('report', e.action)))

    def event(self, action, role=names.ROLE_SERVER):
        return models.Event(fakes.UUID, role, 'id', action, 10**9)

    def test_the_outcome_is_recorded_before_nova_is_told(self):
        with mock.patch.object(self.listener, '_repeat'):
            self.listener._handle(self.event('die'))
        self.assertEqual(
            [('report', 'die'),
             ('emit', virtevent.EVENT_LIFECYCLE_STOPPED)], self.told)

    def test_a_sandbox_tells_nothing(self):
        self.listener._handle(self.event('die', names.ROLE_SANDBOX))
        self.assertEqual([], self.told)

    def test_an_end_is_told_again_if_it_still_is_one(self):
        for status, told in (('exited', 1), ('running', 0)):
            self.told.clear()
            self.engine.inspect.return_value = models.Container(
                'id', 'n', {}, status)
            self.listener._tell_if_ended(fakes.UUID)
            self.assertEqual(told, len(self.told))
        self.engine.inspect.side_effect = errors.NotFound('gone')
        self.listener._tell_if_ended(fakes.UUID)
        self.assertEqual(0, len(self.told))

    def test_repetitions_are_timed(self):
        with mock.patch.object(events.threading, 'Timer') as timer:
            self.listener._repeat(fakes.UUID)
        self.assertEqual(list(events._REPETITIONS),
                         [call[0][0] for call in timer.call_args_list])

    def test_a_broken_stream_is_made_good(self):
        labels = names.labels(fakes.UUID, names.ROLE_SERVER, 'c1')
        box = names.labels(fakes.UUID, names.ROLE_SANDBOX, 'c1')
        self.engine.containers.return_value = [
            models.Container('id', names.container(fakes.UUID), labels,
                             'exited'),
            models.Container('ib', names.sandbox(fakes.UUID), box,
                             'exited')]
        streams = [errors.EngineUnavailable('restart'), [], None]

        def follow(since):
            stream = streams.pop(0)
            if stream is None:
                self.listener.stop()
                return [self.event('start')]
            if isinstance(stream, Exception):
                raise stream
            return stream
        self.engine.events.side_effect = follow
        with mock.patch.object(events, '_FIRST_PAUSE', 0):
            self.listener.start()
            self.listener._thread.join(20)
        self.assertEqual(
            [('emit', virtevent.EVENT_LIFECYCLE_STOPPED)] * 2, self.told)
        self.listener._tell_if_ended(fakes.UUID)

    def test_the_engine_stays_away(self):
        self.engine.containers.side_effect = errors.EngineTimeout('x')
        self.assertEqual(5.0, self.listener._resynchronise(5.0))

    def test_one_bad_event_does_not_end_the_thread(self):
        bad = events.Listener(self.engine, 'c1', self.told.append,
                              mock.Mock(side_effect=ValueError))
        bad._handle(self.event('start'))
        self.assertEqual(1, len(self.told))


class TestReporter(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.instance = mock.Mock(metadata={'mine': '1'}, task_state=None)
        patch = mock.patch.object(health.objects.Instance, 'get_by_uuid',
                                  return_value=self.instance)
        self.get = patch.start()
        self.addCleanup(patch.stop)
        self.engine = mock.Mock()
        self.engine.inspect.return_value = models.Container(
            'id', 'n', {}, 'exited', oom_killed=True, health='unhealthy')
        self.reporter = health.Reporter(self.engine)

    def report(self, action, code=None):
        self.reporter.report(models.Event(
            fakes.UUID, names.ROLE_SERVER, 'id', action, 0, code))

    def test_an_end(self):
        self.report('die', 137)
        self.assertEqual(
            {'mine': '1', 'docker:exit_code': '137',
             'docker:oom_killed': 'true', 'docker:health': 'unhealthy'},
            self.instance.metadata)
        self.instance.save.assert_called_once_with()

    def test_a_start_forgets_the_last_end(self):
        self.instance.metadata = {'docker:exit_code': '1', 'mine': '1'}
        self.report('start')
        self.assertEqual({'mine': '1'}, self.instance.metadata)

    def test_nothing_new_is_not_written(self):
        self.report('start')
        self.report('pause')
        self.instance.save.assert_not_called()

    def test_a_server_that_goes_or_has_gone(self):
        self.instance.task_state = 'deleting'
        self.engine.inspect.side_effect = errors.NotFound('x')
        self.report('die', 0)
        self.instance.save.assert_not_called()
        self.get.side_effect = exception.InstanceNotFound(instance_id='x')
        self.report('die', 0)


class TestLayering(unittest.TestCase):
    """Imports point one way."""

    ROWS = (
        ('vif_entry', 'extra_specs', 'composekeys'),
        ('models', 'errors', 'names'),
        ('units', 'grants', 'inventory', 'states', 'archive', 'netns',
         'guestfiles', 'cgroups'),
        ('specvalues', 'spec', 'diagnostics'),
        ('userspec', 'conf', 'hardening'),
        ('engine',),
        ('sandbox', 'network', 'images', 'hostinfo', 'snapshot', 'health',
         'disk'),
        ('lifecycle', 'guest', 'events'),
        ('driver', 'check'),
    )
    PURE = ('models', 'names', 'states', 'archive', 'composekeys', 'units',
            'grants', 'specvalues', 'userspec', 'spec', 'inventory',
            'hardening')
    IMPURE = {'os', 'time', 'socket', 'subprocess', 'docker', 'requests',
              'oslo_config', 'oslo_log', 'threading'}

    def imports(self, module):
        root = Path(nova_docker_driver.__file__).parent
        tree = ast.parse((root / f'{module}.py').read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, '') for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((node.module, alias.name)
                            for alias in node.names)

    def test_every_module_has_a_row(self):
        root = Path(nova_docker_driver.__file__).parent
        self.assertEqual(
            {path.stem for path in root.glob('*.py')} - {'__init__'},
            {module for row in self.ROWS for module in row})

    def test_a_module_imports_lower_rows_only(self):
        row_of = {module: number for number, row in enumerate(self.ROWS)
                  for module in row}
        for module, row in row_of.items():
            for package, name in self.imports(module):
                if package == 'nova_docker_driver':
                    self.assertLess(row_of[name], row, (module, name))

    def test_pure_modules_touch_nothing(self):
        for module in self.PURE:
            touched = {package.split('.')[0] for package, _
                       in self.imports(module)}
            self.assertFalse(touched & self.IMPURE, module)

    def test_only_the_port_knows_the_sdk_and_nobody_knows_heat(self):
        for row in self.ROWS:
            for module in row:
                packages = {package.split('.')[0] for package, _
                            in self.imports(module)}
                self.assertNotIn('heat_plugins', packages)
                if module != 'engine':
                    self.assertNotIn('docker', packages, module)
