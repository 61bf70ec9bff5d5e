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

"""Registries of a test's own: Debian's docker-registry, and one that hangs."""

import contextlib
import datetime
import hashlib
import http.server
import ipaddress
import json
import os
from pathlib import Path
import signal
import socket
import subprocess
import tempfile
import threading
import time

import bcrypt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography import x509
from cryptography.x509 import oid
import docker
import yaml

from nova_docker_driver import names

USER, PASSWORD = 'puller', 'canary-9c41'
#: What the Engine of this machine reads about a registry's certificate.
CERTIFICATES = Path('/etc/docker/certs.d')


def free_port():
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


class Registry:
    """docker-registry as a process, with files of its own."""

    def __init__(self, address='127.0.0.1', authenticated=False, tls=False,
                 inside=(), port=None):
        """Starts nothing yet.

        :param inside: a command that runs another one where it belongs
        """
        self.directory = tempfile.TemporaryDirectory(prefix='registry-')
        self.domain = f'{address}:{port or free_port()}'
        self._inside = inside
        self._process = None
        self.pulled = []
        path = Path(self.directory.name)
        self._config = path / 'config.yml'
        settings = {
            'version': 0.1,
            'storage': {'filesystem': {'rootdirectory': str(path / 'data')}},
            'http': {'addr': self.domain}}
        if authenticated:
            hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4))
            (path / 'htpasswd').write_text(f'{USER}:{hashed.decode()}\n')
            settings['auth'] = {'htpasswd': {
                'realm': 'test', 'path': str(path / 'htpasswd')}}
        if tls:
            self.authority = certificate(path, address)
            settings['http']['tls'] = {
                'certificate': str(path / 'server.crt'),
                'key': str(path / 'server.key')}
        self._config.write_text(yaml.safe_dump(settings))

    def start(self):
        """It answers afterwards."""
        with open(Path(self.directory.name) / 'log', 'wb') as log:
            self._process = subprocess.Popen(
                [*self._inside, 'docker-registry', 'serve',
                 str(self._config)], stdout=log, stderr=log,
                start_new_session=True)
        if self._inside:
            time.sleep(1)
            return
        host, _, port = self.domain.rpartition(':')
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(
                    (host, int(port)), timeout=1):
                return
            if time.monotonic() > deadline:
                raise RuntimeError('the registry does not start')
            time.sleep(0.1)

    def stop(self):
        """Nothing of it is left."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        self.pulled = self.references()
        self.directory.cleanup()

    def references(self):
        """With a digest, all that it has had since it began."""
        root = Path(self.directory.name,
                    'data/docker/registry/v2/repositories')
        return [f'{self.domain}/{path.parents[3].relative_to(root)}@sha256:'
                f'{path.name}' for path
                in root.glob('**/_manifests/revisions/sha256/*')
                ] or self.pulled

    def remove_pulled(self, client):
        """An Engine has none of it under our tags afterwards."""
        for reference in self.references():
            with contextlib.suppress(docker.errors.NotFound):
                client.remove_image(names.reference_tag(reference))

    def push(self, client, archive, repository, authenticated=False):
        """Has an image afterwards that an archive holds."""
        loaded = ''.join(line.get('stream', '') for line
                         in client.load_image(archive))
        source = loaded.partition('Loaded image: ')[2].strip()
        name, _, tag = f'{self.domain}/{repository}'.rpartition(':')
        client.tag(source, name, tag)
        try:
            for line in client.push(
                    name, tag, stream=True, decode=True, auth_config={
                        'username': USER, 'password': PASSWORD}
                    if authenticated else {}):
                if 'error' in line:
                    raise docker.errors.DockerException(line['error'])
        finally:
            client.remove_image(f'{name}:{tag}')
            client.remove_image(source)


def certificate(path, address):
    """An authority and a server's certificate of it; answers the former."""
    now = datetime.datetime.now(datetime.UTC)
    key = ec.generate_private_key(ec.SECP256R1())

    def signed(name, public, authority):
        subject = x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME,
                                                name)])
        return x509.CertificateBuilder(
            issuer_name=x509.Name([x509.NameAttribute(
                oid.NameOID.COMMON_NAME, 'authority')]),
            subject_name=subject, public_key=public,
            serial_number=x509.random_serial_number(),
            not_valid_before=now - datetime.timedelta(days=1),
            not_valid_after=now + datetime.timedelta(days=1)
        ).add_extension(
            x509.BasicConstraints(ca=authority, path_length=None), True
        ).add_extension(x509.SubjectAlternativeName([
            x509.IPAddress(ipaddress.ip_address(address))]), False).sign(
                key, hashes.SHA256())
    own = ec.generate_private_key(ec.SECP256R1())
    (path / 'server.crt').write_bytes(signed(
        'server', own.public_key(), False).public_bytes(
            serialization.Encoding.PEM))
    (path / 'server.key').write_bytes(own.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()))
    return signed('authority', key.public_key(), True).public_bytes(
        serialization.Encoding.PEM)


class HangingRegistry:
    """Has one image, and sends only the first half of its layer."""

    def __init__(self, config, layer):
        self._blobs = {self._digest(blob): blob for blob in (config, layer)}
        self._layer = self._digest(layer)
        self._manifest = json.dumps({
            'schemaVersion': 2, 'mediaType':
                'application/vnd.docker.distribution.manifest.v2+json',
            'config': {'mediaType':
                       'application/vnd.docker.container.image.v1+json',
                       'size': len(config), 'digest': self._digest(config)},
            'layers': [{'mediaType':
                        'application/vnd.docker.image.rootfs.diff.tar',
                        'size': len(layer), 'digest': self._layer}],
        }).encode()
        self._ended = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_HEAD(self):
                outer._answer(self, False)

            def do_GET(self):
                outer._answer(self, True)

            def log_message(self, *arguments):
                """Says nothing."""
        self._server = http.server.ThreadingHTTPServer(('127.0.0.1', 0),
                                                       Handler)
        self._server.daemon_threads = True
        self.domain = f'127.0.0.1:{self._server.server_port}'
        threading.Thread(target=self._server.serve_forever,
                         daemon=True).start()

    @staticmethod
    def _digest(content):
        return 'sha256:' + hashlib.sha256(content).hexdigest()

    def _answer(self, handler, whole):
        name = handler.path.rpartition('/')[2]
        content, kind = self._blobs.get(name), 'application/octet-stream'
        if '/manifests/' in handler.path:
            content = self._manifest
            kind = 'application/vnd.docker.distribution.manifest.v2+json'
        elif content is None:
            content = b'{}'
        handler.send_response(200)
        handler.send_header('Content-Type', kind)
        handler.send_header('Content-Length', str(len(content)))
        handler.send_header('Docker-Content-Digest', self._digest(content))
        handler.end_headers()
        if whole and name == self._layer:
            handler.wfile.write(content[:len(content) // 2])
            handler.wfile.flush()
            self._ended.wait(60)
        elif whole:
            handler.wfile.write(content)

    def stop(self):
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
