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

"""Servers through Nova's API."""

import ipaddress
import subprocess

import psutil

from lab import cloud
from lab import container_images
from tests.integration import base


class TestLife(base.LabCase):

    def test_a_server_from_create_to_delete(self):
        server = self.boot('command: [sh, -c, "trap exit TERM; '
                           'echo hello; sleep 600 & wait"]')
        container = self.container(server)
        self.assertTrue(container['State']['Running'])
        self.assertEqual(
            self.layout.hosts[0].nova_name,
            self.admin.compute.get_server(server.id).compute_host)
        log = self.tenant.compute.get_server_console_output(server.id)
        self.assertIn('hello', log['output'])

        self.tenant.compute.pause_server(server)
        self.wait(server, 'PAUSED')
        self.assertTrue(self.container(server)['State']['Paused'])
        self.tenant.compute.unpause_server(server)
        self.wait(server, 'ACTIVE')

        self.tenant.compute.reboot_server(server, 'HARD')
        self.until(lambda: self.container(server)['State']['StartedAt']
                   != container['State']['StartedAt'], 'rebooted')
        self.wait(server, 'ACTIVE')
        self.assertEqual(container['Id'], self.container(server)['Id'])

        self.tenant.compute.stop_server(server)
        self.wait(server, 'SHUTOFF')
        self.assertFalse(self.container(server)['State']['Running'])
        self.tenant.compute.start_server(server)
        self.wait(server, 'ACTIVE')
        self.assertTrue(self.container(server)['State']['Running'])

    def test_a_server_without_ports(self):
        # No port, no sandbox.
        server = self.tenant.compute.create_server(
            name='bare', image_id=self.image(), networks='none',
            flavor_id=self.tenant.compute.find_flavor('c1.tiny').id,
            user_data='I2RvY2tlci1jb25maWcKY29tbWFuZDogc2xlZXAgNjAwCg==')
        server = self.wait(server, 'ACTIVE')
        self.assertEqual('none', self.container(
            server)['HostConfig']['NetworkMode'])

    def test_the_end_of_a_process_reaches_the_api(self):
        server = self.boot('command: [sh, -c, "sleep 2; exit 7"]')
        found = self.wait(server, 'SHUTOFF')
        self.assertEqual('7', found.metadata['docker:exit_code'])

    def test_the_limits_are_the_flavors(self):
        server = self.boot(flavor='c1.medium')
        host = self.container(server)['HostConfig']
        self.assertEqual((512 * 1024 * 1024, 2 * 10**9, 512), (
            host['Memory'], host['NanoCpus'], host['PidsLimit']))

    def test_rebuild_keeps_address_and_id(self):
        server = self.boot()
        address, first = self.address(server), self.container(server)
        self.tenant.compute.rebuild_server(
            server, image=self.image('web'), name=server.name)
        self.until(lambda: self.container(server)['Id'] != first['Id']
                   if self.tenant.compute.get_server(
                       server.id).status == 'ACTIVE' else False, 'rebuilt')
        self.assertEqual(address, self.address(server))
        self.assertIn(address, self.inside(
            server, 'ip', 'address', 'show', 'eth0')[1])

    def test_a_mistyped_extra_spec_is_a_400(self):
        flavor = self.admin.compute.find_flavor('c1.tiny')
        for key, value in (('docker:privilegd', 'true'),
                           ('docker:cap_add', 'NET_ADMN'),
                           ('docker:ulimits', 'nofil=1')):
            answer = self.admin.compute.post(
                f'/flavors/{flavor.id}/os-extra_specs', microversion='2.90',
                json={'extra_specs': {key: value}})
            self.assertEqual(400, answer.status_code)
            # Nova names the key it does not know, or the value.
            self.assertTrue(key in answer.text or value in answer.text)

    def test_what_placement_knows_of_the_host(self):
        url = self.layout.url('placement') + '/resource_providers'
        # Other hosts may have been there before.
        provider, = self.admin.session.get(
            f'{url}?name={self.layout.hosts[0].nova_name}').json()[
                'resource_providers']
        said = {what: self.admin.session.get(
            f'{url}/{provider["uuid"]}/{what}',
            headers={'OpenStack-API-Version': 'placement 1.39'}).json()
            for what in ('traits', 'inventories')}
        self.assertLessEqual(
            {'COMPUTE_IMAGE_TYPE_RAW', 'HW_ARCH_X86_64', 'OWNER_NOVA',
             'CUSTOM_DOCKER_RUNTIME_RUNC'}, set(said['traits']['traits']))
        found = said['inventories']['inventories']
        self.assertEqual({'VCPU', 'MEMORY_MB', 'DISK_GB'}, set(found))
        self.assertEqual((512, 128.0), (
            found['MEMORY_MB']['reserved'],
            found['VCPU']['allocation_ratio']))


