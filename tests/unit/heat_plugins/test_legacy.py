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

"""The old resource type, in Heat, without an Engine."""

import socket
import sys
from unittest import mock

from heat.common import exception
from heat.engine import resource as heat_resource
from heat.policies import resource_types
from heat.tests import common
from heat.tests import utils
from oslo_config import cfg
from oslo_config import fixture as config_fixture

from heat_plugins import enginesconf
from heat_plugins import legacy
from heat_plugins.loader import nova_docker
from heat_plugins.resources import legacy as resource
from tests.unit.heat_plugins import test_container  # noqa: F401

#: What the plug-in of old had.
OLD_PROPERTIES = {
    'docker_endpoint', 'hostname', 'user', 'memory', 'port_specs',
    'privileged', 'tty', 'open_stdin', 'stdin_once', 'env', 'cmd', 'dns',
    'image', 'volumes', 'volumes_from', 'port_bindings', 'links', 'name',
    'restart_policy', 'cap_add', 'cap_drop', 'read_only', 'cpu_shares',
    'devices', 'cpu_set'}
OLD_ATTRIBUTES = {
    'info', 'network_info', 'network_ip', 'network_gateway',
    'network_tcp_ports', 'network_udp_ports', 'logs', 'logs_head',
    'logs_tail'}


class LegacyCase(common.HeatTestCase):

    def setUp(self):
        super().setUp()
        heat_resource._register_class(resource.TYPE, resource.Container)
        self.conf = self.useFixture(config_fixture.Config(cfg.CONF))
        self.configure(endpoints=['one', 'two'])
        cfg.CONF.register_opts(enginesconf._ENDPOINT_OPTIONS,
                               'docker_endpoint_one')
        self.conf.config(group='docker_endpoint_one',
                         url='unix:///run/nowhere.sock')

    def configure(self, **values):
        self.conf.config(group='docker_container', **values)

    def container(self, **values):
        properties = {'docker_endpoint': 'one', 'image': 'busybox', **values}
        self.stack = utils.parse_stack({
            'heat_template_version': '2021-04-16', 'resources': {'c': {
                'type': resource.TYPE, 'properties': {
                    name: value for name, value in properties.items()
                    if value is not None}}}})
        return self.stack['c']

    def assertRefused(self, text, **values):
        with mock.patch.object(socket, 'socket',
                               side_effect=AssertionError('a socket')):
            self.assertIn(text, str(self.assertRaises(
                exception.StackValidationFailed,
                self.container(**values).validate)))


