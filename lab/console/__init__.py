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

"""Shows a server's serial console in a browser: ``tools/lab console``."""

from __future__ import annotations

from collections.abc import Callable
import functools
import http.server
from pathlib import Path
import shutil
import subprocess
import urllib.parse

from lab import layout as lab_layout
from lab import seed

_PAGE = Path(__file__).with_name('index.html')
_PACKAGE = '@xterm/xterm@5.5.0'


def prepare(layout: lab_layout.Layout) -> Path:
    """The directory of the page, with the terminal's program beside it.

    :raises CalledProcessError: if npm cannot fetch it
    """
    place = layout.root / 'console'
    if not (place / 'xterm.js').exists():
        place.mkdir(parents=True, exist_ok=True)
        subprocess.run(['npm', 'install', '--silent', '--no-save',
                        '--prefix', str(place), _PACKAGE], check=True)
        package = place / 'node_modules/@xterm/xterm'
        shutil.copy(package / 'lib/xterm.js', place)
        shutil.copy(package / 'css/xterm.css', place)
    shutil.copy(_PAGE, place)
    return place


def url(layout: lab_layout.Layout, server: str, user: str, page: str) -> str:
    """The page's address, for one console of a server."""
    tenant = seed.connect(layout, user)
    found = tenant.compute.find_server(server, ignore_missing=False)
    answer = tenant.compute.post(
        f'/servers/{found.id}/remote-consoles', microversion='2.96',
        json={'remote_console': {'protocol': 'serial', 'type': 'serial'}})
    answer.raise_for_status()
    socket = answer.json()['remote_console']['url']
    return f'{page}?{urllib.parse.quote(socket, safe="")}'


def serve(layout: lab_layout.Layout, server: str, user: str,
          say: Callable[[str], None]) -> None:
    """Serves the page on loopback until it is interrupted."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler,
                                directory=str(prepare(layout)))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as served:
        page = f'http://127.0.0.1:{served.server_port}/'
        say(f'Open {url(layout, server, user, page)}')
        served.serve_forever()