class TestFaults(base.LabCase):
    """Bad input: a fault that names the reason, and nothing is left."""

    def fault(self, *args, **kwargs):
        server = self.wait(self.create(*args, **kwargs), 'ERROR')
        self.assertNotIn(server.id, str(self.engine.containers(all=True)))
        return server.fault['message']

    def test_a_key_that_only_an_operator_grants(self):
        self.assertIn('privileged', self.fault('privileged: true'))

    def test_a_command_that_the_image_lacks(self):
        self.assertIn('no-such', self.fault('command: [no-such-program]'))

    def test_an_image_that_is_no_archive(self):
        self.assertIn('not a tar', self.fault(
            image=self.raw_image('junk', b'junk' * 9999)))

    def test_an_image_in_another_format(self):
        self.assertIn('container_format', self.fault(
            image=self.raw_image('bare', b'junk' * 9999, 'bare')))

    def test_two_images_in_one_archive(self):
        self.assertIn('exactly one', self.fault(image=self.raw_image(
            'two', container_images.tar({'manifest.json': b'[{}, {}]'}))))

    def test_a_process_that_never_gets_well(self):
        self.assertIn('unhealthy', self.fault(
            'command: sleep 600\n'
            'healthcheck: {test: "false", interval: 1s, retries: 1}\n'
            'x-nova: {wait_for: healthy}'))


