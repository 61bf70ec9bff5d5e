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

"""Suspending, rescuing, passwords, diagnostics: what is done to a guest."""

from pathlib import Path
import tempfile
import unittest
from unittest import mock

from nova.compute import power_state
from nova import exception

from nova_docker_driver import cgroups
from nova_docker_driver import diagnostics
from nova_docker_driver import errors
from nova_docker_driver import guest
from nova_docker_driver import guestfiles
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import snapshot
from tests.unit.nova_docker_driver import fakes
from tests.unit.nova_docker_driver import test_lifecycle

NET_DEV = """Inter-|   Receive                        |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes
    lo:  96       1    0    0    0     0          0         0  96 1 0 0 0 0
  eth0: 1000     10    1    2    0     0          0         0 2000 20 3 4 0 0
"""


class TestStates(test_lifecycle.LifecycleCase):

    def setUp(self):
        super().setUp()
        self.instance = fakes.instance()
        self.spawn(self.instance)
        self.engine.calls.clear()

    def state(self, use_cache=False):
        return self.lifecycle.power_state(
            self.instance, fakes.HOST, use_cache)

    def test_a_fresh_state_is_one_call(self):
        self.assertEqual(power_state.RUNNING, self.state())
        self.assertEqual(['containers'], self.engine.calls)

    def test_what_is_cached_is_one_call_for_all(self):
        for _ in range(9):
            self.assertEqual(power_state.RUNNING, self.state(use_cache=True))
        self.assertEqual(['containers'], self.engine.calls)
        # What we do ourselves is seen at once.
        self.lifecycle.pause(self.instance)
        self.assertEqual(power_state.PAUSED, self.state(use_cache=True))

    def test_suspended_is_what_nova_paused_for_long(self):
        self.lifecycle.pause(self.instance)
        self.assertEqual(power_state.PAUSED, self.state())
        self.instance.vm_state = 'suspended'
        self.assertEqual(power_state.SUSPENDED, self.state())
        self.lifecycle.resume(self.instance, [])
        self.assertEqual(power_state.RUNNING, self.state())

    def test_a_suspended_process_that_was_lost_is_started(self):
        self.lifecycle.power_off(self.instance, 0)
        self.instance.vm_state = 'suspended'
        self.lifecycle.resume(self.instance, [])
        self.assertEqual('start', self.engine.calls[-1])

    def test_calls_without_a_port(self):
        for act, calls in (
                (lambda: self.lifecycle.pause(self.instance), ['pause']),
                (lambda: self.lifecycle.unpause(self.instance), ['unpause']),
                (lambda: self.lifecycle.power_off(self.instance, 9),
                 ['stop']),
                (lambda: self.lifecycle.power_on(self.instance, []),
                 ['inspect', 'start']),
                (lambda: self.lifecycle.reboot(
                    None, self.instance, [], False, 9, fakes.policy()),
                 ['inspect', 'stop', 'start']),
                (lambda: self.lifecycle.destroy(self.instance, []),
                 ['containers', 'remove']),
                (lambda: self.spawn(self.instance),
                 ['image', 'create', 'start', 'inspect'])):
            self.engine.calls.clear()
            act()
            self.assertEqual(calls, self.engine.calls)

    def test_a_crash_dump_is_the_signal_of_the_specification(self):
        self.lifecycle.crash(self.instance)
        self.lifecycle.crash(fakes.instance(
            '#docker-config\nx-nova: {crash_dump_signal: SIGABRT}'))
        self.assertEqual(['SIGQUIT', 'SIGABRT'], self.engine.signals)


class TestSnapshot(unittest.TestCase):

    def test_a_list_from_before_a_change_is_not_kept(self):
        engine = fakes.Engine()
        recent = snapshot.Snapshot(engine)
        listed = engine.containers

        def changing(**kwargs):
            found = listed(**kwargs)
            recent.invalidate()
            return found
        with mock.patch.object(engine, 'containers', changing):
            self.assertIsNone(recent.find(fakes.UUID, fakes.HOST))
        recent.find(fakes.UUID, fakes.HOST)
        recent.find(fakes.UUID, fakes.HOST)
        self.assertEqual(['containers'] * 2, engine.calls)


