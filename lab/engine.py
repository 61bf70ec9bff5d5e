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

"""The Docker Engine of this machine: used if it runs, started if not.

An Engine that somebody else started is never reconfigured, restarted or
stopped.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
import socket

import docker
import psutil

from lab import layout as lab_layout
from lab import services

SOCKET = Path('/var/run/docker.sock')

#: What a killed Engine leaves, each with the daemon that a live one names.
_PID_FILES = {
    Path('/var/run/docker.pid'): 'dockerd',
    Path('/var/run/docker/containerd/containerd.pid'): 'containerd',
}


def answers() -> bool:
    """Whether an Engine listens on this machine's own socket."""
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(SOCKET))
    except OSError:
        return False
    return True


def service(layout: lab_layout.Layout) -> services.Service:
    """The lab's own Engine."""
    return services.Service('dockerd', ('dockerd',), answers, patience=60)


def clear_leftovers() -> list[Path]:
    """Removes pid files whose process is not the daemon they stand for.

    dockerd refuses to start when any process has the pid of such a file.
    """
    removed = []
    for path, daemon in _PID_FILES.items():
        if path.exists() and not _is(path, daemon):
            path.unlink()
            removed.append(path)
    return removed


def remove_containers(hosts: Iterable[str]) -> None:
    """Removes what an earlier cloud's computes left on the Engine.

    A new cloud knows nothing of them, and its nova-compute would refuse to
    start beside them.
    """
    client = docker.APIClient(base_url=f'unix://{SOCKET}', version='auto')
    for host in hosts:
        for entry in client.containers(all=True, filters={
                'label': f'org.openstack.nova-docker.host={host}'}):
            client.remove_container(entry['Id'], v=True, force=True)
    client.close()


def _is(path: Path, daemon: str) -> bool:
    try:
        process = psutil.Process(int(path.read_text()))
        # A killed daemon that nobody collects keeps its pid and its name.
        return (process.name() == daemon
                and process.status() != psutil.STATUS_ZOMBIE)
    except (psutil.Error, ValueError):
        return False
