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

"""Starts and ends the lab's processes, and only those.

A process is ours if its environment carries this lab's root and a service
name. That survives what a pid file does not: a kill, a reused pid, a lost
run directory. Nothing is ever ended by its name or its port.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
import os
from pathlib import Path
import signal
import subprocess

import psutil

_ROOT_MARK = 'NOVA_DOCKER_LAB_ROOT'
_SERVICE_MARK = 'NOVA_DOCKER_LAB_SERVICE'


class Processes:
    """The processes of the lab below one root directory."""

    def __init__(self, root: Path, logs: Path) -> None:
        self._root = root
        self._logs = logs

    def start(self, service: str, command: Sequence[str],
              environment: Mapping[str, str] | None = None) -> int:
        """Starts a service in a session of its own; answers its pid."""
        log = self.log(service)
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists():
            log.replace(log.with_suffix('.log.1'))
        marks = {_ROOT_MARK: str(self._root), _SERVICE_MARK: service,
                 # Or setproctitle would write over the marks.
                 'SPT_NOENV': '1'}
        with log.open('wb') as output:
            process = subprocess.Popen(
                command, env={**os.environ, **(environment or {}), **marks},
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, cwd='/')
        return process.pid

    def log(self, service: str) -> Path:
        return self._logs / f'{service}.log'

    def running(self) -> dict[str, list[psutil.Process]]:
        """Service name to its live processes, workers and helpers too."""
        found: dict[str, list[psutil.Process]] = {}
        for process in psutil.process_iter():
            service = self._service_of(process)
            if service:
                found.setdefault(service, []).append(process)
        return found

    def _service_of(self, process: psutil.Process) -> str | None:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            environment = process.environ()
        except (psutil.Error, OSError):
            # Gone meanwhile, or a kernel thread: not one of ours.
            return None
        if environment.get(_ROOT_MARK) != str(self._root):
            return None
        return environment.get(_SERVICE_MARK)

    def stop(self, services: Iterable[str] | None = None,
             patience: float = 8.0) -> list[str]:
        """Ends services (default: all); answers the names that ran."""
        running = self.running()
        names = [name for name in (running if services is None else services)
                 if name in running]
        processes = [process for name in names for process in running[name]]
        _signal(processes, signal.SIGTERM)
        _, alive = psutil.wait_procs(processes, timeout=patience)
        _signal(alive, signal.SIGKILL)
        psutil.wait_procs(alive, timeout=5)
        return names


def _signal(processes: Iterable[psutil.Process], number: int) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue
