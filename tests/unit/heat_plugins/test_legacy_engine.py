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

"""The old resource type's branches, on an Engine that is told what to say."""

import contextlib
from unittest import mock

from heat.common import exception
import paramiko

from heat_plugins import engines
from heat_plugins.resources import legacy as resource
from tests.unit.heat_plugins import test_legacy

RUNNING = {'Status': 'running', 'Running': True, 'ExitCode': 0}
ENDED = {'Status': 'exited', 'Running': False, 'ExitCode': 3}


def refusal(status, kind=engines.docker.errors.APIError):
    return kind('told', response=mock.Mock(status_code=status))


ABSENT = refusal(404, engines.NotFound)


class EngineCase(test_legacy.LegacyCase):
    """The calls that an Engine gets, and no Engine."""

    def setUp(self):
        super().setUp()
        self.client = mock.Mock()
        self.client.containers.return_value = []
        self.client.create_container.return_value = {'Id': 'made'}
        self.client.logs.return_value = b'last words'
        self.says(RUNNING)

        @contextlib.contextmanager
        def connected(conf, alias, endless=False):
            yield self.client
        self.patch(engines, 'connected', connected)

    def patch(self, target, name, value):
        patch = mock.patch.object(target, name, value)
        patch.start()
        self.addCleanup(patch.stop)

    def says(self, state, **more):
        self.client.inspect_container.return_value = {
            'Id': 'made', 'Name': '/old', 'State': state,
            'Config': {'StopSignal': 'SIGINT'},
            'HostConfig': {'Memory': 0, 'CpuShares': 2, 'CpusetCpus': ''},
            'NetworkSettings': {'IPAddress': '192.0.2.2', 'Gateway': '',
                                'Ports': {'80/tcp': [{'HostPort': '81'}]}},
            **more}

    def made(self, **values):
        found = self.container(**values)
        found.resource_id = 'made'
        return found

    def calls(self):
        return [call[0] for call in self.client.method_calls]


class TestCreate(EngineCase):

    def test_one_that_is_there_already_is_taken(self):
        """The answer of the first create was lost."""
        self.client.containers.return_value = [{'Id': 'before'}]
        found = self.container()
        self.patch(found, 'resource_id_set', mock.Mock())
        found.handle_create()
        found.resource_id_set.assert_called_once_with('before')
        self.client.create_container.assert_not_called()
        self.client.start.assert_called_once_with('before')

    def test_what_is_pulled_is_made_afterwards(self):
        self.client.inspect_image.side_effect = ABSENT
        pull = mock.Mock(done=False, error='')
        self.patch(engines, 'Pull', mock.Mock(return_value=pull))
        found = self.container()
        token = found.handle_create()
        self.assertFalse(found.check_create_complete(token))
        self.client.create_container.assert_not_called()
        pull.done = True
        self.patch(found, 'resource_id_set', mock.Mock())
        self.assertTrue(found.check_create_complete(token))
        self.client.start.assert_called_once_with('made')

    def test_a_pull_that_fails_or_is_given_up(self):
        pull = mock.Mock(done=True, error='denied')
        self.patch(engines, 'Pull', mock.Mock(return_value=pull))
        found = self.container(pull_policy='always')
        token = found.handle_create()
        self.assertIn('Property image: the Engine one cannot pull busybox: '
                      'denied', str(self.assertRaises(
                          exception.Error, found.check_create_complete,
                          token)))
        found.handle_create_cancel(token)
        pull.cancel.assert_called_once_with()
        found.handle_create_cancel(None)

    def test_rights_that_were_taken_back_since(self):
        found = self.container(privileged=True)
        self.assertIn('Property privileged', str(self.assertRaises(
            exception.Error, found.handle_create)))
        self.assertEqual([], self.calls())

    def test_one_that_ends_early(self):
        self.says(ENDED)
        error = str(self.assertRaises(
            exception.Error, self.made().check_create_complete,
            {'pull': None}))
        self.assertIn('code 3', error)
        self.assertIn('last words', error)

    def test_an_engine_that_is_away(self):
        self.client.inspect_image.side_effect = (
            engines.requests.exceptions.ConnectionError('away'))
        self.assertIn('The Engine one: away', str(self.assertRaises(
            exception.Error, self.container().handle_create)))


