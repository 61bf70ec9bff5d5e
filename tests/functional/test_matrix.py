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

"""Every tenant's channel against every HostConfig key of the SDK.

Whatever a tenant writes, and wherever, the container on the Engine differs
from an untouched one only where the tenant may choose, and only as far.
"""

import inspect

from docker import types
from nova import exception
from nova import utils as nova_utils
import yaml

from nova_docker_driver import names
from tests.functional import base

#: What an attacker would write, by the SDK's name; else what follows.
DANGEROUS = {
    'binds': ['/:/host'], 'mounts': [{'type': 'bind', 'source': '/',
                                      'target': '/host'}],
    'cap_add': ['SYS_ADMIN'], 'cgroup_parent': '/', 'cgroupns': 'host',
    'cpu_count': 64, 'cpuset_cpus': '0', 'cpu_shares': 262144,
    'device_cgroup_rules': ['a *:* rwm'], 'devices': ['/dev/mem:/dev/mem'],
    'device_requests': [{'Count': -1, 'Capabilities': [['gpu']]}],
    'group_add': ['0'], 'init': True, 'ipc_mode': 'host',
    'links': {'other': 'other'}, 'log_config': {'type': 'syslog'},
    'mem_limit': '999g', 'mem_swappiness': 100, 'nano_cpus': 64 * 10**9,
    'network_mode': 'host', 'oom_kill_disable': True, 'oom_score_adj': -1000,
    'pid_mode': 'host', 'pids_limit': -1, 'port_bindings': {'22/tcp': 22},
    'privileged': True, 'publish_all_ports': True, 'read_only': False,
    'restart_policy': {'Name': 'always'}, 'runtime': 'runc',
    'security_opt': ['seccomp=unconfined'], 'shm_size': '999g',
    'storage_opt': {'size': '999G'}, 'sysctls': {'kernel.panic': '1'},
    'tmpfs': {'/etc': 'exec,suid,dev'}, 'ulimits': {'nofile': 10**9},
    'userns_mode': 'host', 'uts_mode': 'host', 'volumes_from': ['other'],
    'volume_driver': 'local', 'dns': ['198.51.100.1'],
    'dns_search': ['example.org'], 'dns_opt': ['debug'],
    'extra_hosts': {'metadata': '198.51.100.2'}, 'isolation': 'process'}

KEYS = sorted(set(inspect.signature(
    types.HostConfig.__init__).parameters) - {'self', 'version'})

#: The Engine's names of what a tenant may choose, within bounds.
CHOICES = {
    'GroupAdd': lambda value: value == ['0'],
    'Init': lambda value: value is True,
    'ReadonlyRootfs': lambda value: value is True,
    'Sysctls': lambda value: all(key.startswith('net.') for key in value),
    'Tmpfs': lambda value: all(
        {'nosuid', 'nodev'} <= set(options.split(','))
        for options in value.values()),
    # Files of the driver's own: the conservation check looks at them.
    'Mounts': lambda value: all(
        mount['ReadOnly'] for mount in value),
}


def dangerous(key):
    return DANGEROUS.get(key, 1)


def spellings(key):
    return {key, key.title().replace('_', ''), key.replace('_', '-')}


def plain(text):
    return text.lower().replace('_', '').replace('-', '')


class TestMatrix(base.ContainerCase):

    def setUp(self):
        super().setUp()
        self.untouched = self.host_config(self.made_with())

    def made_with(self, document='', properties=(), metadata=()):
        instance = self.instance(document)
        instance.system_metadata = {
            nova_utils.SM_IMAGE_PROP_PREFIX + name: value
            for name, value in dict(properties).items()}
        instance.metadata = dict(metadata)
        self.spawn_instance(instance)
        return instance

    def instance(self, document='', **kwargs):
        if 'command' not in document:
            document = f'{document}\ncommand: sleep 600'
        return super().instance(document, **kwargs)

    def host_config(self, instance):
        found = self.client.inspect_container(names.container(instance.uuid))
        host = found['HostConfig']
        # Its own directory of files.
        host['Mounts'] = [{**mount, 'Source': mount['Source'].replace(
            instance.uuid, '')} for mount in host['Mounts'] or ()]
        return host

    def assert_harmless(self, channel, key, **given):
        """Refused, or without an effect that a tenant may not have."""
        try:
            instance = self.made_with(**given)
        except exception.Invalid as error:
            self.assertIn(plain(key), plain(str(error)))
            self.assertEqual([], self.engine.containers(
                self.made[-1].uuid))
            return False
        host = self.host_config(instance)
        for name, value in host.items():
            if value != self.untouched[name]:
                self.assertIn(name, CHOICES, (channel, key))
                self.assertTrue(CHOICES[name](value), (channel, key, value))
        self.lifecycle.destroy(instance, [])
        return True

    def test_the_specification(self):
        accepted = {
            key for key in KEYS for spelling in spellings(key)
            if self.assert_harmless(
                'user_data', key,
                document=yaml.safe_dump({spelling: dangerous(key)}))}
        # What is accepted is what the tenant's page says.
        self.assertEqual({'dns', 'dns_search', 'extra_hosts', 'group_add',
                          'init', 'read_only'}, accepted - {'tmpfs'})

    def test_below_the_keys_of_nova(self):
        for key in KEYS:
            self.assertFalse(self.assert_harmless(
                'x-nova', 'x-nova',
                document=yaml.safe_dump({'x-nova': {key: dangerous(key)}})))

    def test_the_images_properties(self):
        accepted = set()
        for key in KEYS:
            text = yaml.safe_dump(
                dangerous(key), default_flow_style=True
            ).strip().removesuffix('...').strip()
            if self.assert_harmless(
                    'image', key, properties={f'docker_{key}': text}):
                accepted.add(key)
        self.assertEqual({'dns', 'dns_search', 'group_add', 'init',
                          'read_only'}, accepted - {'tmpfs'})

    def test_other_properties_and_metadata_do_nothing(self):
        words = {spelling: str(dangerous(key))[:200]
                 for key in KEYS for spelling in spellings(key)}
        for prefix in ('', 'docker:', 'hw_docker_', 'os_',
                       'org.openstack.nova-docker.'):
            found = {f'{prefix}{key}': value for key, value in words.items()}
            self.assertTrue(self.assert_harmless(
                'metadata', prefix, metadata=found))
            self.assertTrue(self.assert_harmless(
                'properties', prefix, properties=found))
