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

"""The container specification through the Nova API, seen from inside.

Each key that is honoured is asserted on the running process.
"""

import base64
import time
from unittest import mock

from nova import exception
from nova.tests.functional.api import client

from nova_docker_driver import hardening
from nova_docker_driver import models
from nova_docker_driver import names
from tests.api import base
from tests import limits

SECRET = 'canary-8f1d6c'

EVERYTHING = f'''
entrypoint: [/bin/env, -u, NOBODY]
command: [sh, -c, "trap 'echo asked; exit 0' QUIT; sleep 600 & wait"]
environment: {{GREETING: "hello world", TOKEN: {SECRET}}}
working_dir: /tmp
user: "1000:1001"
group_add: [7]
tty: true
stdin_open: true
init: true
stop_signal: SIGQUIT
stop_grace_period: 3s
restart: on-failure:2
read_only: true
tmpfs: ["/run:size=1m,mode=1777", "/tmp:mode=1777"]
shm_size: 16m
ulimits: {{nofile: {{soft: 100, hard: 200}}, core: 0}}
cap_drop: [CHOWN, KILL]
labels: {{team: web}}
extra_hosts: {{db: 10.1.2.3}}
dns: [192.0.2.9]
dns_search: [example.org]
configs: [{{target: /etc/app.conf, content: "x = 1", mode: 0444}}]
secrets:
- {{target: /run/key, content: {SECRET}, mode: 0400, uid: 1000, gid: 1001}}
logging: {{options: {{max-size: 1m, max-file: 2}}}}
mem_reservation: 32m
oom_score_adj: 200
volumes: [/data]
healthcheck: {{test: [CMD, "true"], interval: 1s}}
x-nova: {{wait_for: healthy}}
'''


