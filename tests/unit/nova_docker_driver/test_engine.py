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

"""The Engine's port: the real SDK against a recorded HTTP peer."""

import http.server
import json
import os
import socketserver
import tempfile
import threading
import unittest

from nova_docker_driver import engine
from nova_docker_driver import enginedocs
from nova_docker_driver import errors
from nova_docker_driver import hostmodels
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import spec
from tests.unit.nova_docker_driver import fakes

CONTAINER = {
    'Id': 'abc', 'Name': '/' + names.container(fakes.UUID), 'Image': 'sha:1',
    'Config': {'Tty': False, 'Labels': names.labels(
        fakes.UUID, names.ROLE_SERVER, 'c1')},
    'State': {'Status': 'exited', 'ExitCode': 137, 'OOMKilled': True,
              'Error': '', 'Health': {'Status': 'unhealthy'},
              'FinishedAt': '2026-01-01T00:00:00Z'},
    'NetworkSettings': {'SandboxKey': '/netns/1'}}

OTHER = '00000000-0b57-4c8e-9d5c-6f1b2a7c9e10'


class _Handler(http.server.BaseHTTPRequestHandler):

    protocol_version = 'HTTP/1.1'

    def _answer(self):
        if 'chunked' in self.headers.get('Transfer-Encoding', ''):
            while int(self.rfile.readline(), 16):
                self.rfile.readline()
            # The end of the last chunk, or the next request begins with it.
            self.rfile.readline()
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        path = self.path.split('?')[0]
        path = path.removeprefix('/v1.41')
        self.server.seen.append((self.command, path, body))
        status, answer = self.server.answers.get(
            (self.command, path), (404, {'message': f'no {path}'}))
        content = answer if isinstance(answer, bytes) else json.dumps(
            answer).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        if path == '/events':
            self.send_header('Transfer-Encoding', 'chunked')
            self.end_headers()
            self.wfile.write(b'%x\r\n%s\r\n0\r\n\r\n' % (
                len(content), content))
            return
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _answer

    def address_string(self):
        return 'peer'

    def log_message(self, *arguments):
        pass


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class EngineCase(unittest.TestCase):

    version = '1.41'

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = os.path.join(directory.name, 'docker.sock')
        self.server = _Server(path, _Handler)
        self.server.seen = []
        self.server.answers = {
            ('GET', '/version'): (200, {'ApiVersion': self.version})}
        threading.Thread(target=self.server.serve_forever,
                         daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.engine = engine.Engine(f'unix://{path}', 5, 5)

    def answer(self, verb, path, answer, status=200):
        self.server.answers[verb, path] = (status, answer)


class TestCalls(EngineCase):

    def test_the_facts(self):
        self.answer('GET', '/info', {
            'ServerVersion': '26.1', 'DockerRootDir': '/d',
            'Architecture': 'x86_64', 'NCPU': 2, 'MemTotal': 5})
        self.assertEqual(
            hostmodels.EngineFacts('26.1', '/d', 'x86_64', 2, 5),
            self.engine.facts())

    def test_inspect(self):
        self.answer('GET', '/containers/abc/json', CONTAINER)
        found = self.engine.inspect('abc')
        self.assertEqual(names.container(fakes.UUID), found.name)
        self.assertTrue(found.oom_killed)
        self.assertEqual(('exited', 137, 'unhealthy', '/netns/1'), (
            found.status, found.exit_code, found.health, found.namespace))

    def test_only_ours_are_listed(self):
        labels = CONTAINER['Config']['Labels']
        self.answer('GET', '/containers/json', [
            {'Id': 'a', 'Names': ['/other/link', CONTAINER['Name']],
             'Labels': labels, 'State': 'running'},
            {'Id': 'b', 'Names': ['/hijack'], 'Labels': labels,
             'State': 'running'},
            {'Id': 'c', 'Names': None, 'Labels': None, 'State': 'created'}])
        found = self.engine.containers(instance_uuid=fakes.UUID, host='c1')
        self.assertEqual(['a'], [container.id for container in found])

    def test_what_servers_have_on_the_disk(self):
        labels = {**CONTAINER['Config']['Labels'], names.DISK_LABEL: '100'}
        volume = {'Type': 'volume', 'Name': 'v'}
        entry = {'Id': 'a', 'Names': [CONTAINER['Name']], 'Labels': labels,
                 'State': 'running', 'SizeRw': 7,
                 'Mounts': [volume, {'Type': 'bind', 'Source': '/x'}]}
        self.answer('GET', '/system/df', {
            'Containers': [
                entry,
                # Nothing written yet: the Engine leaves the size out.
                {**entry, 'Id': 'b', 'Names': [f'/nova-{OTHER}'],
                 'Labels': {**labels, names.INSTANCE_LABEL: OTHER},
                 'SizeRw': 0, 'Mounts': []},
                # What rescues it counts as the server's.
                {**entry, 'Id': 'r', 'Names': [f'/nova-{OTHER}-rescue'],
                 'Labels': {**labels, names.INSTANCE_LABEL: OTHER,
                            names.ROLE_LABEL: names.ROLE_RESCUE},
                 'SizeRw': 9, 'Mounts': []},
                {**entry, 'Id': 'c', 'Labels': {
                    **labels, names.HOST_LABEL: 'c2'}},
                {'Id': 'd', 'Names': ['/other'], 'Labels': None,
                 'State': 'running', 'Mounts': []}],
            'Volumes': [{'Name': 'v', 'UsageData': {'Size': 95}},
                        {'Name': 'w', 'UsageData': {'Size': -1}}]})
        first, second = self.engine.disk_usage('c1')
        self.assertEqual(models.DiskUsage(fakes.UUID, 'a', True, 102, 100),
                         first)
        self.assertTrue(first.exceeds)
        self.assertEqual(('b', 9, False),
                         (second.container_id, second.size, second.exceeds))

    def test_create_sends_the_document(self):
        self.answer('POST', '/containers/create', {'Id': 'abc'}, 201)
        wanted = spec.sandbox(fakes.UUID, 'web', 'sha:2', fakes.policy())
        self.assertEqual('abc', self.engine.create(wanted))
        document = {key: value for key, value
                    in enginedocs.container_config(wanted).items()
                    if value is not None}
        self.assertEqual(document, json.loads(self.server.seen[-1][2]))

    def test_the_verbs(self):
        for verb in ('start', 'stop', 'kill', 'pause', 'unpause'):
            self.answer('POST', f'/containers/abc/{verb}', b'', 204)
        self.engine.start('abc')
        self.engine.stop('abc', 3)
        self.engine.kill('abc')
        self.engine.pause('abc')
        self.engine.unpause('abc')
        self.assertEqual(
            ['start', 'stop', 'kill', 'pause', 'unpause'],
            [path.rsplit('/')[-1] for _, path, _ in self.server.seen[1:]])

    def test_what_is_gone_is_removed(self):
        self.engine.remove('abc')
        self.engine.remove_image('abc')
        self.answer('DELETE', '/containers/abc', b'', 204)
        self.answer('DELETE', '/images/abc', [], 200)
        self.engine.remove('abc')
        self.engine.remove_image('abc')

    def test_a_process_that_has_ended_is_killed(self):
        self.answer('POST', '/containers/abc/kill', {'message': 'x'}, 409)
        self.engine.kill('abc')

    def test_the_end_of_a_log(self):
        self.answer('GET', '/containers/abc/json', CONTAINER)
        frames = b''.join(
            bytes([1, 0, 0, 0, 0, 0, 0, 3]) + text
            for text in (b'abc', b'def'))
        self.answer('GET', '/containers/abc/logs', frames)
        self.assertEqual(b'cdef', self.engine.logs('abc', 9, 4))

    def test_images(self):
        self.answer('GET', '/images/sha:1/json', {
            'Id': 'sha:1', 'Config': {'Cmd': ['sh'], 'Entrypoint': None}})
        self.assertEqual(models.EngineImage('sha:1', (), ('sh',)),
                         self.engine.image('sha:1'))

    def test_a_load_that_fails_says_so_in_its_answer(self):
        self.answer('POST', '/images/load', {'stream': 'Loaded'})
        self.engine.load([b'abc'])
        self.answer('POST', '/images/load', {'error': 'invalid diffID'})
        with self.assertRaisesRegex(errors.InvalidRequest, 'diffID'):
            self.engine.load([b'abc'])
        self.answer('POST', '/images/load', {'message': 'no space'}, 500)
        with self.assertRaisesRegex(errors.EngineError, 'no space'):
            self.engine.load([b'abc'])

    def test_our_own_error_breaks_a_load_off(self):
        def archive():
            yield b'abc'
            raise errors.InvalidImage('a link')
        with self.assertRaisesRegex(errors.InvalidImage, 'a link'):
            self.engine.load(archive())

    def test_events_of_ours_only(self):
        attributes = {'name': names.container(fakes.UUID), 'exitCode': '3',
                      **CONTAINER['Config']['Labels']}
        self.answer('GET', '/events', b'\n'.join(json.dumps({
            'Action': action, 'timeNano': 5,
            'Actor': {'ID': 'abc', 'Attributes': marks}}).encode()
            for action, marks in (
                ('die', attributes), ('die', {'name': 'other'}),
                ('health_status: healthy', {
                    **attributes, 'exitCode': None}))))
        found = list(self.engine.events(1.5))
        self.assertEqual([('die', 3), ('health_status', None)], [
            (event.action, event.exit_code) for event in found])


class TestErrors(EngineCase):

    def test_by_type(self):
        for status, kind in (
                (404, errors.NotFound), (409, errors.NameConflict),
                (400, errors.InvalidRequest), (500, errors.EngineError)):
            self.answer('GET', '/info', {'message': 'because'}, status)
            with self.assertRaisesRegex(kind, 'because'):
                self.engine.facts()

    def test_no_engine(self):
        with self.assertRaisesRegex(errors.EngineUnavailable, 'no such'):
            engine.Engine('unix:///nowhere/docker.sock', 1, 1).facts()

    def test_a_socket_that_nobody_serves(self):
        with tempfile.NamedTemporaryFile() as file:
            with self.assertRaisesRegex(errors.EngineUnavailable, 'listens'):
                engine.Engine(f'unix://{file.name}', 1, 1).facts()

    def test_permission_is_named(self):
        error = OSError()
        error.args = (PermissionError(13, 'denied'),)
        self.assertEqual('permission denied', engine._system_reason(error))
        self.assertEqual('odd', engine._system_reason(ValueError('odd')))

    def test_nothing_connects_before_the_first_call(self):
        engine.Engine('unix:///nowhere/docker.sock', 1, 1)
        self.assertEqual([], self.server.seen)


class TestTooOld(EngineCase):

    version = '1.40'

    def test_it_is_refused_by_name(self):
        with self.assertRaisesRegex(errors.EngineTooOld, '1.40'):
            self.engine.facts()
