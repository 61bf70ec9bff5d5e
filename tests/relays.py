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

"""Servers of a test's own that pass on what they are told."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from typing import Any
import unittest

_PIECE = 64 * 1024


class _Server(socketserver.ThreadingTCPServer):
    # A test that was there a moment ago may have had the same port.
    allow_reuse_address = True
    # Who is connected may go later than the test's server.
    daemon_threads = True


def serve(case: unittest.TestCase, address: tuple[str, int],
          handler: type[socketserver.BaseRequestHandler]) -> int:
    """A server until the test ends; answers its port.

    :param address: port 0 is any free one
    """
    server = _Server(address, handler)
    case.addCleanup(server.server_close)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    case.addCleanup(server.shutdown)
    return int(server.server_address[1])


def join(one: Any, other: Any) -> None:
    """Returns when both ends have said all that they had to say.

    :param one: a socket, or what is used like one
    """
    back = threading.Thread(target=_pump, args=(other, one), daemon=True)
    back.start()
    _pump(one, other)
    back.join()


def _pump(source: Any, sink: Any) -> None:
    # Either end may be gone at any time.
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
