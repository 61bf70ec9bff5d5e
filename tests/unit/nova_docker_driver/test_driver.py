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
import contextlib
import inspect
from pathlib import Path
import unittest
from unittest import mock

from nova.api.validation.extra_specs import validators
from nova import exception
from nova.virt import driver as virt_driver
import os_vif

import nova_docker_driver
from nova_docker_driver import availability
from nova_docker_driver import consoles
from nova_docker_driver import disk
from nova_docker_driver import driver
from nova_docker_driver import errors
from nova_docker_driver import events
from nova_docker_driver import guest
from nova_docker_driver import models
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
        self.assertEqual({
            'supports_image_type_raw', 'supports_pcpus', 'has_imagecache',
            'supports_trusted_certs', 'supports_attach_interface',
            'supports_device_tagging'}, claimed)

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
        self.driver._image_cache._engine = self.engine
        self.instance = fakes.instance()
        self.instance.info_cache = None

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
        self.lifecycle.console.return_value = b'\xff.'
        self.assertEqual('\ufffd.', d.get_console_output(None, i))
        d.suspend(None, i)
        d.resume(None, i, None)
        d.rescue(None, i, None, None, None, None, None)
        d.trigger_crash_dump(i)
        d.snapshot(None, mock.MagicMock(), 'id', None)
        self.assertEqual(
            ['spawn', 'destroy', 'destroy', 'power_on', 'power_off',
             'reboot', 'pause', 'unpause', 'restore_network', 'disconnect',
             'power_on', 'console', 'pause', 'resume', 'rescue', 'crash',
             'take_snapshot'],
            [call[0] for call in self.lifecycle.method_calls])
        self.assertEqual([], self.lifecycle.spawn.call_args[0][3])

    def test_a_rebuild_is_ours_where_there_is_something_to_keep(self):
        instance = mock.Mock()

        def rebuild(**kwargs):
            self.driver.rebuild(None, instance, None, [], None, {}, [], None,
                                None, **kwargs)
        rebuild(reimage_boot_volume=True)
        instance.save.assert_called_once_with(
            expected_task_state=['rebuilding'])
        self.assertEqual('rebuild_spawning', instance.task_state)
        self.lifecycle.rebuild.assert_called_once()
        with self.assertRaises(NotImplementedError):
            rebuild(evacuate=True)
        with self.assertRaises(exception.PreserveEphemeralNotSupported):
            rebuild(preserve_ephemeral=True)

    def test_what_there_is(self):
        self.lifecycle.power_state.return_value = 1
        self.assertEqual(1, self.driver.get_info(self.instance).state)
        self.assertTrue(self.driver.instance_exists(self.instance))
        self.lifecycle.inspect.side_effect = exception.InstanceNotFound(
            instance_id='x')
        self.assertFalse(self.driver.instance_exists(self.instance))
        self.lifecycle.instances.return_value = {'a': '1', 'b': '2'}
        self.assertEqual(2, self.driver.get_num_instances())
        self.assertEqual(['a', 'b'], self.driver.list_instance_uuids())
        self.assertEqual(['1', '2'], self.driver.list_instances())
        self.assertEqual([self.driver._host],
                         self.driver.get_available_nodes())
        self.assertTrue(self.driver.get_host_ip_addr())

    def test_the_engine_is_down(self):
        self.lifecycle.instances.side_effect = errors.EngineTimeout('x')
        with self.assertRaises(exception.VirtDriverNotReady):
            self.driver.list_instance_uuids()
        self.lifecycle.pause.side_effect = errors.EngineUnavailable('gone')
        with self.assertRaises(exception.HypervisorUnavailable):
            self.driver.pause(self.instance)

    def test_ports_come_and_go(self):
        old, new = fakes.vif(1), fakes.vif(2)
        tagged = driver.objects.VirtualInterface(
            address='fa:16:3e:00:00:01', tag='front')
        plain = driver.objects.VirtualInterface(
            address='fa:16:3e:00:00:02', tag=None)
        self.enterContext(mock.patch.object(
            driver.objects.VirtualInterfaceList, 'get_by_instance_uuid',
            return_value=[tagged, plain]))
        save = self.enterContext(mock.patch.object(type(self.instance),
                                                   'save'))
        self.enterContext(mock.patch.object(
            type(self.instance), 'get_network_info',
            return_value=[old, new]))
        self.driver.attach_interface(None, self.instance, None, new)
        self.lifecycle.attach_port.assert_called_once_with(
            self.instance, new, [old])
        self.driver.detach_interface(None, self.instance, new)
        device, = self.instance.device_metadata.devices
        self.assertEqual(('fa:16:3e:00:00:01', ['front']), (
            device.mac, device.tags))
        save.assert_called_once_with()
        self.lifecycle.detach_port.assert_called_once_with(
            self.instance, new, [old])
        self.lifecycle.attach_port.side_effect = errors.Unsupported('x')
        self.lifecycle.detach_port.side_effect = errors.EngineTimeout('x')
        with self.assertRaises(exception.InterfaceAttachFailed):
            self.driver.attach_interface(None, self.instance, None, new)
        with self.assertRaises(exception.InterfaceDetachFailed):
            self.driver.detach_interface(None, self.instance, new)

    def test_what_the_engine_cannot_start_again(self):
        self.lifecycle.revive.return_value = True
        with mock.patch.object(driver.objects.Instance, 'get_by_uuid',
                               return_value=self.instance) as found:
            with mock.patch.object(type(self.instance), 'get_network_info',
                                   return_value=[]):
                self.assertTrue(self.driver._revive('u'))
                self.lifecycle.revive.side_effect = errors.EngineTimeout('x')
                self.assertFalse(self.driver._revive('u'))
            found.side_effect = exception.InstanceNotFound(instance_id='u')
            self.assertFalse(self.driver._revive('u'))

    def test_the_cache_of_images(self):
        request = mock.Mock()
        self.driver._images = request
        request.has.return_value = True
        self.assertFalse(self.driver.cache_image(None, 'image'))
        request.has.return_value = False
        request.held.return_value = contextlib.nullcontext()
        self.assertTrue(self.driver.cache_image(None, 'image'))
        cache = self.driver._image_cache = mock.Mock()
        self.driver.manage_image_cache(None, [mock.Mock(image_ref='a')])
        cache.prune.assert_called_once_with({'a'}, 86400)
        driver.CONF.set_override('remove_unused_base_images', False,
                                 'image_cache')
        self.addCleanup(driver.CONF.clear_override,
                        'remove_unused_base_images', 'image_cache')
        self.driver.manage_image_cache(None, [])
        cache.prune.assert_called_once()

    def test_resources(self):
        self.engine.stored = [models.StoredImage('nova-docker/a', 'x', 9)]
        found = self.driver.get_available_resource('c1')
        self.assertEqual('c1', found['hypervisor_hostname'])
        tree = mock.Mock()
        tree.data.return_value.inventory = {}
        tree.data.return_value.traits = {'HW_CPU_X86_OLD', 'CUSTOM_MINE'}
        self.driver.update_provider_tree(tree, 'c1')
        found = tree.update_inventory.call_args[0][1]
        self.assertIn('VCPU', found)
        self.assertEqual(1, found['DISK_GB']['reserved'])
        self.assertIn('HW_ARCH_X86_64', tree.add_traits.call_args[0])
        tree.remove_traits.assert_called_once_with('c1', 'HW_CPU_X86_OLD')
        self.assertEqual(1, self.engine.calls.count('facts'))

    def test_the_service_starts_and_stops(self):
        leftovers = self.driver._leftovers = mock.Mock()
        with (mock.patch.object(
                driver.objects.InstanceList, 'get_by_host',
                return_value=[self.instance]),
              mock.patch.object(events, 'Listener') as listener,
              mock.patch.object(availability, 'Watchdog') as watchdog):
            self.driver.init_host('c7')
            self.driver.cleanup_host('c7')
        (known, is_anywhere), _ = leftovers.remove.call_args
        self.assertEqual({self.instance.uuid}, known)
        with mock.patch.object(driver.objects.Instance, 'get_by_uuid') as get:
            self.assertTrue(is_anywhere('u'))
            get.side_effect = exception.InstanceNotFound(instance_id='u')
            self.assertFalse(is_anywhere('u'))
        self.assertEqual(['c7'], self.driver.get_available_nodes())
        for service in (listener, watchdog):
            service.return_value.start.assert_called_once()
            service.return_value.stop.assert_called_once()
        self.driver.cleanup_host('c7')

    def test_disks_are_watched_unless_the_operator_says_none(self):
        def kinds():
            return [type(service) for service
                    in self.driver._build_services('c7')]
        self.driver._hostinfo.read('c7')
        self.assertIn(disk.Watcher, kinds())
        driver.CONF.set_override('disk_enforcement', 'none', 'docker')
        self.addCleanup(driver.CONF.clear_override, 'disk_enforcement',
                        'docker')
        self.assertNotIn(disk.Watcher, kinds())

    def test_the_engine_is_awaited(self):
        self.engine.failures = {'facts': [errors.EngineUnavailable('no')]}
        with mock.patch('time.sleep') as sleep:
            self.driver._await_engine('c7')
        sleep.assert_called_once_with(1)

    def test_an_engine_that_is_too_old_is_not_awaited(self):
        self.engine.failures = {'facts': [errors.EngineTooOld('1.40')]}
        with self.assertRaises(errors.EngineTooOld):
            self.driver._await_engine('c7')

    def test_without_an_engine_the_service_does_not_start(self):
        self.engine.failures = {'facts': [errors.EngineUnavailable('no')]}
        driver.CONF.set_override('start_timeout', 0, 'docker')
        self.addCleanup(driver.CONF.clear_override, 'start_timeout', 'docker')
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
        with self.assertRaises(exception.MigrationPreCheckError):
            d.check_can_live_migrate_destination(None, i, None, None)
        for console in (d.get_vnc_console, d.get_spice_console):
            with self.assertRaises(exception.ConsoleTypeUnavailable):
                console(None, i)

    def test_a_console_is_offered(self):
        d, i = self.driver, self.instance
        running = models.Container('c', 'n', {}, 'running')
        self.lifecycle.inspect.return_value = running
        d._consoles = mock.Mock()
        d._consoles.offer.return_value = consoles.Offer('127.0.0.1', 7, '/x')
        found = d.get_serial_console(None, i)
        self.assertEqual(('127.0.0.1', 7, '/x'), (
            found.host, found.port, found.internal_access_path))
        self.lifecycle.inspect.return_value = models.Container(
            'c', 'n', {}, 'exited')
        with self.assertRaises(exception.InstanceNotReady):
            d.get_serial_console(None, i)
        d._guest = guest.Guest(self.engine)
        with self.assertRaises(exception.ConsoleTypeUnavailable):
            d.get_serial_console(None, i)


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


