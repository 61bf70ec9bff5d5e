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

"""What Neutron's ports mean, and in which order they are plugged."""

import configparser
import contextlib
from pathlib import Path
import tempfile
import unittest
from unittest import mock

from nova import exception
from nova.network import model as network_model
from os_vif import exception as os_vif_exception
from oslo_rootwrap import wrapper

from nova_docker_driver import errors
from nova_docker_driver import guestfiles
from nova_docker_driver import leftovers
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import network
from nova_docker_driver import switch
from tests.unit.nova_docker_driver import fakes

SOURCE = Path(__file__).resolve().parents[3]


class TestMeaning(unittest.TestCase):

    def test_a_port(self):
        nic, = network.nics([fakes.vif()])
        self.assertEqual('eth0', nic.name)
        self.assertEqual(('10.0.0.11/24',), nic.addresses)
        self.assertEqual((('0.0.0.0/0', '10.0.0.1'),), nic.routes)
        self.assertEqual(1442, nic.mtu)
        self.assertFalse(nic.checksum_offload)

    def test_only_the_first_port_gives_the_default_route(self):
        first, second = network.nics([fakes.vif(1), fakes.vif(2)])
        self.assertEqual(('eth0', 'eth1'), (first.name, second.name))
        self.assertEqual((), second.routes)

    def test_host_routes_and_ipv6(self):
        vif = fakes.vif()
        subnet = vif['network']['subnets'][0]
        subnet['routes'] = [network_model.Route(
            '192.0.2.0/24', gateway=network_model.IP('10.0.0.9'))]
        vif['network']['subnets'].append(network_model.Subnet(
            cidr='2001:db8::/64', version=6, dns=[], routes=[],
            gateway=network_model.IP('2001:db8::1'),
            ips=[network_model.FixedIP(address='2001:db8::7')]))
        nic, = network.nics([vif])
        self.assertEqual(('10.0.0.11/24', '2001:db8::7/64'), nic.addresses)
        self.assertEqual((('192.0.2.0/24', '10.0.0.9'),
                          ('0.0.0.0/0', '10.0.0.1'),
                          ('::/0', '2001:db8::1')), nic.routes)

    def test_the_way_to_the_metadata(self):
        details = {'bound_drivers': {'0': 'ovn'}, 'datapath_type': 'netdev'}
        vifs = [fakes.vif(number, details=details) for number in (1, 2)]
        first, second = network.nics(vifs)
        self.assertEqual(('169.254.169.254/32', ''), first.routes[-1])
        self.assertEqual((), second.routes)
        # A subnet that has one says it itself.
        vifs[0]['network']['subnets'][0]['routes'] = [network_model.Route(
            '169.254.169.254/32', gateway=network_model.IP('10.0.0.3'))]
        self.assertEqual(
            [('169.254.169.254/32', '10.0.0.3')],
            [route for route in network.nics(vifs)[0].routes
             if route[0].startswith('169')])
        # Other drivers answer at the router.
        self.assertEqual(1, len(network.nics([fakes.vif()])[0].routes))

    def test_a_port_without_addresses(self):
        vif = fakes.vif(details={})
        vif['network']['subnets'] = []
        nic, = network.nics([vif])
        self.assertEqual(((), ()), (nic.addresses, nic.routes))
        self.assertTrue(nic.checksum_offload)
        self.assertEqual((), network.nameservers([vif]))

    def test_resolvers_of_neutron_itself(self):
        vif = fakes.vif()
        subnet = vif['network']['subnets'][0]
        subnet['dns'] = []
        self.assertEqual(('10.0.0.1',), network.nameservers([vif]))
        subnet['meta']['dhcp_server'] = '10.0.0.3'
        self.assertEqual(('10.0.0.3',), network.nameservers([vif]))
        subnet['meta'], subnet['gateway'] = {}, None
        self.assertEqual((), network.nameservers([vif]))

    def test_resolvers_and_addresses(self):
        vifs = [fakes.vif(1), fakes.vif(2)]
        self.assertEqual(('10.0.0.2',), network.nameservers(vifs))
        self.assertEqual(('10.0.0.11', '10.0.0.12'),
                         network.addresses(vifs))

    def test_files_can_be_written_again_and_old_ones_go(self):
        """By somebody who is not root, and a file that is another user's."""
        with tempfile.TemporaryDirectory() as name:
            files = guestfiles.GuestFiles(Path(name))

            def prepare(*contents):
                files.prepare('u', 'web', [], [], models.TenantSpec(files=[
                    models.GuestFile(f'/{content}', content.encode(), 0o400)
                    for content in contents]))
                return sorted(path.read_text() for path
                              in Path(name, 'u').glob('file-*'))
            self.assertEqual(['a', 'b'], prepare('a', 'b'))
            inode = Path(name, 'u/file-0').stat().st_ino
            hosts = Path(name, 'u/hosts').stat().st_ino
            with open(Path(name, 'u/file-0')) as opened:
                self.assertEqual(['c'], prepare('c'))
                self.assertEqual('a', opened.read())
            self.assertNotEqual(inode, Path(name, 'u/file-0').stat().st_ino)
            self.assertEqual(hosts, Path(name, 'u/hosts').stat().st_ino)

    def test_search_domains_are_the_operators_or_the_tenants(self):
        with tempfile.TemporaryDirectory() as name:
            files = guestfiles.GuestFiles(Path(name), ['lab.example'])
            for tenant, expected in (
                    (models.TenantSpec(), 'lab.example'),
                    (models.TenantSpec(dns_search=('a.example',)),
                     'a.example')):
                files.prepare('u', 'web', [], ['10.0.0.2'], tenant)
                self.assertEqual(
                    f'nameserver 10.0.0.2\nsearch {expected}\n',
                    Path(name, 'u/resolv.conf').read_text())

    def test_the_hosts_file_names_the_server(self):
        self.assertIn('10.0.0.11 web\n',
                      guestfiles._hosts('web', ['10.0.0.11'], ()))
        self.assertEqual(set(), guestfiles.GuestFiles(
            mock.Mock(exists=lambda: False)).instance_uuids())


