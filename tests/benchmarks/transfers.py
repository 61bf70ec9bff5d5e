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

"""First boots and snapshots, beside the raw Engine's load, commit and save.

The image has 100 MB in five layers of 160 files, half of it random.
"""

from __future__ import annotations

from collections.abc import Callable
import hashlib
import os
from pathlib import Path
import random
import statistics
import sys
import tempfile
import threading
import time
from typing import Any
from unittest import mock
import uuid

from tests import nova_setup  # noqa: F401

import psutil

from lab import container_images
from nova_docker_driver import engine
from nova_docker_driver import imagemodels
from nova_docker_driver import images
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import snapshots
from tests import archives
from tests.benchmarks import spawn
from tests import conservation

ROUNDS = max(4, int(os.environ.get('BENCHMARK_ROUNDS', '40')) // 4)

FIRST_BOOT, EIGHT_BOOTS, MEMORY, SNAPSHOT, PAUSE = 1.20, 1.6, 16, 1.2, 0.1

_TAG = 'benchmark:1'


def image() -> bytes:
    """A docker-save archive of about 100 MB, from busybox upwards."""
    chance = random.Random(5)
    layers = [container_images._layer({})]
    for number in range(5):
        layers.append(archives.layer({
            f'data/{number}-{file}': (chance.randbytes(64 * 1024)
                                      + bytes(64 * 1024))
            for file in range(160)}))
    return archives.tar(archives.saved(layers, tag=_TAG))


class Glance:
    """One image in a file, in pieces as Nova's client has them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.downloads = 0
        with open(path, 'rb') as file:
            self.digest = hashlib.file_digest(file, 'sha512').hexdigest()

    def get(self, context: Any, image_id: str) -> dict[str, Any]:
        return {'container_format': 'docker', 'os_hash_algo': 'sha512',
                'os_hash_value': self.digest, 'name': 'x',
                'size': self.path.stat().st_size}

    def download(self, context: Any, image_id: str, data: Any = None,
                 dest_path: str | None = None, trusted_certs: Any = None
                 ) -> None:
        self.downloads += 1
        with open(self.path, 'rb') as file:
            while piece := file.read(64 * 1024):
                data.write(piece)

    def update(self, context: Any, image_id: str, image_info: dict[str, Any],
               data: Any = None, purge_props: bool = False) -> None:
        while data.read(64 * 1024):
            pass


class Transfers:
    """The driver and the raw Engine, side by side."""

    def __init__(self, path: Path) -> None:
        self.client = conservation.engine()
        self.port = engine.Engine('unix:///var/run/docker.sock', 60, 600)
        self.glance = Glance(path)
        self.images = images.Images(self.port, self.glance,
                                    imagemodels.Terms('', 'amd64'))
        self.path = path

    def raw(self) -> float:
        return self._timed(lambda: self._load_raw(), _TAG)

    def _load_raw(self) -> None:
        with open(self.path, 'rb') as file:
            for progress in self.client.load_image(file):
                assert 'error' not in progress, progress

    def ours(self, boots: int = 1) -> float:
        request = imagemodels.Request(None, str(uuid.uuid4()))  # type: ignore
        tag = names.image_tag(request.image_id, self.glance.digest)

        def boot() -> None:
            with self.images.held(request):
                pass
        if boots == 1:
            return self._timed(boot, tag)
        threads = [threading.Thread(target=boot) for _ in range(boots)]

        def all_boots() -> None:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return self._timed(all_boots, tag)

    def _timed(self, act: Callable[[], None], tag: str) -> float:
        began = time.perf_counter()
        act()
        taken = time.perf_counter() - began
        self.client.remove_image(tag)
        return taken


def first_boot(transfers: Transfers) -> bool:
    a, b, ours, eight = [], [], [], []
    for number in range(ROUNDS + 1):
        turn: list[tuple[Callable[[], float], list[float]]] = [
            (transfers.raw, a), (transfers.ours, ours), (transfers.raw, b),
            (lambda: transfers.ours(8), eight)]
        for side, times in turn if number % 2 else turn[::-1]:
            times.append(side())
    median = [statistics.median(times[1:]) for times in (a, b, ours, eight)]
    print(f'first boot             {median[0] * 1000:8.1f} '
          f'{median[2] * 1000:8.1f} ', end='')
    fine = judged(median[1] / median[0],
                  median[2] / statistics.median(a[1:] + b[1:]), FIRST_BOOT)
    print(f'eight first boots      {median[2] * 1000:8.1f} '
          f'{median[3] * 1000:8.1f} ', end='')
    return judged(median[1] / median[0], median[3] / median[2],
                  EIGHT_BOOTS) and fine


def judged(control: float, ratio: float, limit: float) -> bool:
    """Prints the end of a line; whether the ratio is within its limit."""
    certain = spawn.CONTROL[0] <= control <= spawn.CONTROL[1]
    verdict = ('not judged: the machine is busy' if not certain
               else 'ok' if ratio <= limit else 'too slow')
    print(f'{control:7.2f} {ratio:7.2f} {limit:6.2f}  {verdict}', flush=True)
    return certain and ratio <= limit


def memory(transfers: Transfers) -> bool:
    """What a first boot needs beside what the process has."""
    process, peak = psutil.Process(), 0
    ended = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.005):
            peak = max(peak, process.memory_info().rss)
    before = process.memory_info().rss
    watcher = threading.Thread(target=watch)
    watcher.start()
    transfers.ours()
    ended.set()
    watcher.join()
    extra = (peak - before) / models.MIB
    verdict = 'ok' if extra <= MEMORY else 'too much'
    print(f'memory of a first boot: {extra:.1f} MiB, limit {MEMORY}  '
          f'{verdict}', flush=True)
    return extra <= MEMORY


class Snapshot:
    """A container of the image with a small file more."""

    def __init__(self, transfers: Transfers) -> None:
        self.client, self.port = transfers.client, transfers.port
        transfers._load_raw()
        self.container = self.client.create_container(
            _TAG, ['sh', '-c', 'echo x > /x; sleep 600'])['Id']
        self.client.start(self.container)
        self.snapshots = snapshots.Snapshots(self.port, transfers.glance)

    def raw(self) -> float:
        began = time.perf_counter()
        made = self.client.commit(self.container)['Id']
        for _ in self.client.get_image(made):
            pass
        self.client.remove_image(made)
        return time.perf_counter() - began

    def ours(self) -> float:
        began = time.perf_counter()
        found = self.port.inspect(self.container)
        with self.snapshots.committed(found) as committed:
            self.snapshots.upload(None, mock.Mock(), found,  # type: ignore
                                  committed, 'x', mock.Mock())
        return time.perf_counter() - began

    def frozen(self, since: float) -> list[float]:
        """Seconds for each time that it was frozen, as the Engine tells."""
        found = [entry['timeNano'] / 1e9 for entry in self.client.events(
            since=int(since), until=int(time.time()) + 1, decode=True,
            filters={'container': self.container,
                     'event': ['pause', 'unpause']})]
        return [unpaused - paused for paused, unpaused
                in zip(found[::2], found[1::2], strict=True)]

    def remove(self) -> None:
        self.client.remove_container(self.container, force=True)
        self.client.remove_image(_TAG)


def snapshot(transfers: Transfers) -> bool:
    side = Snapshot(transfers)
    try:
        a, b, ours, began = [], [], [], time.time()
        for _ in range(ROUNDS + 1):
            a.append(side.raw())
            ours.append(side.ours())
            b.append(side.raw())
        pauses = side.frozen(began)
    finally:
        side.remove()
    median = [statistics.median(times[1:]) for times in (a, b, ours, pauses)]
    print(f'snapshot               {median[0] * 1000:8.1f} '
          f'{median[2] * 1000:8.1f} ', end='')
    fine = judged(median[1] / median[0],
                  median[2] / statistics.median(a[1:] + b[1:]), SNAPSHOT)
    verdict = 'ok' if median[3] <= PAUSE else 'too long'
    print(f'frozen for a snapshot: {median[3] * 1000:.0f} ms, limit '
          f'{PAUSE * 1000:.0f}  {verdict}', flush=True)
    return fine and median[3] <= PAUSE


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / 'image.tar'
        path.write_bytes(image())
        transfers = Transfers(path)
        print('medians in ms             raw   driver     A/A   ratio  '
              'limit')
        # Memory first: later on the process has enough from before.
        return 0 if all([memory(transfers), first_boot(transfers),
                         snapshot(transfers)]) else 1


if __name__ == '__main__':
    sys.exit(main())
