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

"""What the driver's spawn costs beside the raw Engine, as a ratio.

Both sides run in turns in one process, so that whatever else the machine
does meets both; the raw side runs twice each turn (A/A), and if its own ratio
is off, nothing is judged. Time that is spent waiting for Neutron is in
neither side.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
import dataclasses
import os
from pathlib import Path
import statistics
import sys
import tempfile
import time
from typing import Any
from unittest import mock
import uuid

from tests import nova_setup  # noqa: F401

from nova import objects

from lab import container_images
from nova_docker_driver import archive
from nova_docker_driver import engine
from nova_docker_driver import guestfiles
from nova_docker_driver import imagemodels
from nova_docker_driver import images
from nova_docker_driver import lifecycle
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import netns
from nova_docker_driver import network
from nova_docker_driver import sandbox
from nova_docker_driver import snapshot
from nova_docker_driver import snapshots
from nova_docker_driver import spec

ROUNDS = int(os.environ.get('BENCHMARK_ROUNDS', '40'))
IMAGE_ID = 'b0000000-0000-4000-8000-0000000000bb'
#: Outside of these bounds the machine is too busy to judge anything.
CONTROL = (0.95, 1.05)

USER_DATA = 'I2RvY2tlci1jb25maWcKY29tbWFuZDogc2xlZXAgNjAwCg=='


@dataclasses.dataclass(frozen=True)
class Goal:
    """A comparison and the ratio that it may have."""

    name: str
    ports: bool
    limit: float


GOALS = (Goal('spawn without a port', False, 1.10),
         Goal('spawn with a port', True, 1.15))


class Glance:
    """Says that each image is there."""

    def get(self, context: Any, image_id: str) -> dict[str, Any]:
        return {'container_format': 'docker'}

    def download(self, context: Any, image_id: str, data: Any = None,
                 dest_path: str | None = None, trusted_certs: Any = None
                 ) -> None:
        raise AssertionError(image_id)


class Wiring:
    """The network with a device pair and nothing that waits."""

    def connect(self, instance: objects.Instance, vifs: list[object],
                namespace: str) -> None:
        wire(instance.uuid, namespace)

    def disconnect(self, instance: objects.Instance, vifs: list[object]
                   ) -> None:
        netns.delete(f'tap{instance.uuid[:8]}')

    def forget(self, instance_uuid: str) -> None:
        """There is no switch that could remember a server."""


def wire(server: str, namespace: str) -> None:
    netns.create_veth(f'tap{server[:8]}', 'eth0', 'fa:16:3e:00:00:01', 1442,
                      namespace)
    netns.configure(namespace, 'eth0', ['192.0.2.7/24'],
                    [('0.0.0.0/0', '192.0.2.1')], False)


class Bench:
    """The driver and the raw Engine, side by side."""

    def __init__(self, files: Path) -> None:
        self.engine = engine.Engine('unix:///var/run/docker.sock', 60, 60)
        self.policy = models.Policy('bench', 64, spec.BASELINE_CAPS,
                                    models.MIB, 1)
        self.tag = names.image_tag(IMAGE_ID)
        self.engine.load(archive.rewrite(
            [container_images.busybox()], imagemodels.Terms(self.tag),
            imagemodels.Verdict()))
        self.image = self.engine.image(self.tag)
        self.sandboxes = sandbox.Sandboxes(self.engine, '')
        self.box_image = self.sandboxes._ensure_image()
        self.lifecycle = lifecycle.Lifecycle(
            self.engine, images.Images(
                self.engine, Glance(), imagemodels.Terms('')),
            self.sandboxes, Wiring(),  # type: ignore[arg-type]
            guestfiles.GuestFiles(files), snapshot.Snapshot(self.engine),
            snapshots.Snapshots(self.engine, mock.Mock()), mock.Mock())

    def instance(self, text: str = '') -> objects.Instance:
        user_data = (base64.b64encode(text.encode()).decode() if text
                     else USER_DATA)
        return objects.Instance(
            uuid=str(uuid.uuid4()), hostname='web', task_state=None,
            metadata={}, system_metadata={}, numa_topology=None,
            user_data=user_data, vm_state='active', flavor=objects.Flavor(
                memory_mb=64, vcpus=1, swap=0, ephemeral_gb=0, root_gb=1,
                extra_specs={}))

    def driver(self, instance: objects.Instance, ports: bool) -> None:
        meta = objects.ImageMeta(id=IMAGE_ID, container_format='docker')
        self.lifecycle.spawn(None, instance, meta,
                             [object()] if ports else [], None, self.policy)

    def raw(self, instance: objects.Instance, ports: bool) -> None:
        """The Engine's calls and the kernel's, and nothing of ours."""
        box = None
        if ports:
            made = self.engine.create(spec.sandbox(
                instance.uuid, 'web', self.box_image, self.policy))
            self.engine.start(made)
            namespace = self.engine.inspect(made).namespace
            wire(instance.uuid, namespace)
            box = models.Sandbox(made, namespace, True)
        self.engine.start(self.engine.create(spec.build(spec.Inputs(
            instance.uuid, 'web', 64, 0, 1, {}, self.image,
            models.TenantSpec(command=('sleep', '600')), self.policy, box))))

    def timed(self, side: Callable[[objects.Instance, bool], None],
              ports: bool) -> float:
        instance = self.instance()
        began = time.perf_counter()
        try:
            side(instance, ports)
            return time.perf_counter() - began
        finally:
            self.lifecycle.destroy(instance, [])

    def compare(self, goal: Goal) -> bool:
        a, b, ours = [], [], []
        for number in range(ROUNDS + 2):
            turn = [(self.raw, a), (self.driver, ours), (self.raw, b)]
            for side, times in turn if number % 2 else turn[::-1]:
                times.append(self.timed(side, goal.ports))
        # The first two turns warm caches.
        median = [statistics.median(times[2:]) for times in (a, b, ours)]
        control = median[1] / median[0]
        ratio = median[2] / statistics.median(a[2:] + b[2:])
        judged = CONTROL[0] <= control <= CONTROL[1]
        verdict = ('not judged: the machine is busy' if not judged
                   else 'ok' if ratio <= goal.limit else 'too slow')
        print(f'{goal.name:22} {median[0] * 1000:8.1f} '
              f'{median[2] * 1000:8.1f} {control:7.2f} {ratio:7.2f} '
              f'{goal.limit:6.2f}  {verdict}', flush=True)
        return judged and ratio <= goal.limit


def main() -> int:
    with tempfile.TemporaryDirectory() as directory, \
            mock.patch.multiple(network, addresses=lambda vifs: [],
                                nameservers=lambda vifs: []):
        bench = Bench(Path(directory))
        try:
            print('medians in ms          raw    driver     A/A   ratio  '
                  'limit')
            return 0 if all([bench.compare(goal) for goal in GOALS]) else 1
        finally:
            bench.engine.remove_image(bench.tag)


if __name__ == '__main__':
    sys.exit(main())