class TestRescue(test_lifecycle.LifecycleCase):

    def setUp(self):
        super().setUp()
        self.instance = fakes.instance()
        self.spawn(self.instance)
        self.lifecycle.power_off(self.instance, 0)
        for name in ('mount', 'umount'):
            patcher = mock.patch.object(guestfiles.nova_fs, name,
                                        autospec=True)
            setattr(self, name, patcher.start())
            self.addCleanup(patcher.stop)

    def rescue(self):
        self.lifecycle.rescue(None, self.instance, [], fakes.image_meta(),
                              fakes.policy())

    def container(self, name):
        return self.engine._container(self.engine._id(name))

    def test_another_container_has_the_files(self):
        self.rescue()
        self.mount.assert_called_once()
        fstype, _, place, options = self.mount.call_args[0]
        self.assertEqual('overlay', fstype)
        self.assertIn('lowerdir=/l,upperdir=/u,workdir=/w', options[1])
        self.assertIn('nosuid,nodev', options[1])
        spec = self.engine.specs[self.engine._id(
            names.rescue(fakes.UUID))]
        self.assertEqual(models.Mount(place, '/rescue', False),
                         spec.mounts[-1])
        self.assertTrue(spec.tty)
        self.assertEqual(64 * models.MIB, spec.memory)
        self.assertEqual(power_state.RUNNING, self.lifecycle.power_state(
            self.instance, fakes.HOST, False))

    def test_the_server_comes_back(self):
        self.rescue()
        self.instance.vm_state = 'rescued'
        self.lifecycle.unrescue(self.instance, [])
        self.assertEqual([names.container(fakes.UUID)], [
            spec.name for spec in self.engine.specs.values()])
        self.assertEqual('running', self.container(
            names.container(fakes.UUID)).status)

    def test_a_rescue_that_fails_leaves_the_server_running(self):
        self.engine.root = models.RootFs('zfs', {})
        with self.assertRaisesRegex(errors.Unsupported, 'zfs'):
            self.rescue()
        self.engine.root = None
        with self.assertRaisesRegex(errors.Unsupported, 'root file system'):
            self.rescue()
        self.assertEqual('running', self.container(
            names.container(fakes.UUID)).status)
        self.assertEqual(1, len(self.engine.specs))

    def test_too_many_layers_are_refused(self):
        self.engine.root = models.RootFs('overlay2', {
            'LowerDir': '/l:' * 3000, 'UpperDir': '/u', 'WorkDir': '/w'})
        with self.assertRaisesRegex(errors.Unsupported, 'too many layers'):
            self.rescue()

    def test_a_delete_removes_both_and_unmounts_first(self):
        self.rescue()
        with mock.patch.object(Path, 'is_mount', return_value=True):
            self.lifecycle.destroy(self.instance, [])
        self.umount.assert_called_once()
        self.assert_nothing_left()


