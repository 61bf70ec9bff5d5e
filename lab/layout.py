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

"""Where everything of the lab lies: directories, ports, host names.

Pure: nothing here touches the machine. A second lab beside the first needs
another root and another base port, nothing else.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

DEFAULT_ROOT = '/var/lib/nova-docker-lab'
DEFAULT_BASE_PORT = 15000

#: What every lab account uses: nothing but loopback can reach it.
PASSWORD = 'secret'

_PORTS = ('keystone', 'placement', 'glance', 'nova', 'heat', 'neutron',
          'rabbitmq', 'rabbitmq_dist', 'serialproxy', 'nova-metadata',
          'barbican', 'octavia')


@dataclasses.dataclass(frozen=True)
class Host:
    """One compute host of the lab: its Nova name, number and state."""

    #: Its short name, for services and directories of this lab.
    name: str
    #: ``CONF.host`` of its nova-compute and hostname of its OVN chassis. No
    #: other cloud on this Engine has it: what bears it is this lab's.
    nova_name: str
    #: Counts from 1; ports and addresses derive from it.
    number: int
    state: Path
    run: Path

    @property
    def namespace(self) -> str:
        """Of the network that it is alone in; empty for the machine's own."""
        return '' if self.number == 1 else f'ndl-{self.name}'

    @property
    def inside(self) -> tuple[str, ...]:
        """What runs a command where the host is."""
        if not self.namespace:
            return ()
        return ('nsenter', f'--net=/var/run/netns/{self.namespace}')

    @property
    def endpoint(self) -> str:
        """Of its Engine; the first host has the machine's own."""
        if self.number == 1:
            return 'unix:///var/run/docker.sock'
        return f'unix://{self.run}/docker.sock'

    @property
    def tunnel_address(self) -> str:
        """Where other hosts reach its switch."""
        return f'172.31.250.{self.number}'

    @property
    def ovsdb(self) -> str:
        """The connection string of this host's Open vSwitch database."""
        return f'unix:{self.run}/db.sock'


@dataclasses.dataclass(frozen=True)
class Layout:
    """The lab's paths and ports, derived from its root and base port."""

    root: Path
    base_port: int
    source: Path
    computes: int = 1

    @classmethod
    def from_environment(cls, computes: int = 1) -> Layout:
        root = os.environ.get('NOVA_DOCKER_LAB_ROOT', DEFAULT_ROOT)
        port = os.environ.get('NOVA_DOCKER_LAB_PORT', str(DEFAULT_BASE_PORT))
        source = Path(__file__).resolve().parent.parent
        return cls(Path(root), int(port), source, computes)

    @property
    def hosts(self) -> tuple[Host, ...]:
        return tuple(
            Host(f'c{number}', self.nova_name(number), number,
                 self.state / f'c{number}', self.run / f'c{number}')
            for number in range(1, self.computes + 1))

    def nova_name(self, number: int) -> str:
        return f'lab{self.base_port}-c{number}'

    @property
    def vm_host(self) -> str:
        """What Nova calls the host for virtual machines that are not."""
        return f'lab{self.base_port}-vm'

    @property
    def forwarded(self) -> tuple[int, ...]:
        """The ports that other hosts reach the controller at."""
        return tuple(self.port(name) for name in (
            'keystone', 'placement', 'glance', 'nova', 'neutron',
            'rabbitmq', 'barbican'))

    @property
    def venv(self) -> Path:
        return self.root / 'venv'

    @property
    def bin(self) -> Path:
        return self.venv / 'bin'

    @property
    def etc(self) -> Path:
        return self.root / 'etc'

    @property
    def logs(self) -> Path:
        return self.root / 'logs'

    @property
    def run(self) -> Path:
        return self.root / 'run'

    @property
    def state(self) -> Path:
        """All that a running cloud writes; a fresh start replaces it."""
        return self.root / 'state'

    @property
    def template(self) -> Path:
        """The state of a seeded cloud that has never been used."""
        return self.root / 'template'

    def port(self, service: str) -> int:
        return self.base_port + _PORTS.index(service)

    def credentials(self, user: str) -> dict[str, str]:
        """What a client of the lab wants in its environment."""
        return {
            'OS_AUTH_URL': self.url('keystone') + '/v3',
            'OS_USERNAME': user,
            'OS_PASSWORD': PASSWORD,
            'OS_PROJECT_NAME': user,
            'OS_USER_DOMAIN_ID': 'default',
            'OS_PROJECT_DOMAIN_ID': 'default',
            'OS_IDENTITY_API_VERSION': '3',
            'OS_REGION_NAME': 'RegionOne',
            'OS_COMPUTE_API_VERSION': '2.90',
        }

    def url(self, service: str) -> str:
        return f'http://127.0.0.1:{self.port(service)}'

    def transport_url(self) -> str:
        return f'rabbit://guest:guest@127.0.0.1:{self.port("rabbitmq")}/'

    def database(self, name: str) -> str:
        return (f'mysql+pymysql://root@localhost/{name}'
                f'?unix_socket={self.run}/mysql.sock&charset=utf8mb3')

    def ovn_db(self) -> str:
        return f'unix:{self.run}/ovn.sock'
