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

"""An Engine of a test's own, to be configured, killed and restarted.

It has its own network namespace, files and socket, so that the machine's
Engine does not notice it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
import shutil
import signal
import subprocess
import tempfile
import time

import docker
import docker.errors
import psutil

_PATIENCE = 60


class PrivateEngine:
    """A Docker Engine that one test starts, kills and starts again."""

    def __init__(self, *options: str) -> None:
        """Starts nothing yet.

        :param options: for dockerd, beside those that keep it apart
        """
        # Short: the path of a unix socket has 107 characters at most.
        self.directory = Path(tempfile.mkdtemp(prefix='engine-', dir='/tmp'))
        self.socket = self.directory / 's'
        self.root = self.directory / 'data'
        self._options = options
        #: The data root is a file system of the test's own.
        self._root_is_given = False
        self._daemon: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """As in ``[docker] endpoint``."""
        return f'unix://{self.socket}'

    @property
    def pid(self) -> int:
        """Of its daemon."""
        assert self._daemon is not None
        return self._daemon.pid

    def start(self) -> None:
        """It answers afterwards."""
        if self._daemon is None and not (self.directory / 'log').exists():
            self._root_is_given = self.root.is_mount()
        # What a killed Engine leaves and a new one stumbles over.
        for path in (self.directory / 'pid',
                     self.directory / 'run/containerd/containerd.pid'):
            path.unlink(missing_ok=True)
        with open(self.directory / 'log', 'ab') as log:
            self._daemon = subprocess.Popen(
                ['unshare', '--net', 'dockerd', f'--host={self.endpoint}',
                 f'--data-root={self.root}',
                 f'--exec-root={self.directory / "run"}',
                 f'--pidfile={self.directory / "pid"}', '--bridge=none',
                 '--iptables=false', '--ip6tables=false', *self._options],
                stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + _PATIENCE
        while not self._answers():
            if self._daemon.poll() is not None or (
                    time.monotonic() > deadline):
                raise RuntimeError('The private Engine does not start:\n'
                                   + self.log()[-2000:])
            time.sleep(0.1)

    def log(self) -> str:
        """What it wrote so far."""
        return (self.directory / 'log').read_text()

    def client(self) -> docker.APIClient:
        """A client, which the caller closes."""
        return docker.APIClient(self.endpoint, version='1.41')

    def kill(self, *, with_containers: bool = False) -> None:
        """It is gone without a chance to tidy up, its containerd too.

        :param with_containers: as if the host itself had lost its power
        """
        if self._daemon is None:
            return
        doomed = psutil.Process(self._daemon.pid).children(recursive=True)
        if with_containers:
            doomed += _shims(self.directory)
        for process in (psutil.Process(self._daemon.pid), *doomed):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._daemon.wait()
        psutil.wait_procs(doomed, timeout=10)
        self._daemon = None
        if with_containers:
            self._unmount()

    def hang(self) -> None:
        """It answers nobody, and refuses nobody, until ``go_on``."""
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """It answers again."""
        if self._daemon is not None:
            self._daemon.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        """It has ended in order, and its containers with it."""
        if self._daemon is not None:
            self._daemon.send_signal(signal.SIGTERM)
            self._daemon.wait(_PATIENCE)
            self._daemon = None

    def remove(self) -> None:
        """Nothing of it is left."""
        self.kill(with_containers=True)
        self._unmount()
        shutil.rmtree(self.directory)

    def _answers(self) -> bool:
        with contextlib.closing(self.client()) as client:
            try:
                return bool(client.ping())
            except (docker.errors.DockerException, OSError):
                return False

    def _unmount(self) -> None:
        mounted = [part.mountpoint for part in psutil.disk_partitions(all=True)
                   if Path(part.mountpoint).is_relative_to(self.directory)]
        # The innermost first. An Engine mounts its data root upon itself.
        for path in sorted(mounted, key=len, reverse=True):
            if Path(path) != self.root or not self._root_is_given:
                subprocess.run(['umount', '--lazy', path], check=True)


def _shims(directory: Path) -> list[psutil.Process]:
    """The Engine's containers and what looks after them."""
    found = []
    for process in psutil.process_iter(['cmdline']):
        if any(str(directory) in word
               for word in process.info['cmdline'] or ()):
            found += [process, *process.children(recursive=True)]
    return [process for process in found if process.pid != os.getpid()]