class TestChange(EngineCase):

    def update(self, found, after, *names):
        found.handle_update(mock.Mock(**{'properties.return_value': after}),
                            None, dict.fromkeys(names))

    def test_what_can_change(self):
        self.update(self.made(name='old'), {
            'name': 'new', 'memory': 9}, 'name', 'memory')
        self.client.rename.assert_called_once_with('made', 'new')
        self.assertEqual(9, self.client.update_container.call_args
                         .kwargs['mem_limit'])

    def test_the_name_alone(self):
        self.update(self.made(name='old'), {'name': 'new'}, 'name')
        self.assertEqual(['rename'], self.calls())

    def test_whether_a_failed_one_is_replaced(self):
        found = self.made()
        self.assertFalse(found.needs_replace_failed())
        self.says(ENDED)
        self.assertTrue(found.needs_replace_failed())
        self.client.inspect_container.side_effect = ABSENT
        self.assertTrue(found.needs_replace_failed())

    def test_whether_one_of_which_heat_does_not_know_is(self):
        found = self.container()
        self.patch(found, 'resource_id_set', mock.Mock())
        self.assertTrue(found.needs_replace_failed())
        self.client.containers.return_value = [{'Id': 'before'}]
        self.assertFalse(found.needs_replace_failed())
        found.resource_id_set.assert_called_once_with('before')

    def test_its_name_is_lent_and_given_back(self):
        found = self.made(name='old')
        found.prepare_for_replace()
        self.assertEqual(['stop', 'rename'], self.calls())
        found.restore_prev_rsrc()
        self.assertEqual(['stop', 'rename', 'rename', 'start'], self.calls())
        self.client.stop.side_effect = ABSENT
        found.prepare_for_replace()

    def test_what_was_never_made_is_left(self):
        found = self.container()
        found.prepare_for_replace()
        found.restore_prev_rsrc()
        self.assertEqual([], self.calls())


class TestDelete(EngineCase):

    def test_it_is_asked_before_it_is_removed(self):
        found = self.made(stop_timeout=60)
        token = found.handle_delete()
        self.client.kill.assert_called_once_with('made', signal='SIGINT')
        self.assertFalse(found.check_delete_complete(token))
        self.client.remove_container.assert_not_called()
        self.says(ENDED)
        found.check_delete_complete(token)
        self.client.remove_container.assert_called_once_with(
            'made', force=True, v=mock.ANY)
        self.client.inspect_container.side_effect = ABSENT
        self.assertTrue(found.check_delete_complete(token))

    def test_one_that_does_not_end(self):
        found = self.made(stop_timeout=0)
        token = found.handle_delete()
        found.check_delete_complete(token)
        self.client.remove_container.assert_called_once_with(
            'made', force=True, v=mock.ANY)

    def test_what_others_did_meanwhile(self):
        found = self.made()
        for status in (404, 409):
            self.client.kill.side_effect = refusal(status)
            token = found.handle_delete()
        self.says(ENDED)
        self.client.remove_container.side_effect = refusal(409)
        self.assertFalse(found.check_delete_complete(token))
        self.client.remove_container.side_effect = refusal(500)
        self.assertRaises(exception.Error, found.check_delete_complete,
                          token)
        self.client.kill.side_effect = refusal(500)
        self.assertRaises(exception.Error, found.handle_delete)

    def test_what_was_never_made(self):
        found = self.container()
        self.assertIsNone(found.handle_delete())
        self.assertTrue(found.check_delete_complete(None))

    def test_what_heat_does_not_know(self):
        found = self.container()
        found.uuid = 'uuid'
        self.assertIsNone(found.handle_delete())
        self.client.containers.return_value = [{'Id': 'before'}]
        found.resource_id_set = mock.Mock()
        self.assertIn('until', found.handle_delete())
        found.resource_id_set.assert_called_once_with('before')


