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

"""What an operator grants, as the Engine and the kernel take it.

The only suite whose containers have more than the baseline: each test says
what more, and looks that it is no more than that.
"""

import dataclasses
import json
from pathlib import Path

from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import spec
from tests.functional import base

#: Everything is allowed but changing the mode of a file.
SECCOMP = json.dumps({'defaultAction': 'SCMP_ACT_ALLOW', 'syscalls': [{
    'names': ['chmod', 'fchmod', 'fchmodat'], 'action': 'SCMP_ACT_ERRNO'}]})


class TestGrants(base.ContainerCase):

    def setUp(self):
        super().setUp()
        # These containers are judged here, one by one.
        self.policy = dataclasses.replace(
            self.policy, host='grants',
            allowed_caps=(*spec.BASELINE_CAPS, 'NET_RAW'),
            allowed_runtimes=('runc',), devices={'null': '/dev/null'},
            seccomp_profiles={'no-chmod': SECCOMP},
            max_ulimits={'nofile': 100, 'nproc': -1})

    def spawn_with(self, user_data='command: sleep 600', **grants):
        instance = self.instance(user_data, **grants)
        self.spawn_instance(instance)
        return instance

    def status(self, instance, field):
        pid = self.lifecycle.inspect(instance).pid
        text = Path(f'/proc/{pid}/status').read_text()
        return text.partition(f'{field}:')[2].split()[0]

    def capabilities(self, instance):
        return int(self.status(instance, 'CapBnd'), 16)

    def test_a_capability_that_is_asked_for(self):
        plain = self.spawn_with(cap_add='NET_RAW')
        raw = self.spawn_with('command: sleep 600\ncap_add: [NET_RAW]',
                              cap_add='NET_RAW')
        self.assertEqual(self.capabilities(plain) | 1 << 13,
                         self.capabilities(raw))

    def test_a_device_and_a_runtime(self):
        instance = self.spawn_with(devices='null', runtime='runc')
        host = self.client.inspect_container(
            names.container(instance.uuid))['HostConfig']
        self.assertEqual(['/dev/null'], [
            device['PathOnHost'] for device in host['Devices']])
        self.assertEqual('runc', host['Runtime'])

    def test_a_seccomp_profile(self):
        instance = self.spawn_with(seccomp_profile='no-chmod')
        self.assertEqual('2', self.status(instance, 'Seccomp'))
        self.assertIn('not permitted', self.run_inside(
            instance, 'chmod', '700', '/tmp'))
        self.assertEqual('', self.run_inside(
            self.spawn_with(), 'chmod', '700', '/tmp'))

    def test_limits_of_a_process(self):
        instance = self.spawn_with(ulimits='nofile=40:50', pids_limit='9')
        self.assertEqual('50', self.run_inside(
            instance, 'sh', '-c', 'ulimit -Hn').strip())

    def test_the_restricted_profile(self):
        instance = self.spawn_with('command: sleep 600\nuser: "1000"',
                                   profile='restricted')
        self.assertEqual(('1000', 1 << 10, '1'), (
            self.status(instance, 'Uid'), self.capabilities(instance),
            self.status(instance, 'NoNewPrivs')))
        self.assertIn('Read-only', self.run_inside(instance, 'touch', '/x'))

    def test_users_of_the_host(self):
        # Where the Engine does not remap users, it changes nothing.
        instance = self.spawn_with(userns='host')
        self.assertEqual('host', self.client.inspect_container(
            names.container(instance.uuid))['HostConfig']['UsernsMode'])

    def test_privileged_reaches_the_engine(self):
        """A kernel with all capabilities would start it."""
        self.policy = dataclasses.replace(self.policy, allow_privileged=True)
        instance = self.instance('command: sleep 600', privileged='true')
        try:
            self.spawn_instance(instance)
        except Exception as error:
            self.assertIn('apply caps', str(error))
        else:
            self.assertTrue(self.client.inspect_container(names.container(
                instance.uuid))['HostConfig']['Privileged'])


class TestHalfMade(base.ContainerCase):
    """Destroy tolerates every state that a kill can leave."""

    def make(self, *acts):
        instance = self.spawn('command: sleep 600', vifs=[])
        name = names.container(instance.uuid)
        for act in acts:
            getattr(self.client, act)(name)
        return instance

    def test_every_half_made_state(self):
        for acts in ((), ('pause',), ('kill',), ('remove_container',)):
            instance = self.make(*(('kill', *acts) if acts == (
                'remove_container',) else acts))
            with self.subTest(acts=acts):
                self.lifecycle.destroy(instance, [])
                self.check_nothing_is_left()

    def test_a_container_that_was_never_started(self):
        instance = self.instance('command: sleep 600')
        self.engine.create(models.ContainerSpec(
            name=names.container(instance.uuid), image=self.image_id(),
            labels=names.labels(instance.uuid, names.ROLE_SERVER,
                                'functional'),
            network_mode='none', hostname=None, memory=64 * models.MIB,
            pids_limit=9, nano_cpus=10**9,
            security_opt=('no-new-privileges:true',)))
        self.lifecycle.destroy(instance, [])

    def test_files_or_a_sandbox_alone(self):
        instance = self.instance()
        self.lifecycle._files.prepare(instance.uuid, 'web', [], [],
                                      models.TenantSpec())
        self.lifecycle.destroy(instance, [])
        self.lifecycle._sandboxes.make(instance.uuid, 'web', self.policy)
        self.lifecycle.destroy(instance, [])

    def image_id(self):
        instance = self.spawn()
        return self.lifecycle.inspect(instance).image
