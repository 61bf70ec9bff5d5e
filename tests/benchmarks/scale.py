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

"""What a stack of many containers costs beside Docker Compose.

Compose starts the same containers on the same Engine in the same run, twice
(A/A). Beside it is the floor: as many servers of Nova's driver for tests,
which does nothing, in a stack of Heat. Where the control plane alone is
beyond the goal, the judgement is what containers cost beyond the floor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
import json
import os
from pathlib import Path
import subprocess
import sys
import tempfile
import time
from typing import Any

from lab import cloud
from lab import container_images
from lab import demo
from lab import layout as lab_layout
from lab import seed
from nova_docker_client import composefiles
from tests import conservation

CONTAINERS = int(os.environ.get('BENCHMARK_CONTAINERS', '50'))
#: Times that of Compose.
GOAL, STRETCH = 4.0, 2.5
#: Times the floor, without ports: the doubles have none.
ABOVE_FLOOR = 1.5
_PATIENCE = 1800
_COMMAND = ['sh', '-c', 'trap exit TERM; sleep 999999 & wait']


class Bench:
    """A lab, and what it is measured with."""

    def __init__(self) -> None:
        self.layout = lab_layout.Layout.from_environment()
        self.lab = cloud.Cloud(self.layout)
        self.lab.up()
        self.tenant = seed.connect(self.layout, 'demo')
        client = conservation.engine()
        client.load_image(container_images.busybox())
        client.close()
        demo.upload_image(self.tenant, 'busybox', container_images.busybox())

    def stack(self, kind: str, **properties: Any) -> float:
        """Seconds of a stack's creation; it is deleted afterwards."""
        heat = self.tenant.orchestration
        template = {'heat_template_version': '2021-04-16', 'resources': {
            f'c{number}': {'type': kind, 'properties': {
                'flavor': 'c1.tiny', **properties}}
            for number in range(CONTAINERS)}}
        began = time.perf_counter()
        stack = heat.create_stack(name='scale', template=json.dumps(template))
        try:
            self.until(lambda: heat.get_stack(stack.id).status
                       == 'CREATE_COMPLETE')
            return time.perf_counter() - began
        finally:
            heat.delete_stack(stack.id)
            self.until(lambda: not list(heat.stacks()))

    def until(self, check: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not check():
            for stack in self.tenant.orchestration.stacks():
                if stack.status == 'CREATE_FAILED':
                    raise RuntimeError(stack.status_reason)
            if time.monotonic() > deadline:
                raise RuntimeError('too slow to be measured')
            time.sleep(0.2)

    def containers(self, networks: list[dict[str, str]]) -> float:
        return self.stack('OS::NovaDocker::Container', image='busybox',
                          command=_COMMAND, networks=networks)

    @contextlib.contextmanager
    def virtual_machines(self) -> Iterator[str]:
        """An image that only the host of doubles can run."""
        image = self.tenant.image.create_image(
            name='vm', container_format='bare', disk_format='raw',
            data=b'\0' * 64, hypervisor_type='fake', validate_checksum=False,
            allow_duplicates=True)
        self.lab.start_virtual_machines()
        try:
            yield image.id
        finally:
            self.lab.stop_virtual_machines()
            self.tenant.image.delete_image(image.id)


def compose(network_mode: str) -> float:
    """Seconds of the same by Compose."""
    document = {'name': 'scale', 'services': {
        f'c{number}': {'image': 'busybox:lab', 'command': _COMMAND,
                       **({'network_mode': network_mode} if network_mode
                          else {})}
        for number in range(CONTAINERS)}}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, 'compose.yaml')
        path.write_text(json.dumps(document))
        command = [*composefiles.program(), '--file', str(path)]
        began = time.perf_counter()
        try:
            subprocess.run([*command, 'up', '--detach'], check=True,
                           stdout=subprocess.DEVNULL)
            return time.perf_counter() - began
        finally:
            subprocess.run([*command, 'down', '--timeout', '0'], check=True,
                           capture_output=True)


def main() -> int:
    bench = Bench()
    try:
        return compare(bench)
    finally:
        client = conservation.engine()
        client.remove_image('busybox:lab')
        client.close()


def compare(bench: Bench) -> int:
    failed = 0
    with bench.virtual_machines() as image:
        floor = bench.stack('OS::Nova::Server', image=image,
                            networks=[{'allocate_network': 'none'}])
    print(f'{CONTAINERS} containers, s      Compose   again   stack   floor '
          '  ratio  goal', flush=True)
    for name, mode, networks in (
            ('without ports', 'none', [{'allocate_network': 'none'}]),
            ('with ports', '', [{'network': 'private'}])):
        first = compose(mode)
        ours = bench.containers(networks)
        second = compose(mode)
        ratio = ours * 2 / (first + second)
        judged = ours / floor > ABOVE_FLOOR if mode else False
        failed |= ratio > GOAL and judged
        print(f'{name:22} {first:8.1f} {second:7.1f} {ours:7.1f} '
              f'{floor:7.1f} {ratio:7.2f} {GOAL:5.1f}  '
              + ('stretch' if ratio <= STRETCH else 'goal'
                 if ratio <= GOAL else 'beyond the goal'), flush=True)
    return int(failed)


if __name__ == '__main__':
    sys.exit(main())