class TestPassword(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.engine = fakes.Engine()
        self.guest = guest.Guest(self.engine)
        self.instance = fakes.instance()

    def set(self, user=None, password='s3cret'):
        self.guest.set_password(self.instance, 'c', user, password)

    def refused(self, words, **given):
        with self.assertRaisesRegex(
                exception.SetAdminPasswdNotSupported, words) as caught:
            self.set(**given)
        self.assertNotIn('s3cret', str(caught.exception))

    def test_it_goes_through_a_pipe(self):
        self.set()
        self.assertEqual((('chpasswd',), 'root', b'root:s3cret\n'),
                         self.engine.given)
        self.set('web')
        self.assertEqual(b'web:s3cret\n', self.engine.given[2])

    def test_refusals_name_the_reason(self):
        self.engine.failures['run'] = [errors.NotFound('x'),
                                       errors.InvalidRequest('s3cret')]
        self.refused('no chpasswd')
        self.refused('no chpasswd')
        self.engine.code = 1
        self.refused('code 1')
        self.refused('characters', user='a:b')
        self.refused('characters', password='s3cret\nroot:')
        self.instance.flavor.extra_specs = {'docker:profile': 'restricted'}
        self.refused('as root')


class TestUsage(unittest.TestCase):

    def read(self, files):
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            for path, text in {'proc/7/net/dev': NET_DEV, **files}.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text)
            return cgroups.usage(7, root / 'proc', root / 'groups')

    def test_version_1(self):
        found = self.read({
            'proc/7/cgroup': '4:memory:/d/x\n3:cpuacct,cpu:/d/x\n'
                             '2:blkio:/d/x\n1:pids:/d/x\n',
            'groups/memory/d/x/memory.usage_in_bytes': '4096\n',
            'groups/cpuacct/d/x/cpuacct.usage': '5000\n',
            'groups/pids/d/x/pids.current': '3\n',
            'groups/blkio/d/x/blkio.throttle.io_service_bytes':
                '8:0 Read 10\n8:0 Write 20\n8:16 Read 1\nTotal 31\n',
            'groups/blkio/d/x/blkio.throttle.io_serviced':
                '8:0 Read 2\n8:0 Write 4\nTotal 6\n'})
        self.assertEqual((5000, 4096, 3, 11, 20, 2, 4), (
            found.cpu_time, found.memory, found.processes, found.read_bytes,
            found.write_bytes, found.reads, found.writes))

    def test_version_2(self):
        found = self.read({
            'proc/7/cgroup': '0::/d/x\n',
            'groups/d/x/cpu.stat': 'usage_usec 5\nuser_usec 3\n',
            'groups/d/x/memory.current': '4096\n',
            'groups/d/x/pids.current': '3\n',
            'groups/d/x/io.stat':
                '8:0 rbytes=10 wbytes=20 rios=2 wios=4 dbytes=0\n'
                '8:16 rbytes=1 wbytes=0 rios=0 wios=0\n'})
        self.assertEqual((5000, 4096, 3, 11, 20, 2, 4), (
            found.cpu_time, found.memory, found.processes, found.read_bytes,
            found.write_bytes, found.reads, found.writes))

    def test_a_kernel_without_some_controllers(self):
        found = self.read({'proc/7/cgroup': '0::/d/x\n'})
        self.assertEqual((None, None, None), (
            found.cpu_time, found.memory, found.read_bytes))
        device, = found.devices
        self.assertEqual(('eth0', 1000, 10, 1, 2, 2000, 20, 3, 4), (
            device.name, device.rx_octets, device.rx_packets,
            device.rx_errors, device.rx_drop, device.tx_octets,
            device.tx_packets, device.tx_errors, device.tx_drop))

    def test_both_forms_of_nova(self):
        usage = self.read({'proc/7/cgroup': '0::/d/x\n',
                           'groups/d/x/memory.current': str(2**21)})
        container = models.Container(
            'c', 'n', {}, 'running', restarts=2,
            started_at='2026-01-01T00:00:00.123456789Z')
        plain = diagnostics.plain(usage, container)
        self.assertEqual((2048, 2, 1000), (
            plain['memory'], plain['restarts'], plain['eth0_rx']))
        self.assertNotIn('cpu0_time', plain)
        found = diagnostics.standard(
            usage, container, 64, {'eth0': '02:00:00:00:00:01'})
        self.assertEqual((64, 2), (found.memory_details.maximum,
                                   found.memory_details.used))
        self.assertEqual('02:00:00:00:00:01', found.nic_details[0].mac_address)
        self.assertGreater(found.uptime, 0)
        self.assertEqual((1, 1, 1), (found.num_cpus, found.num_nics,
                                     found.num_disks))

    def test_a_process_that_has_just_ended(self):
        instance = fakes.instance()
        container = models.Container('c', 'n', {}, 'exited', pid=2**30)
        with self.assertRaises(errors.ProcessFailed):
            guest.Guest(fakes.Engine()).diagnostics(instance, container, [])
