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

"""Builds small image archives from the host's own busybox: no registry.

``web`` serves a page with what it fetches from ``db``; ``db`` keeps one
counter and a greeting; ``busybox`` is for tests and for trying things;
``ssh`` lets in who has the key pair of the server, as Tempest expects it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from typing import Any

BUSYBOX = '/bin/busybox'
DROPBEAR, PING, SHELL = '/usr/sbin/dropbear', '/usr/bin/ping', '/bin/dash'

#: Paths to contents and modes.
Files = Mapping[str, tuple[str | bytes, int]]

_APPLETS_IN = ('bin', 'usr/bin', 'sbin', 'usr/sbin')

_DB_PAGE = """#!/bin/sh
# One row, counted up with each reading.
read count < /data/count || count=0
count=$((count + 1))
echo $count > /data/count
printf 'Content-Type: text/plain\\r\\n\\r\\n'
echo "$GREETING (row $count of $(hostname))"
"""

_CHPASSWD = """#!/bin/sh
# busybox has a mkpasswd, and no tool that takes a password from a pipe.
while IFS=: read user password; do
    grep -q "^$user:" /etc/passwd || exit 1
    hashed=$(mkpasswd -m sha256 "$password") || exit 1
    sed -i "s|^$user:[^:]*|$user:$hashed|" /etc/shadow || exit 1
done
"""

#: A password file, and a tool that changes it.
_PASSWORDS = {'etc/shadow': ('root:*:1::::::\n', 0o600),
              'bin/chpasswd': (_CHPASSWD, 0o755)}

_LOGIN = """#!/bin/sh
# Who may log in is what the metadata service says, as soon as it answers.
keys=http://169.254.169.254/latest/meta-data/public-keys/0/openssh-key
mkdir -p /root/.ssh && chmod 700 /root/.ssh
for attempt in $(seq 60); do
    timeout 3 wget -q -O /root/.ssh/authorized_keys $keys && break
    sleep 1
done &
exec dropbear -F -E -R
"""

_WEB_PAGE = """#!/bin/sh
row=$(wget -q -O - "http://$DB_HOST:$DB_PORT/")
printf 'Content-Type: text/html\\r\\n\\r\\n'
echo "<html><body><h1>nova-docker-driver</h1>"
echo "<p>Served by the container $(hostname).</p>"
echo "<p>From the database: <b>${row:-nothing}</b></p></body></html>"
"""


def archive(name: str, files: Files | None = None,
            config: Mapping[str, Any] | None = None) -> bytes:
    """A docker-save archive of busybox with more files in it.

    :param name: the tag that the archive carries
    :param files: beside those of busybox
    :param config: the image's configuration, as in ``docker inspect``
    """
    layer = _layer(files or {})
    configuration = json.dumps({
        'architecture': _architecture(), 'os': 'linux',
        'created': '2026-01-01T00:00:00Z',
        'config': {'Env': ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'],
                   'Cmd': ['sh'], **(config or {})},
        'rootfs': {'type': 'layers', 'diff_ids': [
            'sha256:' + hashlib.sha256(layer).hexdigest()]},
    }, sort_keys=True).encode()
    digest = hashlib.sha256(configuration).hexdigest()
    manifest = json.dumps([{'Config': f'{digest}.json', 'RepoTags': [name],
                            'Layers': ['layer/layer.tar']}]).encode()
    return tar({f'{digest}.json': configuration, 'layer/layer.tar': layer,
                'manifest.json': manifest})


def tar(members: Mapping[str, bytes]) -> bytes:
    """A plain tar of these members."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode='w') as outer:
        for path, content in members.items():
            _add(outer, path, content, 0o644)
    return output.getvalue()


def busybox() -> bytes:
    """All of busybox's programs and a shell by default."""
    return archive('busybox:lab')


def with_passwords() -> bytes:
    """Busybox with a password file and a tool to change it."""
    return archive('passwords:lab', {**_PASSWORDS})


def web() -> bytes:
    """A web server on port 80; wants DB_HOST and DB_PORT."""
    return archive('web:lab', {
        **_PASSWORDS, 'www/cgi-bin/index.cgi': (_WEB_PAGE, 0o755)},
        {'Cmd': _serving(80)})


