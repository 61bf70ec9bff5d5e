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

"""How soon the driver tells Nova that a process has ended.

The time from the process's death, by the clock of who killed it, to the
lifecycle event that Nova's compute manager would get. The raw side is the
Engine's own event stream, read in the same rounds.
"""

from __future__ import annotations

from collections.abc import Callable
import os
from pathlib import Path
import queue
import signal
import statistics
import sys
import tempfile
import threading
import time
from typing import Any
from unittest import mock

from tests import nova_setup  # noqa: F401

from nova.virt import event as virt_event

from nova_docker_driver import events
from nova_docker_driver import health
from nova_docker_driver import names
from nova_docker_driver import snapshot
from tests.benchmarks import spawn
from tests import conservation

ROUNDS = int(os.environ.get('BENCHMARK_ROUNDS', '40'))
#: Seconds within which 95 of 100 events are there.
LIMIT = 0.25


def death(pid: int) -> float:
    """Kills a process and waits until the kernel has ended it."""
    descriptor = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        return time.perf_counter()
    finally:
        os.close(descriptor)


def follow_raw(seen: queue.Queue[float]) -> Callable[[], None]:
    """The Engine's stream without the driver."""
    client = conservation.engine()
    stream = client.events(decode=True, filters={
        'event': ['die'], 'label': f'{names.HOST_LABEL}=bench'})

    def read() -> None:
        try:
            for _ in stream:
                seen.put(time.perf_counter())
        except Exception:
            # How the SDK reports that the stream was closed here.
            return
    threading.Thread(target=read, daemon=True).start()
    return stream.close


def measure(bench: spawn.Bench) -> tuple[list[float], list[float]]:
    """Seconds until the driver's and the raw event, per round."""
    ours: queue.Queue[float] = queue.Queue()
    raw: queue.Queue[float] = queue.Queue()

    def emit(event: Any) -> None:
        if event.transition == virt_event.EVENT_LIFECYCLE_STOPPED:
            ours.put(time.perf_counter())
    close = follow_raw(raw)
    # Nova's part of an outcome is its database's, not ours to measure.
    listener = events.Listener(
        bench.engine, snapshot.Snapshot(bench.engine), 'bench', emit,
        mock.create_autospec(health.Reporter, instance=True),
        lambda uuid: False)
    listener.start()
    time.sleep(0.5)
    found: tuple[list[float], list[float]] = ([], [])
    try:
        for _ in range(ROUNDS):
            instance = bench.instance()
            bench.driver(instance, False)
            try:
                pid = conservation.engine().inspect_container(
                    names.container(instance.uuid))['State']['Pid']
                began = death(pid)
                found[0].append(ours.get(timeout=10) - began)
                found[1].append(raw.get(timeout=10) - began)
            finally:
                bench.lifecycle.destroy(instance, [])
            # A repetition of the driver's must not count for the next.
            while not ours.empty():
                ours.get()
    finally:
        listener.stop()
        close()
    return found


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        bench = spawn.Bench(Path(directory))
        try:
            ours, raw = measure(bench)
        finally:
            bench.engine.remove_image(bench.tag)
    print('from death to event, ms    median      p95    limit')
    for name, times in (('Engine', raw), ('driver', ours)):
        print(f'{name:24} {statistics.median(times) * 1000:8.1f} '
              f'{percentile(times) * 1000:8.1f} {LIMIT * 1000:8.0f}')
    return 0 if percentile(ours) <= LIMIT else 1


def percentile(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


if __name__ == '__main__':
    sys.exit(main())
