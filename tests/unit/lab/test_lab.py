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

"""The lab's own parts that need no cloud."""

import os
from pathlib import Path
import signal
import sys
import tempfile
import time
import unittest
from unittest import mock

from lab import cloud
from lab import configuration
from lab import container_images
from lab import engine
from lab import kernel
from lab import layout as lab_layout
from lab import octavia_sockets
from lab import processes
from lab import services


class LabCase(unittest.TestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)
        self.layout = lab_layout.Layout(self.root, 25000, Path('/src'), 2)


class TestLayout(LabCase):

    def test_ports_and_hosts_differ(self):
        ports = {self.layout.port(name) for name in lab_layout._PORTS}
        self.assertEqual(len(lab_layout._PORTS), len(ports))
        self.assertEqual(['c1', 'c2'],
                         [host.name for host in self.layout.hosts])
        self.assertEqual('http://127.0.0.1:25000',
                         self.layout.url('keystone'))

    def test_the_environment_moves_it(self):
        with mock.patch.dict('os.environ', {
                'NOVA_DOCKER_LAB_ROOT': '/x', 'NOVA_DOCKER_LAB_PORT': '1'}):
            layout = lab_layout.Layout.from_environment()
        self.assertEqual((Path('/x'), 1), (layout.root, layout.base_port))


class TestConfiguration(LabCase):

    def test_every_address_is_on_loopback(self):
        for path, text in configuration.files(self.layout).items():
            self.assertNotIn('0.0.0.0', text, path)

    def test_compute_sees_no_database(self):
        files = configuration.files(self.layout)
        self.assertNotIn('mysql', files['nova/nova.conf'])
        self.assertIn('docker.DockerDriver', files['nova-c1/compute.conf'])


class TestServices(LabCase):

    def test_the_order_can_be_kept(self):
        names = [service.name for service in services.services(self.layout)]
        self.assertEqual(len(names), len(set(names)))
        for service in services.services(self.layout):
            self.assertLessEqual(set(service.after), set(names))


class TestProcesses(LabCase):

    def test_start_find_and_stop(self):
        these = processes.Processes(self.root, self.root / 'logs')
        pid = these.start('sleeper', [
            sys.executable, '-c', 'import time; time.sleep(60)'])
        self.addCleanup(these.stop)
        deadline = time.monotonic() + 5
        while not these.running() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual([pid], [process.pid for process
                                 in these.running()['sleeper']])
        self.assertEqual([], these.stop(['other']))
        self.assertEqual(['sleeper'], these.stop())
        self.assertEqual({}, these.running())

    def test_another_labs_processes_are_not_ours(self):
        one = processes.Processes(self.root / 'one', self.root / 'logs')
        two = processes.Processes(self.root / 'two', self.root / 'logs')
        one.start('sleeper', ['sleep', '60'])
        self.addCleanup(one.stop)
        self.assertEqual([], two.stop())
        self.assertIn('sleeper', one.running())


class TestEngine(LabCase):

    def test_stale_pid_files_go_and_live_ones_stay(self):
        stale, live = self.root / 'stale.pid', self.root / 'live.pid'
        stale.write_text('1')
        live.write_text('2')
        names = {1: 'init', 2: 'dockerd'}
        files = {stale: 'dockerd', live: 'dockerd',
                 self.root / 'absent': 'dockerd'}
        with mock.patch.object(engine, '_PID_FILES', files), \
                mock.patch.object(engine.psutil, 'Process') as process:
            process.side_effect = lambda pid: mock.Mock(
                **{'name.return_value': names[pid]})
            self.assertEqual([stale], engine.clear_leftovers())
        self.assertFalse(stale.exists())
        self.assertTrue(live.exists())