class TestNetwork(base.LabCase):

    def test_security_groups_hold(self):
        group = self.make_group({
            'protocol': 'tcp', 'port_range_min': 8080,
            'port_range_max': 8080})
        serve = ('command: [sh, -c, "httpd -p 8080 -h /tmp; '
                 'httpd -p 8081 -h /tmp; sleep 600"]')
        client, server = self.booted(
            self.create(),
            self.create(serve, security_groups=[{'name': group.name}]))
        address = self.address(server)
        for port in (8080, 8081):
            self.until(lambda at=port: self.reach(server, '127.0.0.1', at),
                       'it listens', 20)
        self.until(lambda: self.reach(client, address, 8080),
                   'the allowed port answers', 20)
        self.assertFalse(self.reach(client, address, 8081))

    def test_everything_is_set_before_the_process(self):
        server = self.boot('command: [sh, -c, "ip address; ip route; '
                           'exec sleep 600"]')
        port = self.port(server)
        log = self.tenant.compute.get_server_console_output(
            server.id)['output']
        for part in (port.mac_address, self.address(server) + '/24',
                     'mtu 1442', 'default via 10.20.0.1'):
            self.assertIn(part, log)
        self.assertEqual('ACTIVE', port.status)

    def test_the_address_survives_the_process(self):
        server, client = self.booted(
            self.create('command: [sh, -c, "httpd -p 80 -h /tmp; '
                        'sleep 600"]'), self.create())
        group = self.make_group({'protocol': 'tcp'})
        self.tenant.network.update_port(
            self.port(server).id, security_groups=[group.id])
        address = self.address(server)
        self.until(lambda: self.reach(client, address, 80), 'answers', 20)
        self.engine.kill(f'nova-{server.id}')
        self.wait(server, 'SHUTOFF')
        self.tenant.compute.start_server(server)
        self.wait(server, 'ACTIVE')
        self.until(lambda: self.reach(client, address, 80),
                   'answers again', 20)

    def test_a_port_without_addresses(self):
        network = self.make_network()
        port = self.tenant.network.create_port(network_id=network.id)
        self.addCleanup(self.tenant.network.delete_port, port.id)
        with self.assertRaisesRegex(Exception, 'requires a FixedIP'):
            self.create(networks=[{'port': port.id}])
        self.assertEqual([], list(self.tenant.compute.servers()))

    def test_resolvers_are_the_subnets(self):
        network = self.make_network({
            'ip_version': 4, 'cidr': '10.30.0.0/24',
            'dns_nameservers': ['192.0.2.53'],
            'host_routes': [{'destination': '198.51.100.0/24',
                             'nexthop': '10.30.0.9'}]})
        server = self.boot(networks=[{'uuid': network.id}])
        self.assertIn('nameserver 192.0.2.53', self.inside(
            server, 'cat', '/etc/resolv.conf')[1])
        self.assertIn('198.51.100.0/24 via 10.30.0.9', self.inside(
            server, 'ip', 'route')[1])

    def test_two_networks_and_ipv6(self):
        network = self.make_network(
            {'ip_version': 4, 'cidr': '10.31.0.0/24'},
            {'ip_version': 6, 'cidr': '2001:db8:31::/64'})
        nets = [{'uuid': self.network().id}, {'uuid': network.id}]
        one, two = self.booted(
            self.create(networks=nets),
            self.create('command: [sh, -c, "httpd -p 80 -h /tmp; '
                        'sleep 600"]', networks=nets))
        addresses = {
            fixed['ip_address'] for port in self.tenant.network.ports(
                device_id=two.id) for fixed in port.fixed_ips}
        self.assertEqual(3, len(addresses))
        devices = self.inside(two, 'ip', 'address')[1]
        for address in addresses:
            self.assertIn(f'{address}/', devices)
            self.until(lambda at=address: self.reach(one, at, 80),
                       f'{address} answers', 20)
        # One way out, by the network that was named first.
        routes = self.inside(two, 'ip', 'route')[1]
        self.assertIn('default via 10.20.0.1 dev eth0', routes)


class TestConcurrency(base.LabCase):

    def test_several_at_once(self):
        # Nova answers before it builds: these builds run side by side.
        servers = [self.create() for _ in range(4)]
        for server in servers:
            self.wait(server, 'ACTIVE')
        self.assertEqual(4, len({self.address(s) for s in servers}))


class TestLab(base.LabCase):

    def test_it_listens_on_loopback_only(self):
        """All but the switch's tunnel, which carries no other host here."""
        ours = {process.pid for found in cloud.Cloud(
            self.layout).processes.running().values() for process in found}
        listeners = [found for found in psutil.net_connections('inet')
                     if found.pid in ours and found.status == 'LISTEN']
        self.assertGreater(len(listeners), 8)
        self.assertEqual([], [
            found.laddr for found in listeners
            if not ipaddress.ip_address(found.laddr.ip).is_loopback])

    def test_what_a_client_needs_is_printed(self):
        for user in ('admin', 'demo'):
            printed = subprocess.run(
                [str(self.layout.source / 'tools/lab'), 'env', user],
                capture_output=True, text=True, check=True).stdout
            answer = subprocess.run(
                ['sh', '-c', f'{printed}\n{self.layout.bin}/openstack '
                 'server list -f value'], capture_output=True, text=True,
                env={'PATH': '/usr/bin:/bin'})
            self.assertEqual(0, answer.returncode, answer.stderr)
