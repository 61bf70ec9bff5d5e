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


import threading
import unittest
from unittest import mock

from nova.compute import vm_states
from nova import exception

from nova_docker_driver import disk
from nova_docker_driver import engine
from nova_docker_driver import errors
from nova_docker_driver import models
from tests.unit.nova_docker_driver import fakes


def usage(size, limit=models.GIB, running=True, container='a'):
    return models.DiskUsage(fakes.UUID, container, running, size, limit)


class TestWatcher(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.engine = mock.create_autospec(engine.Engine, instance=True)
        self.watcher = disk.Watcher(self.engine, fakes.HOST, 0.001)
        self.addCleanup(self.watcher.stop)
        self.instance = mock.Mock()
        instances = self.patch('nova.objects.Instance.get_by_uuid')
        instances.return_value = self.instance
        self.faults = self.patch(
            'nova.compute.utils.add_instance_fault_from_exc')

    def patch(self, name):
        patcher = mock.patch(name, autospec=True)
        self.addCleanup(patcher.stop)
        return patcher.start()

    def test_only_what_runs_and_is_too_large_is_stopped(self):
        self.engine.disk_usage.return_value = [
            usage(models.GIB, container='exact'),
            usage(9 * models.GIB, limit=0, container='unbounded'),
            usage(9 * models.GIB, running=False, container='stopped'),
            usage(2 * models.GIB, container='greedy')]
        self.watcher.look()
        self.engine.kill.assert_called_once_with('greedy')
        self.assertEqual(vm_states.ERROR, self.instance.vm_state)
        self.instance.save.assert_called_once_with()
        self.assertIn('2048 MiB on its disk and the flavor allows 1024 MiB',
                      str(self.faults.call_args[0][2]))

    def test_the_disk_goes_before_the_message(self):
        self.engine.disk_usage.return_value = [usage(2 * models.GIB)]
        for failure in (exception.InstanceNotFound(instance_id='x'),
                        RuntimeError('no database')):
            self.engine.kill.reset_mock()
            self.faults.side_effect = failure
            self.watcher.look()
            self.engine.kill.assert_called_once_with('a')

    def test_one_that_cannot_be_stopped_does_not_save_the_others(self):
        self.engine.disk_usage.return_value = [
            usage(2 * models.GIB, container=name) for name in 'ab']
        self.engine.kill.side_effect = [errors.EngineError('no'), None]
        self.watcher.look()
        self.assertEqual([mock.call('a'), mock.call('b')],
                         self.engine.kill.mock_calls)

    def test_an_engine_that_is_away_is_asked_again(self):
        told = threading.Event()
        self.engine.disk_usage.side_effect = [
            errors.EngineUnavailable('away'), [usage(2 * models.GIB)]]
        self.engine.kill.side_effect = lambda _: (
            self.watcher.stop(), told.set())
        self.watcher.start()
        self.assertTrue(told.wait(5))

    def test_nothing_is_stopped_after_the_end(self):
        self.engine.disk_usage.return_value = [usage(2 * models.GIB)]
        self.watcher.stop()
        self.watcher.look()
        self.engine.kill.assert_not_called()
