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

"""The consoles' listener, on a real socket of this process."""

import contextlib
from pathlib import Path
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

from nova_docker_driver import consoles
from nova_docker_driver import errors
from nova_docker_driver import guest
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import signals
from tests.unit.nova_docker_driver import fakes


class TestListener(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.opened = []
        self.consoles = consoles.Consoles('127.0.0.1', 0, 60, self.open)
        self.consoles.start()
        self.addCleanup(self.consoles.stop)
        self.failure = None

    @contextlib.contextmanager
    def open(self, instance_uuid):
        if self.failure:
            raise self.failure
        ours, theirs = socket.socketpair()
        self.opened.append((instance_uuid, theirs))
        with ours, theirs:
            yield ours

    def connect(self, path, verb='CONNECT'):
        offer = self.consoles.offer('unused')
        peer = socket.create_connection((offer.host, offer.port), 5)
        self.addCleanup(peer.close)
        peer.sendall(f'{verb} {path} HTTP/1.1\r\n\r\n'.encode())
        return peer, peer.recv(4096).split(b'\r\n')[0]

    def test_both_ways_and_to_the_end(self):
        peer, answer = self.connect(self.consoles.offer('u1').path)
        self.assertEqual(b'HTTP/1.1 200 OK', answer)
        instance_uuid, terminal = self.opened[0]
        self.assertEqual('u1', instance_uuid)
        peer.sendall(b'typed')
        self.assertEqual(b'typed', terminal.recv(9))
        terminal.sendall(b'shown')
        self.assertEqual(b'shown', peer.recv(9))
        terminal.close()
        self.assertEqual(b'', peer.recv(9))

    def test_a_path_is_good_once_and_not_for_ever(self):
        path = self.consoles.offer('u1').path
        self.assertIn(b'200', self.connect(path)[1])
        self.assertIn(b'404', self.connect(path)[1])
        late = self.consoles.offer('u1').path
        with mock.patch.object(consoles.time, 'monotonic',
                               return_value=time.monotonic() + 61):
            self.assertIn(b'404', self.connect(late)[1])
        self.assertIn(b'404', self.connect('/guessed')[1])

    def test_who_speaks_otherwise_is_refused(self):
        path = self.consoles.offer('u1').path
        self.assertIn(b'404', self.connect(path, 'GET')[1])
        self.assertIn(b'404', self.connect('x' * 5000)[1])
        self.assertIn(b'200', self.connect(path)[1])

    def test_there_is_an_answer_when_there_is_no_terminal(self):
        self.failure = errors.ProcessFailed('it ended')
        self.assertIn(b'409', self.connect(
            self.consoles.offer('u1').path)[1])

    def test_there_are_not_too_many(self):
        def answers(*instances):
            return [self.connect(self.consoles.offer(uuid).path)[1][9:12]
                    for uuid in instances]
        with (mock.patch.object(consoles, 'MOST_SESSIONS', 2),
              mock.patch.object(consoles, 'MOST_OF_A_SERVER', 1)):
            self.assertEqual([b'200', b'503', b'200', b'503'],
                             answers('u1', 'u1', 'u2', 'u3'))
            self.opened[0][1].close()
            deadline = time.monotonic() + 5
            while self.consoles._sessions['u1']:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.01)
            self.assertEqual([b'200'], answers('u3'))

    def test_paths_differ_and_old_ones_are_forgotten(self):
        paths = {self.consoles.offer('u1').path for _ in range(50)}
        self.assertEqual(50, len(paths))
        self.assertEqual({True}, {len(path) > 40 for path in paths})
        with mock.patch.object(consoles.time, 'monotonic',
                               return_value=time.monotonic() + 61):
            self.consoles.offer('u1')
        self.assertEqual(1, len(self.consoles._paths))

    def test_without_a_listener_there_is_no_offer(self):
        self.consoles.stop()
        with self.assertRaises(errors.Unsupported):
            self.consoles.offer('u1')


class TestTerminal(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.engine = mock.Mock()
        self.container = models.Container(
            'c', names.container(fakes.UUID),
            names.labels(fakes.UUID, names.ROLE_SERVER, 'c1'), 'running')
        self.engine.containers.return_value = [self.container]
        self.engine.inspect.return_value = self.container
        self.stream = mock.Mock()
        self.engine.shell.return_value = self.stream, 'handle'
        self.engine.attach.return_value = self.stream
        patch = mock.patch.object(signals, 'hang_up')
        self.hang_up = patch.start()
        self.addCleanup(patch.stop)

    def open(self, shell='/bin/sh'):
        with guest.Guest(self.engine, shell).terminal(fakes.UUID) as found:
            self.assertIs(self.stream, found)

    def test_a_shell_ends_with_its_console(self):
        self.engine.shell_pid.return_value = 7
        self.open()
        self.engine.shell.assert_called_once_with('c', ('/bin/sh',))
        self.hang_up.assert_called_once_with(7, 'c')
        self.stream.close.assert_called_once_with()

    def test_a_shell_that_has_ended_is_left_alone(self):
        self.engine.shell_pid.return_value = 0
        self.open()
        self.engine.shell_pid.side_effect = errors.NotFound('gone')
        self.open()
        self.hang_up.assert_not_called()

    def test_its_own_terminal_comes_first(self):
        self.engine.inspect.return_value = models.Container(
            'c', 'n', {}, 'running', tty=True)
        self.open(shell='')
        self.engine.attach.assert_called_once_with('c')
        self.engine.shell.assert_not_called()

    def test_reasons_for_none(self):
        with self.assertRaisesRegex(errors.Unsupported, 'console_shell'):
            self.open(shell='')
        self.engine.inspect.return_value = models.Container(
            'c', 'n', {}, 'exited')
        with self.assertRaisesRegex(errors.ProcessFailed, 'not run'):
            self.open()
        self.engine.containers.return_value = []
        with self.assertRaisesRegex(errors.ProcessFailed, 'no container'):
            self.open()


class TestSignals(unittest.TestCase):

    def setUp(self):
        super().setUp()
        signals.netns.context.set_client_mode(False)
        self.child = subprocess.Popen([sys.executable, '-c',
                                       'import time; time.sleep(60)'])
        self.addCleanup(self.child.wait)
        self.addCleanup(self.child.kill)
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.proc = Path(directory.name)
        place = self.proc / str(self.child.pid)
        place.mkdir()
        (place / 'cgroup').write_text('1:pids:/docker/c0ffee\n')

    def test_only_a_process_of_the_container_is_signalled(self):
        signals.hang_up(self.child.pid, 'decaf', str(self.proc))
        with self.assertRaises(subprocess.TimeoutExpired):
            self.child.wait(0.2)
        signals.hang_up(self.child.pid, 'c0ffee', str(self.proc))
        self.assertEqual(-1, self.child.wait(5))

    def test_a_process_that_is_gone(self):
        signals.hang_up(self.child.pid, 'c0ffee', '/no/such')
        self.child.kill()
        self.child.wait()
        signals.hang_up(self.child.pid, 'c0ffee', str(self.proc))
