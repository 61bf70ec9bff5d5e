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

"""What Nova is told of an Engine that goes away and comes back."""

import unittest
from unittest import mock

from nova import exception

from nova_docker_driver import availability
from nova_docker_driver import errors


class TestWatchdog(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.engine = mock.Mock()
        self.tell = mock.Mock()
        self.watchdog = availability.Watchdog(self.engine, self.tell, 0.001)

    def look(self, *failures):
        for failure in failures:
            self.engine.ping.side_effect = failure
            self.watchdog.look()
        return [call[0] for call in self.tell.call_args_list]

    def test_only_a_change_is_told(self):
        away = errors.EngineUnavailable('no socket')
        self.assertEqual(
            [(True, ''), (False, 'no socket'), (True, '')],
            self.look(None, None, away, away, None))

    def test_what_could_not_be_told_is_told_again(self):
        self.tell.side_effect = [exception.NovaException('no conductor'),
                                 None]
        self.assertEqual([(True, '')] * 2, self.look(None, None, None))

    def test_it_stops(self):
        self.tell.side_effect = lambda *_: self.watchdog.stop()
        self.watchdog.start()
        self.watchdog._thread.join(20)
        self.assertFalse(self.watchdog._thread.is_alive())
        self.assertEqual([(True, '')], self.look(
            errors.EngineUnavailable('x')))


class TestService(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.record = mock.Mock(disabled=False, disabled_reason=None)
        patch = mock.patch.object(
            availability.objects.Service, 'get_by_compute_host',
            return_value=self.record)
        self.get = patch.start()
        self.addCleanup(patch.stop)
        self.virtapi = mock.Mock()
        self.service = availability.Service('c1', self.virtapi)

    def test_it_is_disabled_with_a_reason_and_enabled_again(self):
        self.service.set_enabled(False, 'no socket')
        self.assertEqual((True, 'AUTO: no socket'), (
            self.record.disabled, self.record.disabled_reason))
        self.service.set_enabled(True, '')
        self.assertEqual((False, None), (
            self.record.disabled, self.record.disabled_reason))
        self.assertEqual([False, True], [
            call[0][2] for call in self.virtapi
            .update_compute_provider_status.call_args_list])

    def test_what_an_operator_disabled_stays_so(self):
        self.record.disabled = True
        for reason in (None, 'maintenance'):
            self.record.disabled_reason = reason
            self.service.set_enabled(True, '')
            self.service.set_enabled(False, 'x')
        self.record.save.assert_not_called()

    def test_the_first_start(self):
        self.get.side_effect = exception.ComputeHostNotFound(host='c1')
        self.service.set_enabled(True, '')
        self.record.save.assert_not_called()
