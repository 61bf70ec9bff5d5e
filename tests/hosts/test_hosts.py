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

"""Two compute hosts, each with a switch, an Engine and a network alone."""

import contextlib

import docker

from lab import cloud
from lab import layout as lab_layout
from nova_docker_driver import names
from tests.integration import base
from tests.integration import test_network


class HostsCase(test_network.NetworkCase):

    def setUp(self):
        # The first host before the second one: what starts it starts it
        # alone.
        base.lab()
        self.two = lab_layout.Layout.from_environment(computes=2)
        cloud.Cloud(self.two).up()
        super().setUp()
        self.engines = [
            docker.APIClient(host.endpoint, version='1.41')
            for host in self.two.hosts]
        for engine in self.engines:
            self.addCleanup(engine.close)
        self.addCleanup(self.check_the_other_host)

    def check_the_other_host(self):
        self.delete_all()
        self.assertEqual([], self.engines[1].containers(all=True, filters={
            'label': names.INSTANCE_LABEL}))

    @contextlib.contextmanager
    def on(self, number):
        """Servers are built on one of the hosts, and looked at there."""
        # Only an administrator may name a host; the server is the tenant's.
        before = self.engine
        self.engine = self.engines[number]
        other = self.two.hosts[1 - number].nova_name
        services = [service for service in self.admin.compute.services(
            binary='nova-compute') if service.host == other]
        for service in services:
            self.admin.compute.disable_service(service)
        try:
            yield
        finally:
            self.engine = before
            for service in services:
                self.admin.compute.enable_service(service)

    def built_on(self, number, *arguments, **values):
        with self.on(number):
            server = self.boot(*arguments, **values)
            self.assertTrue(self.container(server)['State']['Running'])
            found = self.admin.compute.get_server(server.id)
            self.assertEqual(self.two.hosts[number].nova_name,
                             found.compute_host)
            return server

    def reaches(self, number, server, address, port):
        with self.on(number):
            return self.reach(server, address, port)


class TestHosts(HostsCase):

    def test_across_hosts(self):
        """Packets get through where the groups let them, both ways."""
        group = self.open_group()
        servers = [self.built_on(
            number, test_network.SERVES, security_groups=[{'name': group}])
            for number in (0, 1)]
        for number in (0, 1):
            there = self.address(servers[1 - number])
            self.until(lambda one=number, at=there: self.reaches(
                one, servers[one], at, 80), f'from host {number}', 40)
            self.assertFalse(self.reaches(number, servers[number], there,
                                          81))
        rule, = [rule for rule in self.tenant.network.security_group_rules(
            security_group_id=self.tenant.network.find_security_group(
                group).id, direction='ingress') if rule.protocol == 'tcp']
        self.tenant.network.delete_security_group_rule(rule.id)
        address = self.address(servers[1])
        self.until(lambda: not self.reaches(0, servers[0], address, 80),
                   'the rule is gone on the other host', 20)

    def test_an_engine_that_comes_back(self):
        """Its servers go on by themselves, with the network they had."""
        group = self.open_group()
        client = self.built_on(0)
        server = self.built_on(1, f'{test_network.SERVES}\nrestart: always',
                               security_groups=[{'name': group}])
        address = self.address(server)
        self.until(lambda: self.reaches(0, client, address, 80), 'TCP', 40)
        lab = cloud.Cloud(self.two)
        lab.processes.stop(['dockerd-c2'])
        lab.up()
        self.until(lambda: self.reaches(0, client, address, 80), 'again', 60)
        self.wait(server, 'ACTIVE')

    def test_what_one_host_shelved_the_other_one_unshelves(self):
        server = self.built_on(0)
        self.inside(server, 'sh', '-c', 'echo precious > /data')
        address = self.address(server)
        self.tenant.compute.shelve_server(server)
        self.wait(server, 'SHELVED_OFFLOADED')
        with self.on(1):
            self.tenant.compute.unshelve_server(server)
            self.wait(server, 'ACTIVE')
            self.assertEqual('precious', self.inside(
                server, 'cat', '/data')[1].strip())
            self.assertEqual(address, self.address(server))