class TestRootwrap(unittest.TestCase):
    """Which commands an operator's rootwrap lets nova-compute run."""

    def allows(self, *command):
        parser = configparser.RawConfigParser()
        parser.read(SOURCE / 'etc/nova/rootwrap.d/docker.filters')
        found = [wrapper.build_filter(*[part.strip() for part
                                        in text.split(',')])
                 for _, text in parser.items('Filters')]
        return any(one.match(list(command)) for one in found)

    def test_our_helper_and_no_other(self):
        helper = ('privsep-helper', '--config-file', '/etc/nova/nova.conf',
                  '--privsep_context', 'nova_docker_driver.netns.context',
                  '--privsep_sock_path', '/tmp/tmp1/privsep.sock')
        self.assertTrue(self.allows(*helper))
        for place, other in ((2, '/tmp/mine.conf'), (2, '/etc/../tmp/x'),
                             (4, 'os.system'), (6, '/root/x')):
            changed = list(helper)
            changed[place] = other
            self.assertFalse(self.allows(*changed), changed)
        self.assertFalse(self.allows('sh', '-c', 'id'))


class TestLeftovers(unittest.TestCase):
    """What killed steps have left."""

    def setUp(self):
        super().setUp()
        self.engine = fakes.Engine()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)
        for server in ('known', 'lost'):
            (self.root / server).mkdir()
        self.leftovers = leftovers.Leftovers(
            self.engine, guestfiles.GuestFiles(self.root))
        self.netns = self.enterContext(mock.patch.object(leftovers, 'netns'))
        self.switch = self.enterContext(mock.patch.object(leftovers,
                                                          'switch'))
        self.switch.ports.return_value = {'tap1': 'known', 'tap2': 'lost',
                                          'tap3': 'of another hypervisor'}
        self.elsewhere = lambda server: 'another' in server

    def test_unknown_servers_lose_it(self):
        self.leftovers.remove({'known'}, self.elsewhere)
        self.assertEqual(['known'], [path.name for path
                                     in self.root.iterdir()])
        self.switch.remove.assert_called_once_with('tap2')
        self.netns.delete.assert_called_once_with('tap2')

    def test_those_with_a_container_keep_it(self):
        self.enterContext(mock.patch.object(
            self.engine, 'containers', return_value=[
                mock.Mock(labels={names.INSTANCE_LABEL: 'lost'})]))
        self.leftovers.remove({'known'}, self.elsewhere)
        self.assertEqual(2, len(list(self.root.iterdir())))
        self.switch.remove.assert_not_called()

    def test_what_cannot_be_asked_keeps_nothing_from_starting(self):
        self.switch.ports.side_effect = OSError('no switch')
        with mock.patch.object(guestfiles.GuestFiles, 'remove',
                               side_effect=OSError):
            self.leftovers.remove(set(), self.elsewhere)
        self.switch.is_there.return_value = False
        self.switch.ports.reset_mock()
        self.leftovers.remove(set(), self.elsewhere)
        self.switch.ports.assert_not_called()
        self.engine.failures = {'containers': [errors.EngineError('x')]}
        self.leftovers.remove(set(), self.elsewhere)

    def test_what_the_switch_says(self):
        ovsdb = mock.Mock()
        ovsdb.db_list.return_value.execute.return_value = [
            {'name': 'br-int', 'external_ids': {}},
            {'name': 'tap1', 'external_ids': {'vm-uuid': 'known'}}]
        with mock.patch.object(switch, '_ovsdb', return_value=ovsdb):
            self.assertEqual({'tap1': 'known'}, switch.ports())
            switch.remove('tap1')
        ovsdb.del_port.assert_called_once_with('tap1', if_exists=True)
        self.assertIsInstance(switch.is_there(), bool)