class TestKeys(base.ApiCase):

    def test_everything_from_inside(self):
        server = self.boot(EVERYTHING)
        found = self.container(server)
        inside = lambda *command: self.inside(server, *command)  # noqa: E731
        environment = inside('cat', f'/proc/{self.first(server)}/environ')
        self.assertIn('GREETING=hello world', environment)
        self.assertIn('/tmp', inside('readlink',
                                     f'/proc/{self.first(server)}/cwd'))
        self.assertIn('uid=1000 gid=1001', inside('id'))
        self.assertIn('7', inside('id', '-G').split())
        self.assertIn('Read-only', inside('touch', '/x'))
        self.assertEqual('', inside('touch', '/run/x'))
        self.assertIn('size=1024k', inside('grep', ' /run ', '/proc/mounts'))
        self.assertIn('size=16384k', inside('grep', '/dev/shm',
                                            '/proc/mounts'))
        self.assertEqual('200', inside('sh', '-c', 'ulimit -Hn').strip())
        # Not the soft limit from inside: a runc that is built with Go 1.19
        # raises it to the hard one now and then.
        self.assertEqual(100, {
            limit['Name']: limit['Soft']
            for limit in found['HostConfig']['Ulimits']}['nofile'])
        self.assertIn('10.1.2.3 db', inside('cat', '/etc/hosts'))
        resolver = inside('cat', '/etc/resolv.conf')
        self.assertIn('nameserver 192.0.2.9', resolver)
        self.assertIn('search example.org', resolver)
        self.assertEqual('x = 1', inside('cat', '/etc/app.conf'))
        self.assertEqual(SECRET, inside('cat', '/run/key'))
        self.assertIn('-r--------', inside('ls', '-ln', '/run/key'))
        self.assertIn(' /data ', inside('cat', '/proc/mounts'))
        self.assertIn('init', inside('cat', '/proc/1/comm'))
        self.assertEqual('200', inside('cat', '/proc/1/oom_score_adj').strip())
        capabilities = int(inside('sh', '-c', 'grep CapBnd /proc/1/status'
                                  ).split()[1], 16)
        self.assertEqual(0, capabilities & (1 << 0 | 1 << 5))
        self.assertTrue(found['Config']['Tty'] and found['Config'][
            'OpenStdin'])
        self.assertEqual('web', found['Config']['Labels']['team'])
        self.assertEqual(('SIGQUIT', 3), (
            found['Config']['StopSignal'], found['Config']['StopTimeout']))
        host = found['HostConfig']
        self.assertEqual(('on-failure', 2), (
            host['RestartPolicy']['Name'],
            host['RestartPolicy']['MaximumRetryCount']))
        self.assertEqual({'max-size': '1048576', 'max-file': '2'},
                         host['LogConfig']['Config'])
        self.assertEqual(32 * models.MIB, host['MemoryReservation'])
        self._stop_server(server)
        self.assertIn('asked', self.engine.logs(
            names.container(server['id'])).decode())
        self.assertNotIn(SECRET, self.stdlog.logger.output)
        self.assertNotIn(SECRET, repr(self.container(server)['HostConfig']))

    def first(self, server):
        """The pid of a child of the server's process, inside."""
        return self.inside(server, 'pidof', 'sleep').strip()

    def test_limits_in_the_control_groups(self):
        flavor = self.flavor(memory=64, vcpus=2, swap=32, **{
            'docker:pids_limit': '33', 'quota:cpu_shares': '77',
            'docker:log_max_size': '2'})
        server = self.boot(flavor=flavor)
        found = limits.of(self.container(server)['State']['Pid'])
        self.assertEqual((64 * models.MIB, 32 * models.MIB, 33, 77, 2), (
            found.memory, found.swap, found.processes, found.shares,
            found.cpus))
        self.assertEqual('2097152', self.container(server)['HostConfig'][
            'LogConfig']['Config']['max-size'])

    def test_the_properties_of_an_image(self):
        self.glance.images[base.IMAGE_ID]['properties'].update(
            docker_command='sh -c "trap exit TERM; sleep 600 & wait"',
            docker_environment='{FROM: image, BOTH: image}')
        server = self.boot('environment: {BOTH: spec}')
        self.assertEqual(['BOTH=spec'], self.container(server)['Config'][
            'Env'][:1])
        server = self.boot(raw=b'#cloud-config\n')
        self.assertIn('FROM=image', self.container(server)['Config']['Env'])
        properties = self.glance.images[base.IMAGE_ID]['properties']
        del properties['docker_command']
        properties['os_command_line'] = 'sleep 599'
        server = self.boot(raw=b'#cloud-config\n')
        self.assertEqual(['sleep', '599'],
                         self.container(server)['Config']['Cmd'])

    def test_the_benchmark_for_docker(self):
        server = self.boot()
        self.assertEqual(
            # What this host cannot, and what a tenant decides.
            [*self.lacking(), '5.12 a writable root', '5.26 no health check'],
            hardening.warnings_of(self.container(server)))
        server = self.boot(EVERYTHING)
        self.assertEqual(self.lacking(),
                         hardening.warnings_of(self.container(server)))

    def lacking(self):
        """What the kernel of this host does not have."""
        options = ' '.join(self.engine.info()['SecurityOptions'])
        return [text for name, text in (
            ('apparmor', '5.1 no AppArmor profile'),
            ('selinux', '5.2 no SELinux label')) if name not in options]

    def test_a_process_that_is_always_restarted(self):
        server = self.boot('command: [sh, -c, "sleep 2; exit 3"]\n'
                           'restart: always')
        self.until(lambda: self.container(server)['RestartCount'] > 0)
        self.assertEqual('ACTIVE', self.api.get_server(
            server['id'])['status'])
        self._stop_server(server)
        self.assertEqual('exited', self.container(server)['State']['Status'])


