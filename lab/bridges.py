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

"""The commands that wire hosts: bridges, tunnels, namespaces. Pure."""

from __future__ import annotations

from lab import configuration
from lab import kernel
from lab import layout as lab_layout


def underlay(host: lab_layout.Host) -> list[list[str]]:
    """Commands that make the network of another host than the first."""
    own, inner = host.namespace, f'{host.namespace}i'
    return [
        ['ip', 'netns', 'add', own],
        ['ip', 'link', 'add', own, 'type', 'veth', 'peer', 'name', inner,
         'netns', own],
        ['ip', 'link', 'set', own, 'up'],
        ['ip', '-n', own, 'link', 'set', 'lo', 'up'],
        ['ip', '-n', own, 'link', 'set', inner, 'up'],
    ]


def tunnels(first: lab_layout.Host, other: lab_layout.Host
            ) -> list[list[str]]:
    """Commands that let two switches send packets to each other.

    A userspace switch sends tunnelled packets by a bridge of its own.
    """
    commands = []
    for host, device in ((first, other.namespace),
                         (other, f'{other.namespace}i')):
        commands += [
            ['ovs-vsctl', f'--db={host.ovsdb}', '--may-exist', 'add-br',
             'br-phys', '--', 'set', 'bridge', 'br-phys',
             f'datapath_type={kernel.datapath()}', '--', '--may-exist',
             'add-port', 'br-phys', device],
            [*host.inside, 'ip', 'address', 'replace',
             f'{host.tunnel_address}/24', 'dev', 'br-phys'],
            [*host.inside, 'ip', 'link', 'set', 'br-phys', 'up'],
        ]
    return commands


def public_bridge(host: lab_layout.Host) -> list[list[str]]:
    """Commands that give a host its bridges and its place in the network."""
    database = f'--db={host.ovsdb}'
    prefix = configuration.PUBLIC_CIDR.split('/')[1]
    return [
        ['ovs-vsctl', database, '--may-exist', 'add-br', 'br-ex',
         '--', 'set', 'bridge', 'br-ex',
         f'datapath_type={kernel.datapath()}'],
        # A bridge that the database remembers takes the switch a moment.
        ['timeout', '10', 'sh', '-c',
         'until ip link show br-ex; do sleep 0.05; done'],
        ['ip', 'address', 'replace',
         f'{configuration.PUBLIC_GATEWAY}/{prefix}', 'dev', 'br-ex'],
        ['ip', 'link', 'set', 'br-ex', 'up'],
    ]