@mock.patch.object(network, 'os_vif')
@mock.patch.object(network, 'netns')
class TestPlugging(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.waited = []
        self.network = network.Network(self.wait)
        patch = mock.patch.multiple(
            network.os_vif_util, nova_to_osvif_instance=mock.DEFAULT)
        patch.start()
        self.addCleanup(patch.stop)
        self.instance = fakes.instance()

    @contextlib.contextmanager
    def wait(self, instance, names, timeout, error_callback):
        self.waited.append(('before', names))
        yield
        self.waited.append(('after', names))

    def test_in_order(self, netns, os_vif):
        vif = fakes.vif()
        calls = mock.Mock()
        calls.attach_mock(netns, 'netns')
        calls.attach_mock(os_vif, 'os_vif')
        self.network.connect(self.instance, [vif], '/netns/1')
        self.assertEqual(
            ['netns.delete', 'os_vif.unplug', 'netns.create_veth',
             'os_vif.plug', 'netns.configure'],
            [call[0] for call in calls.mock_calls])
        expected = [('network-vif-plugged', vif['id'])]
        self.assertEqual([('before', expected), ('after', expected)],
                         self.waited)

    def test_os_vif_makes_no_tap_of_its_own(self, netns, os_vif):
        self.network.connect(self.instance, [fakes.vif()], '/netns/1')
        plugged = os_vif.plug.call_args[0][0]
        self.assertFalse(plugged.port_profile.create_tap)

    def test_an_active_port_is_not_waited_for(self, netns, os_vif):
        self.network.connect(self.instance, [fakes.vif(active=True)], '/n')
        self.assertEqual([], self.waited)

    def test_a_port_that_nobody_can_plug(self, netns, os_vif):
        for kind in ('unbound', 'binding_failed'):
            with self.assertRaises(exception.VirtualInterfacePlugException):
                self.network.connect(self.instance, [fakes.vif(type=kind)],
                                     '/netns/1')

    def test_a_hybrid_port_has_a_bridge_to_be_filtered_on(self, netns,
                                                          os_vif):
        hybrid = fakes.vif(details={'ovs_hybrid_plug': True})
        self.network.connect(self.instance, [hybrid], '/netns/1')
        os_vif.plug.assert_called_once()
        netns.add_to_bridge.assert_called_once_with(
            hybrid['devname'], 'qbr' + hybrid['id'][:11])

    def test_a_trunk_has_a_bridge_of_its_own(self, netns, os_vif):
        trunk = fakes.vif()
        trunk['network']['bridge'] = 'tbr-1'
        self.network.connect(self.instance, [trunk], '/netns/1')
        self.assertEqual('tbr-1', os_vif.plug.call_args[0][0].bridge_name)

    def test_an_offloaded_port_is_refused_before_anything_is_made(
            self, netns, os_vif):
        offloaded = fakes.vif(vnic_type='direct', profile={
            'pci_slot': '0000:00:01.1', 'capabilities': ['switchdev']})
        with self.assertRaisesRegex(
                exception.VirtualInterfacePlugException, 'VIFHostDevice'):
            self.network.connect(self.instance, [offloaded], '/netns/1')
        netns.create_veth.assert_not_called()
        os_vif.plug.assert_not_called()

    def test_a_function_of_a_pci_device(self, netns, os_vif):
        """Recorded: there is no such hardware here."""
        netns.ERRORS = (OSError,)
        function = fakes.vif(type='hw_veb', vnic_type='direct', profile={
            'pci_slot': '0000:00:01.1'})
        with tempfile.TemporaryDirectory() as name:
            self.enterContext(mock.patch.object(network, '_PCI_DEVICES',
                                                Path(name)))
            with self.assertRaisesRegex(
                    exception.VirtualInterfacePlugException, '0000:00:01.1'):
                self.network.connect(self.instance, [function], '/netns/1')
            Path(name, '0000:00:01.1/net/enp1s0v1').mkdir(parents=True)
            self.network.connect(self.instance, [function], '/netns/1')
        netns.move.assert_called_once_with(
            'enp1s0v1', 'eth0', function['address'], 1442, '/netns/1')
        netns.configure.assert_called_once()
        os_vif.plug.assert_not_called()
        self.network.restore(self.instance, [function], '/netns/1')
        netns.move.assert_called_once()

    def test_a_function_goes_back_to_its_host(self, netns, os_vif):
        function = fakes.vif(type='hw_veb', vnic_type='direct')
        self.network.detach(self.instance, function, '/netns/1')
        netns.move_back.assert_called_once_with(
            '/netns/1', function['address'], 'vf' + function['id'][:11])
        self.network.detach(self.instance, fakes.vif(), '/netns/1')
        netns.move_back.assert_called_once()
        os_vif.unplug.assert_called_once()

    def test_a_port_that_comes_later(self, netns, os_vif):
        """It takes the first name that is free, and no default route."""
        netns.devices.return_value = ['lo', 'eth1']
        first, second = fakes.vif(1), fakes.vif(2)
        self.network.attach(self.instance, second, [first], '/netns/1')
        netns.create_veth.assert_called_once_with(
            second['devname'], 'eth0', second['address'], 1442, '/netns/1')
        self.assertEqual((), netns.configure.call_args[0][3])
        self.assertEqual([], self.waited)

    def test_a_failure_of_os_vif_is_nova_s(self, netns, os_vif):
        netns.ERRORS = (OSError,)
        os_vif.plug.side_effect = os_vif_exception.PlugException(
            vif='x', err='y')
        with self.assertRaises(exception.VirtualInterfacePlugException):
            self.network.connect(self.instance, [fakes.vif()], '/netns/1')

    def test_a_failure_of_the_kernel_is_nova_s(self, netns, os_vif):
        netns.ERRORS = (OSError,)
        netns.create_veth.side_effect = OSError('no such namespace')
        with self.assertRaisesRegex(exception.VirtualInterfacePlugException,
                                    'no such namespace'):
            self.network.connect(self.instance, [fakes.vif()], '/netns/1')

    def test_what_cannot_be_plugged_can_be_removed(self, netns, os_vif):
        netns.ERRORS = (OSError,)
        self.network.disconnect(self.instance, [fakes.vif(type='odd')])
        os_vif.unplug.side_effect = os_vif_exception.NoMatchingPlugin(
            plugin_name='x')
        self.network.disconnect(self.instance, [fakes.vif()])
        self.assertEqual(2, netns.delete.call_count)
        os_vif.unplug.side_effect = os_vif_exception.UnplugException(
            vif='x', err='y')
        with self.assertRaises(exception.VirtualInterfacePlugException):
            self.network.disconnect(self.instance, [fakes.vif()])

    def test_neutron_is_silent(self, netns, os_vif):
        @contextlib.contextmanager
        def wait(*args, **kwargs):
            yield
            raise exception.InstanceEventTimeout()
        silent = network.Network(wait)
        with self.assertRaises(exception.VirtualInterfaceCreateException):
            silent.connect(self.instance, [fakes.vif()], '/netns/1')
        with mock.patch.object(network.CONF, 'vif_plugging_is_fatal', False,
                               create=True):
            silent.connect(self.instance, [fakes.vif()], '/netns/1')

    def test_neutron_reports_a_failure(self, netns, os_vif):
        with self.assertRaises(exception.VirtualInterfaceCreateException):
            network._plugging_failed('network-vif-plugged', self.instance)

    def test_what_is_wired_stays(self, netns, os_vif):
        netns.exists.return_value = True
        vif = fakes.vif()
        self.network.restore(self.instance, [vif], '/netns/1')
        os_vif.plug.assert_not_called()
        netns.set_link.assert_called_once_with(vif['devname'], True)
        self.network.restore(self.instance, [vif], '/netns/1', links_up=False)
        netns.set_link.assert_called_once()
        netns.exists.return_value = False
        netns.devices.return_value = ['lo']
        self.network.restore(self.instance, [fakes.vif()], '/netns/1')
        os_vif.plug.assert_called_once()

    def test_one_that_is_off_is_not_heard(self, netns, os_vif):
        first, second = fakes.vif(1), fakes.vif(2)
        self.network.set_links([first, second], False)
        self.assertEqual([mock.call(first['devname'], False),
                          mock.call(second['devname'], False)],
                         netns.set_link.call_args_list)
        netns.ERRORS = (OSError,)
        netns.set_link.side_effect = OSError('no')
        with self.assertRaises(exception.VirtualInterfacePlugException):
            self.network.set_links([first], True)

    def test_ports_that_only_the_switch_knows(self, netns, os_vif):
        with mock.patch.object(network, 'switch') as known:
            known.ports.return_value = {'tap1': 'u', 'tap2': 'other'}
            self.network.forget('u')
            known.remove.assert_called_once_with('tap1')
            netns.delete.assert_called_once_with('tap1')
            known.ports.side_effect = OSError('no switch')
            self.network.forget('u')
            known.is_there.return_value = False
            self.network.forget('u')
            known.remove.assert_called_once_with('tap1')

    def test_disconnect(self, netns, os_vif):
        self.network.disconnect(self.instance, [
            fakes.vif(1), fakes.vif(2, type='unbound')])
        os_vif.unplug.assert_called_once()
        self.assertEqual(2, netns.delete.call_count)

    def test_the_part_of_virtapi(self, netns, os_vif):
        api = mock.Mock()
        self.assertIs(api.wait_for_instance_event,
                      network.wait_for_events(api))