class TestQuestions(EngineCase):

    def test_suspend_and_resume(self):
        found = self.made()
        found.handle_suspend()
        self.assertFalse(found.check_suspend_complete(None))
        self.says(ENDED)
        self.assertTrue(found.check_suspend_complete(None))
        found.handle_resume()
        self.says(RUNNING)
        self.assertTrue(found.check_resume_complete(None))
        self.assertEqual(['stop', 'start'], [
            name for name in self.calls() if name != 'inspect_container'])

    def test_check(self):
        found = self.made()
        found.handle_check()
        self.says(ENDED)
        self.assertIn('code 3', str(self.assertRaises(
            exception.Error, found.handle_check)))

    def test_live_state(self):
        found = self.made(name='old')
        self.assertEqual(
            {'memory': None, 'cpu_shares': 2, 'cpu_set': None,
             'name': 'old'}, found.get_live_state({'name': 'old'}))
        self.client.inspect_container.side_effect = ABSENT
        self.assertRaises(exception.EntityNotFound, found.get_live_state, {})

    def test_attributes(self):
        found = self.made()
        self.assertEqual(
            ('192.0.2.2', '', '81', '', 'last words', None, None), tuple(
                found._resolve_attribute(name) for name in (
                    'network_ip', 'network_gateway', 'network_tcp_ports',
                    'network_udp_ports', 'logs', 'exit_code', 'health')))
        self.assertEqual('81', found._resolve_attribute(
            'network_info')['TcpPorts'])
        self.assertEqual('/old', found._resolve_attribute('info')['Name'])
        self.says({**ENDED, 'Health': {'Status': 'unhealthy'}})
        self.assertEqual((3, 'unhealthy'), tuple(
            found._resolve_attribute(name)
            for name in ('exit_code', 'health')))
        self.client.inspect_container.side_effect = ABSENT
        self.assertIsNone(found._resolve_attribute('network_ip'))
        self.assertIsNone(self.container()._resolve_attribute('logs'))

    def test_what_is_shown(self):
        self.assertEqual('/old', self.made()._show_resource()['Name'])

    def test_an_alias_that_is_gone(self):
        @contextlib.contextmanager
        def connected(conf, alias, endless=False):
            raise ValueError('no such alias')
            yield
        self.patch(engines, 'connected', connected)
        self.assertIn('docker_endpoint: no such alias', str(
            self.assertRaises(exception.Error, self.made().handle_resume)))


class TestPull(test_legacy.LegacyCase):
    """A pull, by itself; its thread is waited for."""

    def pull(self, *lines, image='busybox', error=None):
        client = mock.Mock()
        client.pull.return_value = iter(lines)
        client.pull.side_effect = error

        @contextlib.contextmanager
        def connected(conf, alias, endless=False):
            self.assertTrue(endless)
            yield client
        with mock.patch.object(engines, 'connected', connected):
            pull = engines.Pull(None, 'one', image)
            pull._thread.join(10)
        self.assertTrue(pull.done)
        return pull.error, client.pull.call_args

    def test_pulls(self):
        self.assertEqual(
            ('', mock.call('busybox', tag='latest', stream=True,
                           decode=True)), self.pull({'status': 'x'}))
        self.assertEqual('denied', self.pull({'error': 'denied'})[0])
        self.assertEqual('bad', self.pull(error=ValueError('bad'))[0])
        self.assertEqual('5', self.pull(image='a/b:5')[1].kwargs['tag'])

    def test_the_first_line_is_all_that_is_read(self):
        class Stream:
            def __init__(self):
                self.read, self.closed = 0, False

            def __iter__(self):
                for piece in (b'fir', b'st\nsec', b'ond'):
                    self.read += 1
                    yield piece

            def close(self):
                self.closed = True
        for base, closed in (('http+docker://localhost', True),
                             ('https://192.0.2.1:2376', True),
                             ('http+docker://ssh', False)):
            stream = Stream()
            client = mock.Mock(base_url=base, **{
                'logs.return_value': stream})
            self.assertEqual('first', engines.first_line(client, 'c'))
            self.assertEqual((2, closed), (stream.read, stream.closed))

    def test_what_ssh_says(self):
        for error, text in ((paramiko.SSHException('who is it?'), 'who is'),
                            (EOFError(), 'EOFError'),
                            (ConnectionRefusedError('refused'), 'refused')):
            with mock.patch.object(engines.docker, 'APIClient',
                                   side_effect=error):
                pull = engines.Pull(self.conf.conf, 'one', 'busybox')
                pull._thread.join(10)
                # No pull that ends so is taken for one that is done.
                self.assertIn(text, pull.error)
        client = mock.Mock(**{
            'version.side_effect': paramiko.SSHException('gone')})
        with mock.patch.object(engines.docker, 'APIClient',
                               return_value=client):
            pull = engines.Pull(self.conf.conf, 'one', 'busybox')
            pull._thread.join(10)
        self.assertEqual('gone', pull.error)

    def test_the_version_is_the_engines(self):
        client = mock.Mock(**{'version.return_value': {'ApiVersion': '1.44'}})
        with mock.patch.object(engines.docker, 'APIClient',
                               return_value=client) as made, \
                engines.connected(self.conf.conf, 'one') as found:
            self.assertEqual('1.44', found._version)
            self.assertFalse(found.trust_env)
        self.assertEqual('unix:///run/nowhere.sock', made.call_args.args[0])
        client.close.assert_called_once_with()


class TestType(test_legacy.LegacyCase):

    def test_it_is_for_old_templates(self):
        self.assertEqual('UNSUPPORTED',
                         resource.Container.support_status.status)
