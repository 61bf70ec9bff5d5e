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

"""Lets a host in a network namespace reach services of this machine.

``forward.py NAMESPACE PORT...``: what connects to the loopback address in the
namespace is connected to the same port here.
"""

from __future__ import annotations

import asyncio
import socket
import sys

from pyroute2 import netns

_PIECE = 64 * 1024


async def _pass_on(reader: asyncio.StreamReader,
                   writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def _serve(namespace: str, port: int) -> None:
    async def connected(reader: asyncio.StreamReader,
                        writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection('127.0.0.1', port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pass_on(reader, there[1]),
                             _pass_on(there[0], writer))

    # The socket is the namespace's, wherever it is served.
    listener = netns.create_socket(namespace, socket.AF_INET,
                                   socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(('127.0.0.1', port))
    listener.setblocking(False)
    server = await asyncio.start_server(connected, sock=listener)
    await server.serve_forever()


async def _main(namespace: str, ports: list[int]) -> None:
    tasks = [asyncio.create_task(_serve(namespace, port)) for port in ports]
    print('forwarding', flush=True)
    await asyncio.gather(*tasks)


if __name__ == '__main__':
    asyncio.run(_main(sys.argv[1], [int(port) for port in sys.argv[2:]]))
