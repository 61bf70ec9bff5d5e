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

"""Terminals in real containers, through the listener as the proxy does it."""

import os
import socket
import time

from nova_docker_driver import consoles
from nova_docker_driver import errors
from nova_docker_driver import guest
from nova_docker_driver import names
from nova_docker_driver import signals
from tests.functional import base


class ConsoleCase(base.ContainerCase):

    def setUp(self):
        super().setUp()
        signals.netns.context.set_client_mode(False)
        self.guest = guest.Guest(self.engine, '/bin/sh')
        self.consoles = consoles.Consoles('127.0.0.1', 0, 60,
                                          self.guest.terminal)
        self.consoles.start()
        self.addCleanup(self.consoles.stop)

    def connect(self, instance):
        offer = self.consoles.offer(instance.uuid)
        peer = socket.create_connection((offer.host, offer.port), 10)
        self.addCleanup(peer.close)
        peer.sendall(f'CONNECT {offer.path} HTTP/1.1\r\n\r\n'.encode())
        answer = b''
        while not answer.endswith(b'\r\n\r\n'):
            answer += peer.recv(1)
        return peer, answer.partition(b'\r\n')[0].decode()

    def read_until(self, peer, text):
        said = b''
        while text not in said:
            chunk = peer.recv(4096)
            self.assertTrue(chunk, f'it ended with {said!r}')
            said += chunk
        return said

    def shells(self, instance):
        """The processes of a container beside its first one."""
        found = self.client.top(names.container(instance.uuid), 'o pid,comm')
        return [row for row in found['Processes'] if row[1] == 'sh']

    def until(self, check):
        deadline = time.monotonic() + 10
        while not check():
            self.assertLess(time.monotonic(), deadline, 'it does not come')
            time.sleep(0.05)


class TestShell(ConsoleCase):

    def test_a_shell_as_the_containers_user(self):
        instance = self.spawn('command: sleep 600\nuser: "1000"')
        peer, answer = self.connect(instance)
        self.assertIn('200', answer)
        peer.sendall(b'echo $((6 * 7)) $(id -u) $TERM; stty size\n')
        self.assertIn(b'42 1000 xterm', self.read_until(peer, b'24 80'))

    def test_it_has_no_more_rights_than_the_container(self):
        peer, _ = self.connect(self.spawn())
        peer.sendall(b'grep -E "CapEff|NoNewPrivs" /proc/self/status; '
                     b'echo don""e\n')
        said = self.read_until(peer, b'done').decode()
        effective = int(said.partition('CapEff:')[2].split()[0], 16)
        # NET_RAW, SYS_ADMIN, MKNOD.
        self.assertEqual(0, effective & (1 << 13 | 1 << 21 | 1 << 27))
        self.assertIn('NoNewPrivs:\t1', said)

    def test_it_ends_with_its_user(self):
        instance = self.spawn('command: sleep 600')
        peer, _ = self.connect(instance)
        peer.sendall(b'sleep 500 &\n')
        self.until(lambda: self.shells(instance))
        peer.close()
        self.until(lambda: not self.shells(instance))
        self.assertEqual('running', self.lifecycle.inspect(instance).status)

    def test_it_ends_with_the_container(self):
        instance = self.spawn('command: sleep 600')
        peer, _ = self.connect(instance)
        self.read_until(peer, b'# ')
        self.lifecycle.destroy(instance, [])
        while peer.recv(4096):
            pass

    def test_an_image_without_the_shell(self):
        self.guest._shell = '/bin/no-such'
        peer, _ = self.connect(self.spawn())
        said = b''
        while chunk := peer.recv(4096):
            said += chunk
        self.assertIn(b'no-such', said)

    def test_what_has_ended_has_no_console(self):
        instance = self.spawn()
        self.lifecycle.power_off(instance, 0)
        _, answer = self.connect(instance)
        self.assertIn('409', answer)


class TestAttach(ConsoleCase):

    def test_its_own_terminal_both_ways(self):
        instance = self.spawn('command: [sh]\ntty: true\nstdin_open: true')
        peer, answer = self.connect(instance)
        self.assertIn('200', answer)
        peer.sendall(b'echo $((6 * 7)); tty\n')
        self.read_until(peer, b'42')
        # The first process itself, which goes on without us.
        peer.close()
        peer, _ = self.connect(instance)
        peer.sendall(b'echo $$\n')
        self.read_until(peer, b'1')
        self.assertEqual('running', self.lifecycle.inspect(instance).status)
        peer.sendall(b'exit\n')
        while peer.recv(4096):
            pass
        self.until(lambda: self.lifecycle.inspect(
            instance).status == 'exited')


class TestPassword(base.ContainerCase):
    """What an image that wants harm does when it is given a password."""

    def given(self, tool, **kwargs):
        instance = self.spawn(
            'command: [sh, -c, "printf \'#!/bin/sh\\n%s\\n\' > '
            f'/bin/chpasswd \'{tool}\'; chmod 755 /bin/chpasswd; sleep 600"]')
        time.sleep(0.5)
        # An Engine may take 20 s to end what still wants to print.
        self.addCleanup(setattr, self.engine, '_timeout', 60)
        return self.engine.run(
            names.container(instance.uuid), ('chpasswd',), 'root',
            b'root:x\n')

    def test_any_amount_of_words(self):
        before = memory()
        self.engine._timeout = 5
        with self.assertRaises(errors.EngineTimeout):
            self.given('yes')
        self.assertLess(memory() - before, 30 * 1024)

    def test_a_code(self):
        self.assertEqual(7, self.given('cat > /dev/null; exit 7'))

    def test_no_end_after_its_last_word(self):
        self.engine._timeout = 2
        with self.assertRaises(errors.EngineTimeout):
            self.given('exec > /dev/null 2>&1; sleep 600')


def memory():
    """KiB of this process."""
    with open(f'/proc/{os.getpid()}/status') as status:
        return int(status.read().partition('VmRSS:')[2].split()[0])
