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

"""Ports that come and go, rules that change, and what must not get through.

Real packets: TCP and UDP, for ping hides what a userspace switch drops.
"""

import contextlib
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import uuid

from lab import cloud
from lab import configuration
from lab import layout as lab_layout
from nova_docker_driver import names
from tests.integration import base

#: Serves TCP on port 80.
SERVES = ('command: [sh, -c, "httpd -p 80 -h /tmp; trap exit TERM; '
          'sleep 600 & wait"]')

#: busybox can do no UDP; these run in the servers' namespaces.
_HEARS = """import socket
with socket.socket(type=socket.SOCK_DGRAM) as peer:
    peer.settimeout(20)
    peer.bind(("", 5353))
    print(peer.recvfrom(99), flush=True)
"""
_SAYS = """import socket, sys, time
with socket.socket(type=socket.SOCK_DGRAM) as peer:
    for _ in range(20):
        peer.sendto(b"canary", (sys.argv[1], 5353))
        time.sleep(0.2)
"""


def answers(address):
    """Whether a web server answers, with whatever page."""
    try:
        with urllib.request.urlopen(f'http://{address}/', timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


class NetworkCase(base.LabCase):

    def group(self, *rules):
        return self.make_group(*rules).id

    def open_group(self):
        """Lets in everything that is meant to be let in here."""
        return self.make_group(
            {'protocol': 'tcp', 'port_range_min': 80, 'port_range_max': 80},
            {'protocol': 'udp', 'port_range_min': 5353,
             'port_range_max': 5353}).name

    def devices(self, server):
        return {line.split(':')[1].split('@')[0].strip() for line
                in self.inside(server, 'ip', '-o', 'link')[1].splitlines()}

    def namespace(self, server):
        return self.container(server, '-sandbox')['NetworkSettings'][
            'SandboxKey']

    def in_namespace(self, server, *command):
        """As the host's root, for whom there is no capability missing."""
        return subprocess.run(
            ['nsenter', f'--net={self.namespace(server)}', *command],
            capture_output=True, text=True)

    def attach(self, server, **values):
        return self.tenant.compute.create_server_interface(server, **values)

    def switch_ports(self):
        return subprocess.run(
            ['ovs-vsctl', f'--db={self.layout.hosts[0].ovsdb}', 'list-ports',
             'br-int'], capture_output=True, text=True,
            check=True).stdout.split()


class TestHotPlug(NetworkCase):

    def test_a_running_server(self):
        network = self.make_network({'ip_version': 4,
                                     'cidr': '10.40.0.0/24'})
        group = self.open_group()
        client, server = self.booted(
            self.create(networks=[{'uuid': network.id}]),
            self.create(SERVES, security_groups=[{'name': group}]))
        before = self.devices(server)
        found = self.attach(server, net_id=network.id)
        address = found.fixed_ips[0]['ip_address']
        self.tenant.network.update_port(found.port_id, security_groups=[
            self.tenant.network.find_security_group(group).id])
        self.assertEqual({'eth1'}, self.devices(server) - before)
        self.assertIn(f'{address}/24', self.inside(
            server, 'ip', 'address', 'show', 'eth1')[1])
        self.assertIn(address, self.inside(server, 'cat', '/etc/hosts')[1])
        # One way out, as before.
        self.assertEqual(1, self.inside(server, 'ip', 'route')[1].count(
            'default'))
        self.until(lambda: self.reach(client, address, 80), 'TCP', 20)
        self.assertIn('canary', self.heard(server, client, address))
        # Now without: nothing of it is left anywhere.
        self.tenant.compute.delete_server_interface(found.port_id,
                                                    server=server)
        self.until(lambda: self.devices(server) == before, 'eth1 is gone', 20)
        # The device goes first.
        device = f'tap{found.port_id[:11]}'
        self.until(lambda: device not in self.switch_ports(),
                   'the switch port is gone', 20)
        self.assertFalse(self.reach(client, address, 80))
        self.until(lambda: address not in self.inside(
            server, 'cat', '/etc/hosts')[1], 'its name is gone', 20)

    def heard(self, server, client, address):
        """What arrives by UDP of what is sent."""
        with subprocess.Popen(
                ['nsenter', f'--net={self.namespace(server)}',
                 sys.executable, '-c', _HEARS], stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True) as listener:
            self.in_namespace(client, sys.executable, '-c', _SAYS, address)
            return listener.communicate()[0]

    def test_a_stopped_server_is_not_heard(self):
        server, other = self.booted(self.create(), self.create())
        address = self.address(server)

        def answers():
            return subprocess.run(
                ['nsenter', f'--net={self.namespace(other)}', 'ping', '-c1',
                 '-w1', address], capture_output=True).returncode == 0
        self.until(answers, 'it answers', 20)
        self.tenant.compute.stop_server(server)
        self.wait(server, 'SHUTOFF')
        self.assertFalse(answers())
        self.tenant.compute.start_server(server)
        self.wait(server, 'ACTIVE')
        self.until(answers, 'it answers again', 20)
        self.assertEqual('ACTIVE', self.port(server).status)

    def test_a_paused_and_a_stopped_server(self):
        for act, undo, status in (
                (self.tenant.compute.pause_server,
                 self.tenant.compute.unpause_server, 'PAUSED'),
                (self.tenant.compute.stop_server,
                 self.tenant.compute.start_server, 'SHUTOFF')):
            server = self.boot()
            act(server)
            self.wait(server, status)
            found = self.attach(server, net_id=self.network().id)
            undo(server)
            self.wait(server, 'ACTIVE')
            self.assertIn('eth1', self.devices(server))
            act(server)
            self.wait(server, status)
            self.tenant.compute.delete_server_interface(found.port_id,
                                                        server=server)
            self.until(lambda one=server: len(list(
                self.tenant.network.ports(device_id=one.id))) == 1,
                'the port is gone', 20)
            undo(server)
            self.wait(server, 'ACTIVE')
            self.assertNotIn('eth1', self.devices(server))

    def test_the_first_port_goes_and_another_one_comes(self):
        server = self.boot()
        first = self.port(server)
        self.attach(server, net_id=self.network().id)
        self.tenant.compute.delete_server_interface(first.id, server=server)
        self.until(lambda: 'eth0' not in self.devices(server), 'it goes', 20)
        self.attach(server, net_id=self.network().id)
        self.assertEqual({'lo', 'eth0', 'eth1'}, self.devices(server))
        # A new process finds what the old one had.
        self.tenant.compute.reboot_server(server, 'HARD')
        self.wait(server, 'ACTIVE')
        self.assertEqual({'lo', 'eth0', 'eth1'}, self.devices(server))

    def test_neutron_deletes_a_port(self):
        server = self.boot()
        port = self.tenant.network.create_port(network_id=self.network().id)
        self.attach(server, port_id=port.id)
        self.assertIn('eth1', self.devices(server))
        # Neutron lets only an administrator do so while it is in use.
        self.admin.network.delete_port(port.id)
        self.until(lambda: 'eth1' not in self.devices(server), 'it goes', 30)

    def test_a_server_without_ports_takes_none(self):
        server = self.boot(networks='none')
        with self.assertRaisesRegex(Exception, 'attach'):
            self.attach(server, net_id=self.network().id)
        self.assertEqual([], list(self.tenant.network.ports(
            device_id=server.id)))


class TestSecurity(NetworkCase):

    def test_a_group_lets_in_another_group(self):
        """The web server reaches the database; nobody else does."""
        web = self.make_group()
        db = self.make_group({'protocol': 'tcp', 'port_range_min': 5432,
                              'port_range_max': 5432,
                              'remote_group_id': web.id})
        serves = ('command: [sh, -c, "httpd -p 5432 -h /tmp; '
                  'httpd -p 5433 -h /tmp; trap exit TERM; sleep 600 & wait"]')
        database, friend, stranger = self.booted(
            self.create(serves, security_groups=[{'name': db.name}]),
            self.create(security_groups=[{'name': web.name}]),
            self.create())
        address = self.address(database)
        self.until(lambda: self.reach(friend, address, 5432), 'TCP', 20)
        self.assertFalse(self.reach(friend, address, 5433))
        self.assertFalse(self.reach(stranger, address, 5432))
        # The rule goes, and what it let in with it; at once.
        rule, = self.tenant.network.security_group_rules(
            security_group_id=db.id, direction='ingress')
        self.tenant.network.delete_security_group_rule(rule.id)
        self.until(lambda: not self.reach(friend, address, 5432), 'shut', 20)

    def test_nobody_is_somebody_else(self):
        group = self.open_group()
        server, client = self.booted(
            self.create(SERVES, security_groups=[{'name': group}]),
            self.create())
        address, port = self.address(server), self.port(client)
        self.until(lambda: self.reach(client, address, 80), 'TCP', 20)
        # From inside nothing of the kind can be done at all.
        for command in (('ip', 'address', 'add', '10.20.0.99/24', 'dev',
                         'eth0'),
                        ('ip', 'link', 'set', 'eth0', 'address',
                         'fa:16:3e:99:99:99'),
                        ('ping', '-c', '1', address)):
            self.assertNotEqual(0, self.inside(client, *command)[0], command)
        # And if it could, the switch would not have it.
        self.assertEqual(0, self.in_namespace(
            client, 'ip', 'address', 'add', '10.20.0.99/24', 'dev',
            'eth0').returncode)
        try:
            self.assertFalse(self.spoofs(client, address))
            self.tenant.network.update_port(
                port.id, allowed_address_pairs=[{'ip_address':
                                                 '10.20.0.99'}])
            self.until(lambda: self.spoofs(client, address),
                       'an allowed address gets through', 20)
            self.tenant.network.update_port(
                port.id, allowed_address_pairs=[])
            self.until(lambda: not self.spoofs(client, address), 'shut', 20)
            self.tenant.network.update_port(
                port.id, security_groups=[], is_port_security_enabled=False)
            self.until(lambda: self.spoofs(client, address),
                       'without port security it gets through', 20)
        finally:
            self.in_namespace(client, 'ip', 'address', 'delete',
                              '10.20.0.99/24', 'dev', 'eth0')

    def spoofs(self, client, address):
        return self.in_namespace(
            client, sys.executable, '-c', 'import socket; '
            f'socket.create_connection(("{address}", 80), 2, '
            '("10.20.0.99", 0))').returncode == 0


class TestPorts(NetworkCase):

    def test_several_addresses(self):
        network = self.make_network({'ip_version': 4,
                                     'cidr': '10.41.0.0/24'})
        several = self.tenant.network.create_port(
            network_id=network.id, fixed_ips=[
                {'ip_address': '10.41.0.20'}, {'ip_address': '10.41.0.21'}])
        self.made.callback(self.tenant.network.delete_port, several.id)
        server = self.boot(networks=[{'port': several.id}])
        found = self.inside(server, 'ip', 'address')[1]
        for address in ('10.41.0.20/24', '10.41.0.21/24'):
            self.assertIn(address, found)

    def test_names_of_ports_resolve(self):
        """Neutron's DNS, without a server that somebody has to run."""
        name = f'db-{uuid.uuid4().hex[:6]}'
        server, client = self.booted(
            self.create(SERVES, hostname=name), self.create())
        address = self.address(server)
        for asked in (name, f'{name}.lab.example.'):
            self.until(lambda one=asked: address in self.inside(
                client, 'nslookup', one)[1], f'{asked} resolves', 20)
        self.assertIn('search lab.example', self.inside(
            client, 'cat', '/etc/resolv.conf')[1])

    def test_a_port_without_addresses(self):
        port = self.tenant.network.create_port(
            network_id=self.network().id, fixed_ips=[],
            is_port_security_enabled=False, security_groups=[])
        self.made.callback(self.tenant.network.delete_port, port.id)
        server = self.boot(networks=[{'uuid': self.network().id},
                                     {'port': port.id}])
        self.assertEqual({'lo', 'eth0', 'eth1'}, self.devices(server))
        found = self.inside(server, 'ip', 'address', 'show', 'eth1')[1]
        self.assertIn(port.mac_address, found)
        self.assertNotIn('inet ', found)
        self.assertIn('UP', found)

    def test_out_of_the_cloud_and_into_it(self):
        """The router translates what goes out; a floating IP leads in."""
        server = self.boot(SERVES, security_groups=[
            {'name': self.open_group()}])
        gateway, = self.tenant.network.routers(name='router')
        outside, = [fixed['ip_address'] for fixed in
                    gateway.external_gateway_info['external_fixed_ips']]
        with socket.create_server((configuration.PUBLIC_GATEWAY, 0)) as peer:
            peer.settimeout(1)

            def came_as():
                self.reach(server, configuration.PUBLIC_GATEWAY,
                           peer.getsockname()[1])
                with contextlib.suppress(TimeoutError):
                    connection, (address, _) = peer.accept()
                    connection.close()
                    return address
            self.assertEqual(outside, self.until(came_as, 'it gets out', 30))
            floating = self.tenant.network.create_ip(
                floating_network_id=self.network('public').id,
                port_id=self.port(server).id)
            self.made.callback(self.tenant.network.delete_ip, floating.id)
            self.until(lambda: answers(floating.floating_ip_address),
                       'it lets in', 30)
            self.until(lambda: came_as() == floating.floating_ip_address,
                       'it gets out under its own address', 30)


class TestRecovery(NetworkCase):

    def test_the_sandbox_is_lost(self):
        """Its namespace dies, and the switch keeps a dead port."""
        group = self.open_group()
        client, server = self.booted(
            self.create(),
            self.create(SERVES, security_groups=[{'name': group}]))
        address = self.address(server)
        self.until(lambda: self.reach(client, address, 80), 'TCP', 20)
        self.engine.kill(names.sandbox(server.id))
        self.tenant.compute.reboot_server(server, 'HARD')
        self.wait(server, 'ACTIVE')
        self.until(lambda: self.reach(client, address, 80), 'again', 30)

    def test_what_killed_steps_left_goes_at_the_next_start(self):
        lost = str(uuid.uuid4())
        device = 'tap' + lost[:11]
        subprocess.run(['ip', 'link', 'add', device, 'type', 'veth', 'peer',
                        f'x{lost[:8]}'], check=True)
        subprocess.run(
            ['ovs-vsctl', f'--db={self.layout.hosts[0].ovsdb}', 'add-port',
             'br-int', device, '--', 'set', 'Interface', device,
             f'external_ids:vm-uuid={lost}',
             f'external_ids:iface-id={lost}'], check=True)
        (self.files / lost).mkdir()
        server = self.boot()
        lab = cloud.Cloud(self.layout)
        lab.restart(['nova-compute-c1'])
        self.until(lambda: not (self.files / lost).exists(), 'files go', 30)
        self.until(lambda: device not in self.switch_ports(), 'ports go', 30)
        self.assertFalse(lab_layout.Path(
            f'/sys/class/net/{device}').exists())
        # What is a server's stays.
        self.assertIn('eth0', self.devices(server))
        self.await_compute()