class TestLayering(unittest.TestCase):
    """Imports point one way."""

    ROWS = (
        ('vif_entry', 'extra_specs', 'composekeys', 'hostmodels', 'flights',
         'streams'),
        ('models', 'errors', 'names'),
        ('units', 'grants', 'inventory', 'states', 'netns', 'imagemodels',
         'guestfiles', 'cgroups', 'plainyaml', 'enginedocs', 'tarstream',
         'arrival', 'switch'),
        ('specfiles', 'spec', 'diagnostics', 'unpacking', 'imageconfig'),
        ('specvalues', 'layers', 'imagedocs', 'imageconf'),
        ('archive',),
        ('publishing',),
        ('userspec', 'conf', 'hardening', 'keymanager'),
        ('servers', 'engine', 'references', 'credentials'),
        ('registry',),
        ('network', 'images', 'snapshot', 'health', 'disk', 'signals',
         'consoles', 'availability', 'containers', 'pcidevices'),
        ('sandbox', 'hostinfo', 'snapshots', 'imagecache', 'devices',
         'leftovers'),
        ('lifecycle', 'guest', 'events'),
        ('driver', 'check'),
    )
    PURE = ('models', 'names', 'states', 'archive', 'composekeys', 'units',
            'tarstream', 'unpacking', 'layers', 'imagedocs', 'imageconfig',
            'imagemodels', 'publishing', 'references', 'streams',
            'grants', 'specvalues', 'userspec', 'spec', 'inventory',
            'hardening', 'servers', 'plainyaml', 'specfiles', 'hostmodels',
            'enginedocs')
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
                # The second one reads files; it talks to nobody.
                if module not in ('engine', 'credentials'):
                    self.assertNotIn('docker', packages, module)