class TestDevices(LabCase):

    def setUp(self):
        super().setUp()
        self.cloud = cloud.Cloud(self.layout)
        self.host = self.layout.hosts[0]
        self.host.run.mkdir(parents=True)
        for name, value in (('_present_devices', ['br-int']),
                            ('_other_hosts', [])):
            patch = mock.patch.object(cloud, name, return_value=value)
            patch.start()
            self.addCleanup(patch.stop)
        patch = mock.patch.object(cloud.subprocess, 'run')
        self.run_command = patch.start()
        self.addCleanup(patch.stop)

    def test_another_switchs_devices_stay(self):
        self.cloud._remove_devices(self.host)
        self.run_command.assert_not_called()
        with self.assertRaisesRegex(cloud.LabError, 'br-int'):
            self.cloud._claim_devices(self.host)

    def test_the_labs_own_go(self):
        with mock.patch.object(cloud, '_present_devices', return_value=[]):
            self.cloud._claim_devices(self.host)
        self.cloud._remove_devices(self.host)
        self.run_command.assert_called_once()
        self.cloud._remove_devices(self.host)
        self.run_command.assert_called_once()


class TestOctavia(LabCase):
    """Its sockets have one place on a machine."""

    def setUp(self):
        super().setUp()
        self.run_directory = self.layout.run
        self.run_directory.mkdir(parents=True)
        self.sockets = self.layout.root / 'octavia'
        patch = mock.patch.object(octavia_sockets, 'PLACE', self.sockets)
        patch.start()
        self.addCleanup(patch.stop)

    def test_what_a_kill_left_is_the_labs(self):
        self.assertTrue(octavia_sockets.claim(self.run_directory))
        (self.sockets / 'get.sock').touch()
        self.assertTrue(octavia_sockets.claim(self.run_directory))
        self.assertEqual([], list(self.sockets.iterdir()))
        octavia_sockets.remove(self.run_directory)
        self.assertFalse(self.sockets.exists())

    def test_anothers_stay(self):
        self.sockets.mkdir()
        with self.assertRaisesRegex(cloud.LabError, 'another Octavia'):
            cloud.Cloud(self.layout).start_load_balancers()
        octavia_sockets.remove(self.run_directory)
        self.assertTrue(self.sockets.exists())


class TestImages(LabCase):

    def test_an_archive_is_the_same_each_time(self):
        self.assertEqual(container_images.web(), container_images.web())


class TestStart(LabCase):
    """What a service that does not come up leads to."""

    def setUp(self):
        super().setUp()
        self.said = []
        self.cloud = cloud.Cloud(self.layout, self.said.append)
        self.addCleanup(self.cloud.processes.stop)
        for name in ('_clear_leftovers', '_after_start'):
            patch = mock.patch.object(self.cloud, name)
            patch.start()
            self.addCleanup(patch.stop)

    def service(self, name, command, ready=lambda: True, **more):
        return services.Service(name, command, ready, **more)

    def test_one_that_ends_names_its_log(self):
        with self.assertRaisesRegex(
                cloud.LabError, f'broken has ended.*{self.layout.logs}'):
            self.cloud._start([self.service('broken', ('false',),
                                            lambda: False)])

    def test_one_that_never_answers_names_its_log(self):
        with self.assertRaisesRegex(cloud.LabError,
                                    'silent was not ready.*silent.log'):
            self.cloud._start([self.service(
                'silent', ('sleep', '60'), lambda: False, patience=0.3)])

    def test_what_is_missing_is_started_and_what_runs_stays(self):
        both = [self.service('one', ('sleep', '60')),
                self.service('two', ('sleep', '60'), after=('one',))]
        self.cloud._start(both)
        pids = self.pids()
        os.kill(pids['two'], signal.SIGKILL)
        os.waitpid(pids['two'], 0)
        self.cloud._start(both)
        self.assertEqual(pids['one'], self.pids()['one'])
        self.assertNotEqual(pids['two'], self.pids()['two'])
        self.assertRegex('\n'.join(self.said), r's  one \(took')

    def pids(self):
        return {name: found[0].pid for name, found
                in self.cloud.processes.running().items()}


class TestKernel(unittest.TestCase):

    def test_the_kernels_datapath_where_there_is_one(self):
        for there, datapath in ((True, 'system'), (False, 'netdev')):
            kernel.datapath.cache_clear()
            with mock.patch.object(kernel, '_MODULE') as module, \
                    mock.patch.object(kernel.subprocess, 'run'):
                module.exists.return_value = there
                self.assertEqual(datapath, kernel.datapath())
        kernel.datapath.cache_clear()
