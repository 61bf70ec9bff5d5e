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

"""What the Engine tells, and what becomes of it: events and outcomes."""

import base64
import unittest
from unittest import mock

from nova import exception
from nova.virt import event as virtevent

from nova_docker_driver import errors
from nova_docker_driver import events
from nova_docker_driver import health
from nova_docker_driver import models
from nova_docker_driver import names
from tests.unit.nova_docker_driver import fakes

STOPPED = ('emit', virtevent.EVENT_LIFECYCLE_STOPPED)


class TestListener(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.engine = mock.Mock()
        self.snapshot = mock.Mock()
        self.told = []
        self.reporter = mock.Mock()
        self.reporter.report.side_effect = lambda event: self.told.append(
            ('report', event.action))
        self.reporter.record.side_effect = lambda uuid, container: (
            self.told.append(('record', container)))
        self.listener = events.Listener(
            self.engine, self.snapshot, 'c1',
            lambda event: self.told.append(('emit', event.transition)),
            self.reporter, lambda uuid: uuid in self.revived)
        self.revived = set()
        self.addCleanup(self.listener.stop)

    def event(self, action, role=names.ROLE_SERVER):
        return models.Event(fakes.UUID, role, 'id', action, 10**9)

    def test_the_outcome_is_recorded_before_nova_is_told(self):
        with mock.patch.object(self.listener, '_repeat'):
            self.listener._handle(self.event('die'))
        self.assertEqual([('report', 'die'), STOPPED], self.told)

    def test_a_sandbox_tells_nothing(self):
        self.listener._handle(self.event('die', names.ROLE_SANDBOX))
        self.assertEqual([], self.told)

    def test_an_end_is_told_again_if_it_still_is_one(self):
        for status, told in (('exited', [('record', 'id'), STOPPED]),
                             ('running', [])):
            self.told.clear()
            self.engine.inspect.return_value = models.Container(
                'id', 'n', {}, status)
            self.listener._tell_if_ended(fakes.UUID)
            self.assertEqual(told, self.told)
        self.engine.inspect.side_effect = errors.NotFound('gone')
        self.listener._tell_if_ended(fakes.UUID)
        self.assertEqual([], self.told)

    def test_repetitions_are_timed(self):
        with mock.patch.object(events.threading, 'Timer') as timer:
            self.listener._repeat(fakes.UUID)
        self.assertEqual(list(events._REPETITIONS),
                         [call[0][0] for call in timer.call_args_list])

    def test_what_was_missed_is_made_good(self):
        """Before the first stream, and after each one that broke."""
        self.engine.containers.return_value = [
            models.Container('id', names.container(fakes.UUID), names.labels(
                fakes.UUID, names.ROLE_SERVER, 'c1'), 'exited'),
            models.Container('ib', names.sandbox(fakes.UUID), names.labels(
                fakes.UUID, names.ROLE_SANDBOX, 'c1'), 'exited')]
        streams = [errors.EngineUnavailable('restart'), [], None]

        def follow(since):
            stream = streams.pop(0)
            if stream is None:
                # All that was begun has to be told before the end.
                for lane in self.listener._lanes:
                    lane.submit(int).result()
                self.listener.stop()
                return [self.event('start')]
            if isinstance(stream, Exception):
                raise stream
            return stream
        self.engine.events.side_effect = follow
        with mock.patch.object(events, '_FIRST_PAUSE', 0):
            self.listener.start()
            self.listener._thread.join(20)
        self.assertEqual([('record', 'id'), STOPPED] * 3, self.told)
        self.snapshot.invalidate.assert_called()

    def test_nothing_is_told_after_the_end(self):
        self.listener.stop()
        self.listener._soon(fakes.UUID, self.listener._handle,
                            self.event('die'))
        self.listener._unless_stopping(self.listener._handle,
                                       self.event('die'))
        self.assertEqual([], self.told)

    def test_the_engine_stays_away(self):
        self.engine.containers.side_effect = errors.EngineTimeout('x')
        self.assertEqual(5.0, self.listener._resynchronise(5.0))

    def test_what_goes_on_by_itself_is_not_told(self):
        ended = models.Container('id', names.container(fakes.UUID), {},
                                 'exited')
        self.revived.add(fakes.UUID)
        self.listener._settle(fakes.UUID, ended)
        self.assertEqual([], self.told)
        self.revived.clear()
        self.listener._settle(fakes.UUID, ended)
        self.assertEqual([('record', 'id'), STOPPED], self.told)

    def test_one_bad_event_does_not_end_the_thread(self):
        self.reporter.report.side_effect = ValueError
        self.listener._handle(self.event('start'))
        self.assertEqual(1, len(self.told))


class Record:
    """The row of a server in Nova's database: only wholes are written."""

    def __init__(self, **metadata):
        self.stored = metadata
        self.task_state = self.user_data = None
        self.writes = 0
        #: Done by others just before each of our reads and after our writes.
        self.before_read, self.after_write = [], []

    def read(self, context, uuid, expected_attrs):
        if self.before_read:
            self.before_read.pop(0)(self.stored)
        found = mock.Mock(metadata=dict(self.stored),
                          task_state=self.task_state,
                          user_data=self.user_data)
        found.save.side_effect = lambda: self.write(found.metadata)
        return found

    def write(self, metadata):
        self.writes += 1
        self.stored = dict(metadata)
        if self.after_write:
            self.after_write.pop(0)(self.stored)


class TestReporter(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.record = Record(mine='1')
        patch = mock.patch.object(health.objects.Instance, 'get_by_uuid',
                                  side_effect=self.record.read)
        self.get = patch.start()
        self.addCleanup(patch.stop)
        self.engine = mock.Mock()
        self.found(status='exited', exit_code=137, oom_killed=True,
                   health='unhealthy', finished_at='2026-01-01T00:00:00Z',
                   restarts=2)
        self.reporter = health.Reporter(self.engine)

    def found(self, **state):
        self.engine.inspect.return_value = models.Container(
            'id', 'n', {}, **state)

    def report(self, action, code=None):
        self.reporter.report(models.Event(
            fakes.UUID, names.ROLE_SERVER, 'id', action, 0, code))

    def test_an_end(self):
        self.report('die', 137)
        self.assertEqual(
            {'mine': '1', 'docker:exit_code': '137',
             'docker:oom_killed': 'true', 'docker:health': 'unhealthy',
             'docker:finished_at': '2026-01-01T00:00:00Z',
             'docker:restart_count': '2'}, self.record.stored)
        self.assertEqual(1, self.record.writes)

    def test_a_start_forgets_the_last_end(self):
        self.record.stored['docker:exit_code'] = '1'
        self.found(status='running', restarts=1,
                   finished_at='0001-01-01T00:00:00Z')
        self.report('start')
        self.assertEqual({'mine': '1', 'docker:restart_count': '1'},
                         self.record.stored)

    def test_nothing_new_is_not_written(self):
        self.found(status='running')
        self.report('start')
        self.report('pause')
        self.assertEqual(0, self.record.writes)

    def test_what_runs_is_told_to_who_asked_for_a_container(self):
        self.found(status='running', image='sha256:1')
        self.report('start')
        self.assertEqual({'mine': '1'}, self.record.stored)
        self.record.user_data = base64.b64encode(
            b'#docker-config\ncommand: [a]').decode()
        self.report('start')
        self.assertEqual({'mine': '1', 'docker:image_digest': 'sha256:1'},
                         self.record.stored)

    def test_a_specification_that_was_refused_hides_no_outcome(self):
        self.record.user_data = base64.b64encode(
            b'#docker-config\n\xff').decode()
        self.report('die', 3)
        self.assertEqual('3', self.record.stored['docker:exit_code'])

    def test_a_tenants_change_before_our_reading_stays(self):
        self.record.before_read = [lambda row: row.update(late='2')]
        self.report('die', 0)
        self.assertEqual(('2', '0'), (self.record.stored['late'],
                                      self.record.stored['docker:exit_code']))

    def test_a_tenants_request_that_knew_nothing_of_ours(self):
        """It was read before we wrote, and is written after us."""
        def overwrite(row):
            row.clear()
            row.update(mine='1', late='2')
        self.record.after_write = [overwrite]
        self.report('die', 0)
        self.assertEqual(('2', '0'), (self.record.stored['late'],
                                      self.record.stored['docker:exit_code']))
        self.assertEqual(2, self.record.writes)

    def test_who_always_overwrites_us_prevails(self):
        self.record.after_write = [lambda row: row.pop(
            'docker:exit_code')] * 9
        self.report('die', 0)
        self.assertEqual(health._ATTEMPTS, self.record.writes)

    def test_a_server_that_goes_or_has_gone(self):
        self.record.task_state = 'deleting'
        self.engine.inspect.side_effect = errors.NotFound('x')
        self.report('die', 0)
        self.assertEqual(0, self.record.writes)
        self.get.side_effect = exception.InstanceNotFound(instance_id='x')
        self.report('die', 0)