def db() -> bytes:
    """A backend on port 5432; GREETING is what it tells."""
    return archive(
        'db:lab', {**_PASSWORDS, 'www/cgi-bin/index.cgi': (_DB_PAGE, 0o755),
                   'data/count': ('0\n', 0o644)},
        {'Cmd': _serving(5432),
         'Env': ['PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'GREETING=hello']})


def _serving(port: int) -> list[str]:
    # Its console's log has a line from the beginning.
    return ['sh', '-c', f'echo Listening at port {port}; '
            f'exec httpd -f -v -h /www -p {port}']


def ssh() -> bytes:
    """The host's own dropbear, ping and shell, with what they are linked to.

    The ping of busybox wants a right that containers do not have, and its
    shell prefers that to any other.
    """
    programs = (DROPBEAR, PING, SHELL)
    linked = subprocess.run(['ldd', *programs], capture_output=True,
                            text=True, check=True).stdout
    found = {path.lstrip('/'): _program(path) for path in (
        *programs, *re.findall(r'(/\S+) \(0x', linked))}
    return archive('ssh:lab', {
        **found, **_PASSWORDS, 'bin/sh': found[SHELL.lstrip('/')],
        'etc/dropbear/none': ('', 0o644),
        'etc/shells': ('/bin/sh\n', 0o644),
        # As much of these as tests ask for.
        'bin/curl': ('#!/bin/sh\nfor last; do :; done\n'
                     '[ "$1 $2 $3" = "-X POST -d" ] &&\n'
                     '    exec wget -q -O - --post-data "$4" "$last"\n'
                     'exec wget -q -O - "$last"\n', 0o755),
        'bin/sudo': ('#!/bin/sh\nexec "$@"\n', 0o755),
        'sbin/login-server': (_LOGIN, 0o755)},
        {'Cmd': ['/sbin/login-server']})


def _program(path: str) -> tuple[bytes, int]:
    with open(os.path.realpath(path), 'rb') as file:
        return file.read(), 0o755


def _layer(files: Files) -> bytes:
    output = io.BytesIO()
    with open(BUSYBOX, 'rb') as program, tarfile.open(
            fileobj=output, mode='w', format=tarfile.GNU_FORMAT) as layer:
        for directory in (*_APPLETS_IN, 'etc', 'tmp', 'root'):
            info = tarfile.TarInfo(directory)
            info.type = tarfile.DIRTYPE
            info.mode = 0o1777 if directory == 'tmp' else 0o755
            layer.addfile(info)
        _add(layer, 'bin/busybox', program.read(), 0o755)
        for applet in _applets():
            if f'bin/{applet}' in files:
                continue
            link = tarfile.TarInfo(f'bin/{applet}')
            link.type, link.linkname = tarfile.SYMTYPE, 'busybox'
            layer.addfile(link)
        _add(layer, 'etc/passwd', b'root:x:0:0::/root:/bin/sh\n'
             b'nobody:x:65534:65534::/:/bin/sh\n', 0o644)
        _add(layer, 'etc/group', b'root:x:0:\nnobody:x:65534:\n', 0o644)
        for path, (content, mode) in files.items():
            _add(layer, path, content.encode() if isinstance(content, str)
                 else content, mode)
    return output.getvalue()


def _add(archive_file: tarfile.TarFile, path: str, content: bytes,
         mode: int) -> None:
    info = tarfile.TarInfo(path)
    info.size, info.mode = len(content), mode
    archive_file.addfile(info, io.BytesIO(content))


def _applets() -> Sequence[str]:
    listing = subprocess.run([BUSYBOX, '--list'], capture_output=True,
                             text=True, check=True)
    return [name for name in listing.stdout.split() if name != 'busybox']


def _architecture() -> str:
    machine = subprocess.run(['uname', '-m'], capture_output=True, text=True,
                             check=True).stdout.strip()
    return {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(machine, machine)


if __name__ == '__main__':
    # The archive of an image by its name, for who has no registry.
    sys.stdout.buffer.write({'busybox': busybox, 'web': web, 'db': db,
                             'ssh': ssh}[sys.argv[1]]())
