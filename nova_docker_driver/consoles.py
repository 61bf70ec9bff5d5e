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

"""Interactive consoles: one TCP listener for all servers of this host.

Nova's serial proxy connects to it and names, in the way of HTTP's CONNECT, a
path that was made for one request of one user. The path is unguessable, good
for one connection, and only for as long as the token that Nova wraps it in.
Behind it is the terminal of the container's first process, or a new shell.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
import contextlib
import dataclasses
import secrets
import selectors
import socket
import socketserver
import sys
import threading
import time
from typing import Any, cast

from oslo_log import log as logging

from nova_docker_driver import errors

LOG = logging.getLogger(__name__)

#: A peer that does not say within so many seconds what it wants is dropped.
_HANDSHAKE_SECONDS = 10
_HANDSHAKE_SIZE = 4096
_CHUNK = 65536

#: Consoles that one host serves at a time: each holds a thread.
MOST_SESSIONS = 128
#: Of these, for one server.
MOST_OF_A_SERVER = 8

#: Opens the terminal of a server: a socket, and what is to be done after it.
Open = Callable[[str], contextlib.AbstractContextManager[socket.socket]]


@dataclasses.dataclass(frozen=True)
class Offer:
    """Where one user may connect to, once."""

    host: str
    port: int
    path: str


class Consoles:
    """The listener, and the paths that it knows."""

    def __init__(self, host: str, port: int, lifetime: float, open_terminal:
                 Open) -> None:
        """Listens to nothing before ``start``.

        :param host: address to listen on, which the proxy connects to
        :param port: 0 for any that is free
        :param lifetime: seconds for which a path is good
        :param open_terminal: from the uuid of a server
        """
        self._address = (host, port)
        self._lifetime = lifetime
        self._open = open_terminal
        self._lock = threading.Lock()
        self._paths: dict[str, tuple[str, float]] = {}
        #: Server to the number of its open consoles.
        self._sessions: collections.Counter[str] = collections.Counter()
        self._server: _Server | None = None

    def start(self) -> None:
        """Begins to listen.

        :raises OSError: if the address cannot be had
        """
        self._server = _Server(self._address, self)
        threading.Thread(target=self._server.serve_forever,
                         name='docker-consoles', daemon=True).start()

    def stop(self) -> None:
        """Accepts nobody afterwards; those who are connected stay."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def offer(self, instance_uuid: str) -> Offer:
        """A new path to a server's terminal.

        :raises Unsupported: if this host serves no consoles
        """
        if self._server is None:
            raise errors.Unsupported('this host serves no consoles')
        path = '/' + secrets.token_urlsafe(32)
        now = time.monotonic()
        with self._lock:
            self._paths = {known: value for known, value
                           in self._paths.items() if value[1] > now}
            self._paths[path] = instance_uuid, now + self._lifetime
        host, port = self._server.server_address[:2]
        return Offer(str(host), port, path)

    def serve(self, peer: socket.socket) -> None:
        """One connection, from its first word to its end."""
        instance_uuid = self._take(_asked(peer))
        if instance_uuid is None:
            _refuse(peer, '404 Not Found')
        elif not self._enter(instance_uuid):
            _refuse(peer, '503 Service Unavailable')
        else:
            try:
                self._connect(peer, instance_uuid)
            finally:
                self._leave(instance_uuid)

    def _enter(self, instance_uuid: str) -> bool:
        with self._lock:
            if (self._sessions.total() >= MOST_SESSIONS
                    or self._sessions[instance_uuid] >= MOST_OF_A_SERVER):
                return False
            self._sessions[instance_uuid] += 1
        return True

    def _leave(self, instance_uuid: str) -> None:
        with self._lock:
            self._sessions[instance_uuid] -= 1
            if not self._sessions[instance_uuid]:
                del self._sessions[instance_uuid]

    def _take(self, path: str) -> str | None:
        """The server behind a path, which is good no more afterwards."""
        with self._lock:
            instance_uuid, until = self._paths.pop(path, (None, 0.0))
        return instance_uuid if time.monotonic() < until else None

    def _connect(self, peer: socket.socket, instance_uuid: str) -> None:
        try:
            with self._open(instance_uuid) as terminal:
                LOG.info('A console of server %s is open', instance_uuid)
                peer.sendall(b'HTTP/1.1 200 OK\r\n\r\n')
                relay(peer, terminal)
        except errors.DockerDriverError as error:
            LOG.warning('No console of server %s: %s', instance_uuid, error)
            _refuse(peer, '409 Conflict')
        LOG.info('A console of server %s is closed', instance_uuid)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], consoles: Consoles) -> None:
        self.consoles = consoles
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        LOG.debug('A console connection broke: %s', sys.exc_info()[1])


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        cast(_Server, self.server).consoles.serve(self.request)


def _asked(peer: socket.socket) -> str:
    """The path that a peer names; empty if it speaks otherwise."""
    peer.settimeout(_HANDSHAKE_SECONDS)
    # A proxy that vanishes must not hold a console for good.
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    said = b''
    while b'\r\n\r\n' not in said and len(said) < _HANDSHAKE_SIZE:
        chunk = peer.recv(_HANDSHAKE_SIZE)
        if not chunk:
            return ''
        said += chunk
    peer.settimeout(None)
    match said.partition(b'\r\n')[0].split(b' '):
        case [b'CONNECT', path, _]:
            return path.decode('ascii', errors='replace')
    return ''


def _refuse(peer: socket.socket, reason: str) -> None:
    # An answer in any case: Nova's proxy would wait for it without end.
    peer.sendall(f'HTTP/1.1 {reason}\r\n\r\n'.encode())


def relay(one: socket.socket, other: socket.socket) -> None:
    """Carries bytes both ways until either side ends."""
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in selector.select():
                source = cast(socket.socket, key.fileobj)
                try:
                    chunk = source.recv(_CHUNK)
                except ConnectionError:
                    return
                if not chunk:
                    return
                key.data.sendall(chunk)