class TestValidation(LegacyCase):

    def test_it_has_what_the_old_one_had(self):
        self.assertEqual(25, len(OLD_PROPERTIES))
        self.assertLess(OLD_PROPERTIES,
                        set(resource.Container.properties_schema))
        self.assertEqual(9, len(OLD_ATTRIBUTES))
        self.assertLess(OLD_ATTRIBUTES,
                        set(resource.Container.attributes_schema))

    def test_no_socket_is_opened(self):
        with mock.patch.object(socket, 'socket',
                               side_effect=AssertionError('a socket')):
            self.container(env={'A': 1}, port_specs=['80', '8080:80'],
                           restart_policy={'Name': 'always'}).validate()

    def test_endpoints_are_names_and_nothing_else(self):
        """Whatever a template says, Heat is sent nowhere."""
        for endpoint in (
                'unix:///var/run/docker.sock', 'tcp://127.0.0.1:2375',
                'http://169.254.169.254', 'http://[::1]:2375', 'three',
                'https://user@192.0.2.1', 'ssh://192.0.2.1', 'two', '',
                '../one', 'one\n', None):
            self.assertRefused('docker_endpoint', docker_endpoint=endpoint)
        self.configure(default_endpoint='one')
        self.container(docker_endpoint=None).validate()

    def test_endpoints_of_operators(self):
        for url, files, good in (
                ('unix:///run/x.sock', {}, True),
                ('ssh://root@192.0.2.1', {}, True),
                ('tcp://192.0.2.1:2375', {}, False),
                ('http://192.0.2.1', {}, False), ('', {}, False),
                ('https://192.0.2.1:2376', {}, False),
                ('https://192.0.2.1:2376', {
                    'ca_file': '/a', 'cert_file': '/b', 'key_file': '/c'},
                 True)):
            self.conf.config(group='docker_endpoint_one', **{
                'url': url, 'ca_file': '', 'cert_file': '', 'key_file': '',
                **files})
            if good:
                self.container().validate()
            else:
                self.assertRefused('docker_endpoint_one')

    def test_what_only_an_operator_grants(self):
        for name, value, option in (
                ('privileged', True, 'allow_privileged'),
                ('volumes', {'/': '/host'}, 'allow_bind_mounts'),
                ('volumes_from', ['other'], 'allow_bind_mounts'),
                ('devices', [{'path_on_host': '/dev/mem'}],
                 'allow_devices')):
            self.configure(allow_privileged=False, allow_bind_mounts=False,
                           allow_devices=False)
            self.assertRefused(f'Property {name}: ', **{name: value})
            self.configure(**{option: True})
            self.container(**{name: value}).validate()
        self.assertRefused('cap_add', cap_add=['SYS_ADMIN'])
        self.configure(allowed_caps=['NET_ADMIN'])
        self.container(cap_add=['NET_ADMIN']).validate()
        self.assertRefused('network_mode', network_mode='host')
        self.assertRefused('network_mode', network_mode='container:x')

    def test_bad_values(self):
        for name, value in (('env', ['=x']), ('port_specs', ['http']),
                            ('wait_for', 'healthy'), ('memory', 5),
                            ('restart_policy', {'Name': 'never'}),
                            ('cpu_set', 'all'), ('image', None),
                            ('healthcheck', {'interval': '1s'})):
            self.assertRefused(name, **{name: value})


class TestOffer(common.HeatTestCase):

    def setUp(self):
        super().setUp()
        self.conf = self.useFixture(config_fixture.Config(cfg.CONF))

    def test_only_where_an_operator_wants_it(self):
        self.assertNotIn(resource.TYPE,
                         nova_docker.available_resource_mapping())
        self.conf.config(group='docker_container', enabled=True)
        self.assertIs(resource.Container,
                      nova_docker.available_resource_mapping()[resource.TYPE])

    def test_without_the_sdk_the_others_are_there(self):
        self.conf.config(group='docker_container', enabled=True)
        with mock.patch.dict(sys.modules, {
                'heat_plugins.resources.legacy': None}), \
                mock.patch.object(nova_docker.LOG, 'warning') as warning:
            found = nova_docker.available_resource_mapping()
        self.assertEqual(3, len(found))
        self.assertIn(resource.TYPE, warning.call_args.args)

    def test_without_anything_heat_goes_on(self):
        with mock.patch.dict(sys.modules, {
                'heat_plugins.enginesconf': None}), \
                mock.patch.object(nova_docker.LOG, 'warning'):
            self.assertEqual({}, nova_docker.available_resource_mapping())

    def test_only_administrators(self):
        rule, = [rule for rule in resource_types.resource_types_policies
                 if rule.name.endswith(resource.TYPE)]
        self.assertIn('project_admin', rule.check_str)
        resource.restrict()
        self.assertEqual(1, len([
            one for one in resource_types.resource_types_policies
            if one.name == rule.name]))


