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

"""Engines that are elsewhere: real TLS and real SSH to a real Engine."""

from pathlib import Path
import socket
import socketserver
import subprocess
import tempfile
import threading
import time

import fixtures
from heat.common import exception
import paramiko
from pyroute2 import netns
import trustme

from tests.functional_heat import base
from tests import private_engine
from tests import relays

_PORT = 2376


class EndpointCase(base.LegacyCase):

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        super().setUp()

    def check_a_life(self):
        found = self.created()
        self.assertTrue(self.inspect(found)['State']['Running'])
        self.until(lambda: found._resolve_attribute('logs_head') == 'first')
        self.run_task(found.delete)
        self.assertEqual(self.before, self.containers())

    def check_refused(self, text):
        found = self.container()
        error = self.assertRaises(exception.ResourceFailure, self.run_task,
                                  found.create)
        self.assertIn('The Engine local: ', str(error))
        self.assertIn(text, str(error))

    def until(self, check):
        deadline = time.monotonic() + 10
        while not check():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)


class TestHttps(EndpointCase):
    """dockerd with --tlsverify, in a network namespace of its own."""

    def make_engine(self):
        self.authority = trustme.CA()
        files = self.files('engine', self.authority,
                           self.authority.issue_cert('127.0.0.1'))
        private = private_engine.PrivateEngine(
            f'--host=tcp://0.0.0.0:{_PORT}', '--tlsverify',
            f'--tlscacert={files["ca_file"]}',
            f'--tlscert={files["cert_file"]}',
            f'--tlskey={files["key_file"]}')
        self.addCleanup(private.remove)
        private.start()
        namespace = f'/proc/{private.pid}/ns/net'
        subprocess.run(['nsenter', f'--net={namespace}', 'ip', 'link', 'set',
                        'lo', 'up'], check=True)

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                there = netns.create_socket(namespace, socket.AF_INET,
                                            socket.SOCK_STREAM)
                with there:
                    there.connect(('127.0.0.1', _PORT))
                    relays.join(self.request, there)

        port = relays.serve(self, ('127.0.0.1', 0), Handler)
        self.url = f'https://127.0.0.1:{port}'
        return private.client()

    def files(self, name, authority, certificate):
        """The paths of an authority, a certificate and its key."""
        paths = {f'{what}_file': str(self.directory / f'{name}-{what}')
                 for what in ('ca', 'cert', 'key')}
        authority.cert_pem.write_to_path(paths['ca_file'])
        certificate.cert_chain_pems[0].write_to_path(paths['cert_file'])
        certificate.private_key_pem.write_to_path(paths['key_file'])
        return paths

    def test_certificates_of_one_authority(self):
        self.endpoint(self.url, **self.files(
            'heat', self.authority, self.authority.issue_cert('heat')))
        self.check_a_life()

    def test_certificates_of_others(self):
        other = trustme.CA()
        # The Engine does not know who signed Heat's.
        self.endpoint(self.url, **self.files(
            'heat', self.authority, other.issue_cert('heat')))
        self.check_refused('alert')
        # Heat does not know who signed the Engine's.
        self.endpoint(self.url, **self.files(
            'heat', other, self.authority.issue_cert('heat')))
        self.check_refused('unable to get local issuer')
        # The Engine's is another host's.
        self.endpoint(self.url.replace('127.0.0.1', 'localhost'),
                      **self.files('heat', self.authority,
                                   self.authority.issue_cert('heat')))
        self.check_refused('Hostname mismatch')


class _SSH(paramiko.ServerInterface):
    """Lets in who has the key, and runs what reaches the Engine."""

    def __init__(self, key):
        self._key = key

    def get_allowed_auths(self, username):
        return 'publickey'

    def check_auth_publickey(self, username, key):
        return (paramiko.AUTH_SUCCESSFUL if key == self._key
                else paramiko.AUTH_FAILED)

    def check_channel_request(self, kind, channel_id):
        return (paramiko.OPEN_SUCCEEDED if kind == 'session' else
                paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED)

    def check_channel_exec_request(self, channel, command):
        ours, theirs = socket.socketpair()
        with theirs:
            # As sshd does: by a shell.
            process = subprocess.Popen(command, shell=True, stdin=theirs,
                                       stdout=theirs)
        threading.Thread(target=self._pass_on, daemon=True,
                         args=(channel, ours, process)).start()
        return True

    def _pass_on(self, channel, ours, process):
        with ours, channel:
            relays.join(channel, ours)
        process.wait()


class TestSsh(EndpointCase):
    """A server of paramiko's, which runs docker's own end of the way."""

    def setUp(self):
        super().setUp()
        self.keys = self.directory / '.ssh'
        self.keys.mkdir(mode=0o700)
        self.useFixture(fixtures.EnvironmentVariable(
            'HOME', str(self.directory)))
        host_key = paramiko.ECDSAKey.generate()
        key = paramiko.ECDSAKey.generate()
        key.write_private_key_file(str(self.keys / 'id_ecdsa'))

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                transport = paramiko.Transport(self.request)
                transport.add_server_key(host_key)
                transport.start_server(server=_SSH(key))
                transport.join()

        self.port = relays.serve(self, ('127.0.0.1', 0), Handler)
        self.host_key = host_key
        self.endpoint(f'ssh://root@127.0.0.1:{self.port}')

    def know(self, key):
        (self.keys / 'known_hosts').write_text(
            f'[127.0.0.1]:{self.port} {key.get_name()} {key.get_base64()}\n')

    def test_a_host_that_is_known(self):
        self.know(self.host_key)
        self.check_a_life()

    def test_hosts_that_are_not(self):
        self.check_refused('not found in known_hosts')
        self.know(paramiko.ECDSAKey.generate())
        self.check_refused('does not match')

    def test_a_key_that_is_not(self):
        self.know(self.host_key)
        paramiko.ECDSAKey.generate().write_private_key_file(
            str(self.keys / 'id_ecdsa'))
        self.check_refused('Authentication failed')
