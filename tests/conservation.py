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

"""What every suite checks after every test: nothing too much, nothing left.

The *conservation check*: containers, devices, files and switch ports of ours
are exactly those of the servers that are supposed to be. The *safety check*:
no container of ours has more than its profile.
"""

from __future__ import annotations

from collections.abc import Iterable
import contextlib
from pathlib import Path
import subprocess
import threading
import time
from typing import Any

import docker
import docker.errors

from lab import layout as lab_layout
from nova_docker_driver import names
from nova_docker_driver import spec


#: Images of this process that have lost their tag while they were in use.
_untagged: set[str] = set()


def engine(endpoint: str | None = None) -> docker.APIClient:
    """A client of an Engine, this machine's own; raises if there is none."""
    return docker.APIClient(endpoint, version='1.41')


def our_containers(client: docker.APIClient) -> list[str]:
    """The ids of all containers that carry our label."""
    return [entry['Id'] for entry in client.containers(
        all=True, filters={'label': names.INSTANCE_LABEL})]


def leftovers(client: docker.APIClient, servers: Iterable[str] = (),
              files: Path | None = None) -> list[str]:
    """What is there although its server is not, in words.

    :param servers: uuids of the servers that are supposed to be
    :param files: the driver's directory of files, if it is to be checked
    """
    known = set(servers)
    found = []
    for entry in client.containers(all=True):
        uuid = names.owner(entry['Names'][0], entry['Labels'] or {})
        if uuid and uuid not in known:
            found.append(f'container {entry["Names"][0]}')
    if files and files.exists():
        found += [f'files {path}' for path in files.iterdir()
                  if path.name not in known]
    if not known:
        found += [f'device {path.name}'
                  for path in Path('/sys/class/net').iterdir()
                  if path.name.startswith('tap')]
        found += [f'switch port {name}' for name in _switch_ports()
                  if name.startswith('tap')]
    return found


def remove_images(client: docker.APIClient, image_id: str) -> None:
    """The Engine does not know a Glance image any more.

    The tag goes also while a container of the image is there; the rest of it
    goes with ``remove_untagged`` then.
    """
    for image in client.images(f'{names.IMAGE_NAMESPACE}/{image_id}'):
        for tag in image['RepoTags']:
            if tag.startswith(f'{names.IMAGE_NAMESPACE}/{image_id}:'):
                client.remove_image(tag, force=True)
                _untagged.add(image['Id'])


def remove_untagged(client: docker.APIClient) -> None:
    """Images that ``remove_images`` could not remove whole are gone."""
    for image_id in tuple(_untagged):
        with contextlib.suppress(docker.errors.NotFound):
            if not client.inspect_image(image_id)['RepoTags']:
                client.remove_image(image_id)
        _untagged.discard(image_id)


class Balance:
    """What an Engine has beside containers, before a test and after it.

    For suites that have the Engine to themselves.
    """

    def __init__(self, endpoint: str | None = None) -> None:
        self._endpoint = endpoint
        self._before = self._now()

    def end(self) -> list[str]:
        """What is there that was not, in words; a moment's delay is none."""
        deadline = time.monotonic() + 5
        while more := self._now() - self._before:
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        return sorted(more)

    def _now(self) -> set[str]:
        with contextlib.closing(engine(self._endpoint)) as client:
            volumes = client.volumes()['Volumes'] or ()
        # The Engine unmounts a namespace at once; its file goes later.
        mounted = [line.split()[1] for line
                   in Path('/proc/mounts').read_text().splitlines()]
        return {
            *(f'volume {volume["Name"]}' for volume in volumes),
            *(f'mount {path}' for path in mounted
              if '/netns/' in path or path.endswith('/root'))}


def _switch_ports() -> list[str]:
    host = lab_layout.Layout.from_environment().hosts[0]
    if not (host.run / 'db.sock').exists():
        return []
    return subprocess.run(
        ['ovs-vsctl', f'--db={host.ovsdb}', 'list-ports', 'br-int'],
        capture_output=True, text=True, check=True).stdout.split()