class TestRefusals(base.ApiCase):

    def fault(self, *args, **kwargs):
        server = self.boot(*args, expected='ERROR', **kwargs)
        self.assertEqual([], self.engine.containers(all=True, filters={
            'label': f'{names.INSTANCE_LABEL}={server["id"]}'}))
        self.assertEqual(1, self.scheduled(server))
        return server['fault']['message']

    def scheduled(self, server):
        """How many hosts were tried."""
        return self.stdlog.logger.output.count(
            f'manager] Build of instance {server["id"]} aborted')

    def test_bad_input_is_the_servers_fault_and_not_rescheduled(self):
        for text, words in (
                ('privileged: true', 'docker:privileged of the flavor'),
                ('cap_add: [SYS_ADMIN]', 'cap_add: SYS_ADMIN'),
                ('volumes: ["/:/host"]', 'volumes.0'),
                ('ports: ["80:80"]', 'floating IP'),
                ('environment: {"A=B": c}', 'environment'),
                ('command: &a [x]\nentrypoint: *a', 'aliases'),
                ('shm_size: 9g', 'shm_size'),
                (f'secrets: [{{target: ../x, content: {SECRET}}}]',
                 'secrets.0'),
                (f'environment: [{SECRET}]', 'environment')):
            message = self.fault(text)
            self.assertIn(words, message)
            self.assertNotIn(SECRET, message)
        self.assertIn('UTF-8', self.fault(raw=b'#docker-config\n\xff'))
        self.assertNotIn(SECRET, self.stdlog.logger.output)

    def test_a_config_drive(self):
        self.assertIn('config_drive: containers have none',
                      self.fault(config_drive=True))

    def test_what_nova_itself_refuses(self):
        """Its API answers at once: no server is made."""
        for text in ('YQ', 'A' * 65540):
            body = self._build_server(image_uuid=base.IMAGE_ID,
                                      networks='none',
                                      flavor_id=self.flavor())
            with self.assertRaisesRegex(
                    client.OpenStackApiException, 'user_data'):
                self.api.post_server({'server': {**body,
                                                 'user_data': text}})
        self.assertEqual([], self.api.get_servers())

    def test_a_text_that_is_wrapped_is_read(self):
        text = base64.encodebytes(
            b'#docker-config\nprivileged: true' + b' ' * 100).decode()
        body = self._build_server(image_uuid=base.IMAGE_ID, networks='none',
                                  flavor_id=self.flavor())
        server = self.api.post_server({'server': {**body,
                                                  'user_data': text}})
        server = self._wait_for_state_change(server, 'ERROR')
        self.assertIn('privileged', server['fault']['message'])

    def test_a_property_that_nova_would_cut(self):
        self.glance.images[base.IMAGE_ID]['properties'][
            'docker_command'] = 'sleep ' + '6' * 300
        self.assertIn('docker_command', self.fault(''))

    def test_an_image_that_vanishes_before_the_build(self):
        image = self.image(base.busybox())
        service = self.compute.manager.driver._images._service
        with mock.patch.object(
                service, 'get',
                side_effect=exception.ImageNotFound(image_id=image)):
            self.assertIn('not in Glance', self.fault(image=image))

    def test_a_flavor_that_grants_more_than_the_host(self):
        self.assertIn('allow_privileged', self.fault(
            flavor=self.flavor(**{'docker:privileged': 'true'})))


class CpuTest(base.ApiCase):

    def _setup_compute_service(self):
        self.flags(cpu_dedicated_set='1', cpu_shared_set='0', group='compute')
        return super()._setup_compute_service()

    def allowed(self, server):
        return limits.of(self.container(server)['State']['Pid']).cpuset

    def test_dedicated_cpus_are_one_servers_alone(self):
        pinned = self.flavor(**{'hw:cpu_policy': 'dedicated'})
        self.assertEqual('1', self.allowed(self.boot(flavor=pinned)))
        self.assertEqual('0', self.allowed(self.boot()))
        second = self.boot(flavor=pinned, expected='ERROR')
        # Nova tries a shared CPU, too, and then finds no place for it.
        self.assertRegex(second['fault']['message'],
                         'No valid host|Exhausted all hosts')


class DiskTest(base.ApiCase):

    def test_only_flavors_that_ask_for_a_quota_need_one(self):
        wants = self.flavor(**{
            'trait:CUSTOM_DOCKER_DISK_QUOTA': 'required'})
        server = self.boot(flavor=wants, expected='ERROR')
        self.assertIn('No valid host', server['fault']['message'])
        self.boot()

    def test_what_is_always_restarted_stays_stopped(self):
        server = self.boot(
            'command: [sh, -c, "dd if=/dev/zero of=/big bs=1M count=1100; '
            'sleep 600"]\nrestart: always')
        self._wait_for_state_change(server, 'ERROR')
        self.until(lambda: not self.container(server)['State']['Running'])
        time.sleep(3)
        self.assertFalse(self.container(server)['State']['Running'])

    def test_a_server_that_outgrows_its_disk_is_stopped(self):
        modest = self.boot()
        greedy = self.boot(
            'command: [sh, -c, "dd if=/dev/zero of=/big bs=1M count=1100; '
            'sleep 600"]')
        self._wait_for_state_change(greedy, 'ERROR')
        self.until(lambda: not self.container(greedy)['State']['Running'])
        fault = self.api.get_server(greedy['id'])['fault']['message']
        self.assertRegex(fault, r'it has 1\d{3} MiB on its disk and the '
                                r'flavor allows 1024 MiB')
        self.assertTrue(self.container(modest)['State']['Running'])
        self.assertEqual('ACTIVE', self.api.get_server(modest['id'])['status'])

    def test_what_is_in_a_volume_counts(self):
        server = self.boot(
            'command: [sh, -c, "dd if=/dev/zero of=/data/big bs=1M '
            'count=1100; sleep 600"]\nvolumes: [/data]')
        self._wait_for_state_change(server, 'ERROR')
