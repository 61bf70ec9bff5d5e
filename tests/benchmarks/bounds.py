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

"""What an operation may cost beyond what it waits for by design."""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import os
from pathlib import Path
import statistics
import sys
import tempfile
import time

from tests import nova_setup  # noqa: F401

from nova import objects

from nova_docker_driver import models
from nova_docker_driver import names
from tests.benchmarks import spawn
from tests import conservation

ROUNDS = max(3, int(os.environ.get('BENCHMARK_ROUNDS', '40')) // 8)

#: Seconds that a process that ignores its stop signal is given.
GRACE = 1
LOG_SIZE = 80 * models.MIB

_DEAF = ('#docker-config\ncommand: [sh, -c, "trap : TERM; while true; do '
         'sleep 0.1; done"]\n')
_TALKS = ('#docker-config\ncommand: [sh, -c, "yes $(seq 1000 1020) | head -c '
          f'{LOG_SIZE}; sleep 600"]\n')


def deaf(bench: spawn.Bench) -> float:
    """Seconds of a stop that has to wait its time out."""
    instance = bench.instance(_DEAF)
    bench.driver(instance, False)
    try:
        time.sleep(0.3)
        return timed(lambda: bench.lifecycle.power_off(instance, GRACE))
    finally:
        bench.lifecycle.destroy(instance, [])


def await_log(instance: objects.Instance) -> None:
    """The Engine has all of it."""
    client = conservation.engine()
    path = client.inspect_container(
        names.container(instance.uuid))['LogPath']
    client.close()
    deadline = time.monotonic() + 120
    while os.path.getsize(path) < LOG_SIZE:
        if time.monotonic() > deadline:
            raise RuntimeError(f'{path} does not grow')
        time.sleep(0.2)


def console(bench: spawn.Bench, instance: objects.Instance) -> float:
    """Seconds of a look at the end of a long log."""
    return timed(lambda: bench.lifecycle.console(instance, 10_000,
                                                 100 * 1024))


def timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        bench = spawn.Bench(Path(directory))
        bench.policy = dataclasses.replace(
            bench.policy, log_max_size=2 * LOG_SIZE)
        try:
            print('bounds, ms                 median      p95    limit')
            stops = [deaf(bench) for _ in range(ROUNDS)]
            talker = bench.instance(_TALKS)
            bench.driver(talker, False)
            try:
                await_log(instance=talker)
                looks = [console(bench, talker) for _ in range(ROUNDS)]
            finally:
                bench.lifecycle.destroy(talker, [])
        finally:
            bench.engine.remove_image(bench.tag)
    return max(show('stop of a deaf process', stops, GRACE + 0.3),
               show('end of an 80 MB log', looks, 0.2))


def show(name: str, times: list[float], limit: float) -> int:
    high = max(times)
    print(f'{name:24} {statistics.median(times) * 1000:8.1f} '
          f'{high * 1000:8.1f} {limit * 1000:8.0f}', flush=True)
    return int(statistics.median(times) > limit)


if __name__ == '__main__':
    sys.exit(main())