class TestMeaning(common.HeatTestCase):

    def test_what_the_engine_is_asked_for(self):
        properties = {
            'image': 'i', 'cmd': ['a'], 'env': {'A': 1}, 'memory': 2 ** 26,
            'cpu_set': '0', 'dns': ['192.0.2.1'], 'tmpfs': ['/t'],
            'port_specs': ['81', '192.0.2.5:8080:80/tcp'],
            'port_bindings': {'53/udp': 5353}, 'labels': {'a': 1},
            'links': {'db': 'sql'}, 'volumes': {'/a': '/b', '/c': {
                'bind': '/d', 'ro': True}},
            'devices': [{'path_on_host': '/dev/fuse'}],
            'restart_policy': {'Name': 'on-failure',
                               'MaximumRetryCount': 3},
            'healthcheck': {'test': ['CMD', 'a'], 'interval': '1m30s',
                            'retries': 2}}
        made = legacy.configuration(properties, {'heat.x': 'y'})
        self.assertEqual(
            (['a'], ['A=1'], {'a': '1', 'heat.x': 'y'},
             [('53', 'udp'), ('80', 'tcp'), ('81', 'tcp')],
             {'test': ['CMD', 'a'], 'interval': 90 * 10 ** 9,
              'retries': 2}), tuple(made[name] for name in (
                  'command', 'environment', 'labels', 'ports',
                  'healthcheck')))
        self.assertEqual({
            'mem_limit': 2 ** 26, 'cpuset_cpus': '0', 'dns': ['192.0.2.1'],
            'binds': ['/a:/b', '/c:/d:ro'], 'links': {'db': 'sql'},
            'port_bindings': {'80/tcp': ('192.0.2.5', '8080'),
                              '53/udp': 5353},
            'restart_policy': {'Name': 'on-failure',
                               'MaximumRetryCount': 3},
            'privileged': False, 'read_only': False, 'tmpfs': {'/t': ''},
            'devices': ['/dev/fuse:/dev/fuse:rwm'],
            'security_opt': ['no-new-privileges']}, legacy.host(properties))

    def test_progress(self):
        def state(status, code=0, health=None):
            return {'Status': status, 'ExitCode': code,
                    'Health': {'Status': health} if health else None}
        for found, wait_for, done, failure in (
                (state('running'), 'running', True, ''),
                (state('restarting', 1), 'running', False, ''),
                (state('exited', 0), 'completed', True, ''),
                (state('running'), 'completed', False, ''),
                (state('exited', 0), 'running', False, 'code 0'),
                (state('exited', 3), 'completed', False, 'code 3'),
                (state('running', health='starting'), 'healthy', False, ''),
                (state('running', health='healthy'), 'healthy', True, ''),
                (state('running', health='unhealthy'), 'healthy', False,
                 'unhealthy'),
                (state('exited', 9), 'none', True, '')):
            progress = legacy.progress(found, wait_for)
            self.assertEqual(done, progress.done)
            self.assertIn(failure, progress.failure)

    def test_networks(self):
        found = legacy.network({'NetworkSettings': {
            'IPAddress': '', 'Networks': {'own': {
                'IPAddress': '192.0.2.2', 'Gateway': '192.0.2.1'}},
            'Ports': {'80/tcp': [{'HostPort': '8080'}], '81/tcp': None,
                      '53/udp': [{'HostPort': '53'}]}}})
        self.assertEqual(
            ('192.0.2.2', '192.0.2.1', '8080', '53'), tuple(
                found[name] for name in ('IPAddress', 'Gateway', 'TcpPorts',
                                         'UdpPorts')))
        self.assertEqual('', legacy.network({'NetworkSettings': {
            'IPAddress': '', 'Ports': None}})['TcpPorts'])

    def test_secrets_are_not_shown(self):
        self.assertNotIn('hush', str(legacy.info({'Config': {
            'Env': ['PASSWORD=hush']}})))

    def test_no_check(self):
        self.assertEqual({'test': ['NONE']}, legacy.configuration({
            'image': 'i', 'healthcheck': {'disable': True}}, {})[
                'healthcheck'])

    def test_changes_of_what_runs(self):
        self.assertEqual({
            'mem_limit': 9, 'memswap_limit': -1, 'cpu_shares': 1024,
            'cpuset_cpus': '', 'restart_policy': {
                'Name': 'no', 'MaximumRetryCount': 0}}, legacy.live(
            {'memory': 9}, set(legacy.LIVE)))
        self.assertEqual({}, legacy.live({'memory': 9}, {'name'}))
