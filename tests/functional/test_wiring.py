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

"""Ways of wiring that the lab's own Neutron does not ask for.

The driver's network on a bridge of the lab's switch, between namespaces that
stand for sandboxes. What is asserted is TCP.
"""

import subprocess
import unittest
from unittest import mock
import uuid

from tests import nova_setup  # noqa: F401

from nova import exception
import os_vif
from oslo_config import cfg
from vif_plug_ovs import privsep as ovs_privsep

from lab import layout as lab_layout
from nova_docker_driver import netns
from nova_docker_driver import network
from tests.unit.nova_docker_driver import fakes

CONF = cfg.CONF
BRIDGE = 'br-wiring'


def run(*command):
    return subprocess.run(command, capture_output=True, text=True)


class WiringTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.switch = lab_layout.Layout.from_environment().hosts[0].ovsdb
        # As root there is no need of helpers.
        ovs_privsep.vif_plug.set_client_mode(False)
        os_vif.initialize()
        self.use('ovsdb_connection', self.switch)
        self.before = self.everything()
        self.vsctl('add-br', BRIDGE, '--', 'set', 'bridge', BRIDGE,
                   'datapath_type=netdev')
        self.addCleanup(lambda: self.assertEqual(self.before,
                                                 self.everything()))
        self.addCleanup(self.vsctl, 'del-br', BRIDGE)
        self.network = network.Network(None)
        self.servers = []
        self.addCleanup(self.remove)

    def use(self, option, value):
        """os-vif reads its options when it loads its plug-in."""
        CONF.set_override(option, value, 'os_vif_ovs')
        self.addCleanup(os_vif.initialize, reset=True)
        self.addCleanup(CONF.clear_override, option, 'os_vif_ovs')
        os_vif.initialize(reset=True)

    def vsctl(self, *arguments):
        found = run('ovs-vsctl', f'--db={self.switch}', *arguments)
        self.assertEqual(0, found.returncode, found.stderr)
        return found.stdout.split()

    def everything(self):
        """Devices, bridges and ports, of the host and of the switch."""
        links = run('ip', '-o', 'link').stdout.splitlines()
        return (sorted(line.split(':')[1].split('@')[0] for line in links),
                self.vsctl('list-br'), self.vsctl('list-ports', 'br-int'))

    def remove(self):
        while self.servers:
            instance, vif, space = self.servers.pop()
            self.network.disconnect(instance, [vif])
            # Twice is as good as once.
            self.network.disconnect(instance, [vif])
            run('ip', 'netns', 'delete', space)

    def server(self, number, **changes):
        """Something like a sandbox with a port; answers its namespace."""
        space = f'wiring-{uuid.uuid4().hex[:8]}'
        self.assertEqual(0, run('ip', 'netns', 'add', space).returncode)
        run('ip', '-n', space, 'link', 'set', 'lo', 'up')
        port = str(uuid.uuid4())
        vif = fakes.vif(number, active=True, id=port,
                        devname='tap' + port[:11], **changes)
        vif['network']['bridge'] = BRIDGE
        instance = fakes.instance(
            uuid=str(uuid.uuid4()), id=number, project_id='p',
            display_name='x', created_at=None)
        self.servers.append((instance, vif, space))
        self.network.connect(instance, [vif], f'/var/run/netns/{space}')
        return space

    def assert_tcp(self, one, other):
        server = subprocess.Popen(
            ['ip', 'netns', 'exec', other, 'busybox', 'httpd', '-f', '-p',
             '80', '-h', '/tmp'])
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        for _ in range(10):
            found = run('ip', 'netns', 'exec', one, 'busybox', 'timeout', '3',
                        'busybox', 'nc', '-w', '2', '10.0.0.12', '80', '-e',
                        'true')
            if found.returncode == 0:
                return
        self.fail('no TCP')

    def test_plain(self):
        self.assert_tcp(self.server(1), self.server(2))

    def test_hybrid(self):
        """Each port has a bridge on which Neutron could filter."""
        # As Neutron's agent does; Docker lets nothing through otherwise.
        rule = ('FORWARD', '-m', 'physdev', '--physdev-is-bridged', '-j',
                'ACCEPT')
        self.assertEqual(0, run('iptables', '-I', *rule).returncode)
        self.addCleanup(run, 'iptables', '-D', *rule)
        details = {'ovs_hybrid_plug': True, 'datapath_type': 'netdev'}
        spaces = [self.server(number, details=details)
                  for number in (1, 2)]
        bridges = [name for name in self.everything()[0] if 'qbr' in name]
        self.assertEqual(2, len(bridges))
        self.assert_tcp(*spaces)

    def test_a_bridge_for_each_port(self):
        self.use('per_port_bridge', True)
        self.addCleanup(self.remove)
        spaces = [self.server(number) for number in (1, 2)]
        self.assertEqual(2, len(set(self.vsctl('list-br'))
                                - set(self.before[1]) - {BRIDGE}))
        self.assert_tcp(*spaces)

    def test_without_the_switch_off_nothing_gets_through(self):
        """Why checksums are completed: the switch drops what lacks them."""
        with mock.patch.object(netns, '_disable_tx_checksums'):
            spaces = [self.server(number) for number in (1, 2)]
        with self.assertRaises(AssertionError):
            self.assert_tcp(*spaces)

    def test_a_namespace_that_died_meanwhile(self):
        """The port is wired anew; the switch does not keep the dead one."""
        one, two = self.server(1), self.server(2)
        self.assert_tcp(one, two)
        instance, vif, _ = self.servers[1]
        run('ip', 'netns', 'delete', two)
        run('ip', 'netns', 'add', two)
        run('ip', '-n', two, 'link', 'set', 'lo', 'up')
        self.network.connect(instance, [vif], f'/var/run/netns/{two}')
        self.assert_tcp(one, two)

    def test_a_namespace_that_is_another_ones_now(self):
        """It is found by its path, so a number that is used again is safe."""
        space = self.server(1)
        instance, vif, _ = self.servers[0]
        run('ip', 'netns', 'delete', space)
        with self.assertRaises(exception.VirtualInterfacePlugException):
            self.network.connect(instance, [vif], f'/var/run/netns/{space}')
