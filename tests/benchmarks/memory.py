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


"""What a server with a port costs in memory beside a container without.

All of the Engine's processes count, each by its share of what it has mapped:
its daemons, the shims, and what runs inside.
"""

from __future__ import annotations

from collections.abc import Callable
import contextlib
from pathlib import Path
import sys
import tempfile
from unittest import mock

from tests import nova_setup  # noqa: F401

from nova import objects
import psutil

from nova_docker_driver import network
from tests.benchmarks import spawn

SERVERS = 20
#: Bytes that a server may cost more than the bare container.
LIMIT = 4.5e6
_DAEMONS = ('dockerd', 'containerd', 'containerd-shim')


def engine_memory() -> int:
    """Bytes of all processes of Engines and containers on this machine."""
    found = 0
    for process in psutil.process_iter(['name']):
        if not process.info['name'].startswith(_DAEMONS):
            continue
        inside = (process.children() if 'shim' in process.info['name']
                  else [])
        for one in (process, *inside):
            # One that has just ended has none.
            with contextlib.suppress(psutil.NoSuchProcess):
                found += one.memory_full_info().pss
    return found


def cost(bench: spawn.Bench,
         side: Callable[[objects.Instance, bool], None], ports: bool
         ) -> float:
    """Bytes for each of many."""
    before = engine_memory()
    instances = [bench.instance() for _ in range(SERVERS)]
    try:
        for instance in instances:
            side(instance, ports)
        return (engine_memory() - before) / SERVERS
    finally:
        for instance in instances:
            bench.lifecycle.destroy(instance, [])


def main() -> int:
    with tempfile.TemporaryDirectory() as directory, \
            mock.patch.multiple(network, addresses=lambda vifs: [],
                                nameservers=lambda vifs: []):
        bench = spawn.Bench(Path(directory))
        try:
            # The daemons' own memory grows by what they do first.
            cost(bench, bench.driver, True)
            raw = cost(bench, bench.raw, False)
            ours = cost(bench, bench.driver, True)
            again = cost(bench, bench.raw, False)
        finally:
            bench.engine.remove_image(bench.tag)
    more = ours - (raw + again) / 2
    print('memory of a server, MB      raw   again    driver    more  limit')
    print(f'{"":22} {raw / 1e6:8.2f} {again / 1e6:7.2f} {ours / 1e6:9.2f} '
          f'{more / 1e6:7.2f} {LIMIT / 1e6:6.2f}', flush=True)
    return int(more > LIMIT)


if __name__ == '__main__':
    sys.exit(main())