def excesses(client: docker.APIClient, container_id: str,
             files: Path) -> list[str]:
    """What a container of ours has beyond its profile, in words."""
    found = client.inspect_container(container_id)
    host = found['HostConfig']
    problems = []
    if host['Privileged']:
        problems.append('it is privileged')
    if set(host['CapAdd'] or ()) - set(spec.BASELINE_CAPS):
        problems.append(f'it has the capabilities {host["CapAdd"]}')
    if host['CapDrop'] != ['ALL']:
        problems.append('it keeps capabilities of the default')
    if host['Devices'] or host['Binds']:
        problems.append('it has devices or binds')
    for mount in found['Mounts']:
        if mount['Type'] == 'bind' and not _is_ours(mount, found, files):
            problems.append(f'it binds {mount["Source"]}')
    if host['PidMode'] or host['UTSMode'] or host['IpcMode'] != 'private':
        problems.append('it shares a namespace with the host')
    if not (host['NetworkMode'] == 'none'
            or host['NetworkMode'].startswith('container:')):
        problems.append(f'its network is {host["NetworkMode"]}')
    if 'no-new-privileges:true' not in (host['SecurityOpt'] or ()):
        problems.append('it may gain privileges')
    # A flavor may choose which one, but not none.
    cpus = ('NanoCpus', 'CpuQuota', 'CpusetCpus', 'CpuShares')
    if not (host['Memory'] and host['PidsLimit']
            and any(host[key] for key in cpus)):
        problems.append('it lacks a limit')
    return problems


def _is_ours(mount: dict[str, Any], found: dict[str, Any], files: Path
             ) -> bool:
    """Read-only and of the server's own directory; or what it rescues."""
    labels = found['Config']['Labels']
    own = files / labels[names.INSTANCE_LABEL]
    if (labels[names.ROLE_LABEL] == names.ROLE_RESCUE
            and Path(mount['Source']) == own / 'root'):
        return bool(mount['Destination'] == '/rescue')
    return not mount['RW'] and Path(mount['Source']).is_relative_to(own)


class Watch:
    """Inspects every container that a host makes while it runs.

    :param files: the host's directory of files
    :param host: its name in Nova
    :param endpoint: of its Engine, if it is not this machine's own
    """

    def __init__(self, files: Path, host: str,
                 endpoint: str | None = None) -> None:
        self._files = files
        self._endpoint = endpoint
        self._client = engine(endpoint)
        self._began = time.time()
        self._seen: set[str] = set()
        self._problems: list[str] = []
        self._filters = {'type': 'container', 'event': ['create'],
                         'label': f'{names.HOST_LABEL}={host}'}
        self._events = self._client.events(
            since=self._began, decode=True, filters=self._filters)
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        client = engine(self._endpoint)
        # Closing the stream ends the iteration with an error of transport.
        with contextlib.closing(client), contextlib.suppress(
                docker.errors.DockerException, OSError, ValueError):
            for entry in self._events:
                self._inspect(client, entry['Actor']['ID'])

    def _inspect(self, client: docker.APIClient, container: str) -> None:
        self._seen.add(container)
        with contextlib.suppress(docker.errors.NotFound):
            self._problems += [
                f'{container[:12]}: {problem}' for problem in excesses(
                    client, container, self._files)]

    def end(self) -> list[str]:
        """What was wrong with any of them; each is seen by then."""
        made = [entry['Actor']['ID'] for entry in self._client.events(
            since=self._began, until=time.time(), decode=True,
            filters=self._filters)]
        deadline = time.monotonic() + 5
        while set(made) - self._seen and time.monotonic() < deadline:
            time.sleep(0.01)
        self._events.close()
        self._thread.join(5)
        self._client.close()
        missed = set(made) - self._seen
        return self._problems + [f'{container[:12]}: not looked at'
                                 for container in sorted(missed)]
