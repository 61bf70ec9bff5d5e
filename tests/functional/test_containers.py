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

"""The driver's composer on a real Engine, without any OpenStack service."""

import base64
import hashlib
from pathlib import Path
import socket
import subprocess
import tempfile
import threading
import time
import unittest
from unittest import mock
import uuid

from nova import exception
from nova import objects

from lab import container_images
from nova_docker_driver import archive
from nova_docker_driver import conf
from nova_docker_driver import engine
from nova_docker_driver import errors
from nova_docker_driver import events
from nova_docker_driver import guestfiles
from nova_docker_driver import images
from nova_docker_driver import lifecycle
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import netns
from nova_docker_driver import network
from nova_docker_driver import sandbox
from tests import conservation

ENDPOINT = 'unix:///var/run/docker.sock'
IMAGE_ID = 'f0000000-0000-4000-8000-00000000f00d'


class Glance:
    """Two methods of Nova's image API over one archive in memory."""

    def __init__(self, content):
        self.content = content
        self.digest = hashlib.sha512(content).hexdigest()

    def get(self, context, image_id):
        return {'os_hash_algo': 'sha512', 'os_hash_value': self.digest}

    def download(self, context, image_id):
        for at in range(0, len(self.content), 65536):
            yield self.content[at:at + 65536]


class ContainerCase(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.client = conservation.engine()
        self.addCleanup(self.client.close)
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.files = Path(directory.name)
        self.engine = engine.Engine(ENDPOINT, 60, 60)
        self.glance = Glance(container_images.busybox())
        self.network = mock.create_autospec(network.Network, instance=True)
        self.policy = models.Policy('functional', 64, conf.DEFAULT_CAPS,
                                    models.MIB, 1)
        self.lifecycle = lifecycle.Lifecycle(
            self.engine, images.Images(self.engine, self.glance),
            sandbox.Sandboxes(self.engine, ''), self.network,
            guestfiles.GuestFiles(self.files))
        self.made = []
        self.addCleanup(self.check_nothing_is_left)
        self.addCleanup(self.engine.remove_image, names.image_tag(IMAGE_ID))

    def check_nothing_is_left(self):
        for instance in self.made:
            self.lifecycle.destroy(instance, [])
        mine = {instance.uuid for instance in self.made}
        left = [container.name for container in self.engine.containers()
                if container.labels[names.INSTANCE_LABEL] in mine]
        self.assertEqual([], left)
        self.assertEqual([], list(self.files.iterdir()))

    def instance(self, user_data='', memory=64, **extra_specs):
        instance = objects.Instance(
            uuid=str(uuid.uuid4()), hostname='web', task_state=None,
            user_data=base64.b64encode(
                f'#docker-config\n{user_data}'.encode()).decode(),
            flavor=objects.Flavor(
                memory_mb=memory, vcpus=1, swap=0, ephemeral_gb=0,
                extra_specs={f'docker:{key}': value for key, value
                             in extra_specs.items()}))
        self.made.append(instance)
        return instance

    def spawn(self, user_data='command: sleep 600', vifs=(), **flavor):
        instance = self.instance(user_data, **flavor)
        self.spawn_instance(instance, vifs)
        for container in self.engine.containers(instance.uuid):
            self.assertEqual([], conservation.excesses(
                self.client, container.id, self.files))
        return instance

    def spawn_instance(self, instance, vifs=(), **meta):
        values = {'id': IMAGE_ID, 'container_format': 'docker', **meta}
        self.lifecycle.spawn(None, instance, objects.ImageMeta(**values),
                             list(vifs), None, self.policy)

    def run_inside(self, instance, *command):
        handle = self.client.exec_create(
            names.container(instance.uuid), list(command))
        return self.client.exec_start(handle['Id']).decode()


class TestLife(ContainerCase):

    def test_the_limits_of_the_flavor_hold(self):
        instance = self.spawn(memory=32, pids_limit='9')
        pid = self.client.inspect_container(
            names.container(instance.uuid))['State']['Pid']
        groups = dict(
            reversed(line.split(':')[1:]) and (line.split(':')[1],
                                               line.split(':')[2])
            for line in Path(f'/proc/{pid}/cgroup').read_text().split())
        memory = Path('/sys/fs/cgroup/memory' + groups['memory'])
        self.assertEqual(32 * models.MIB, int(
            (memory / 'memory.limit_in_bytes').read_text()))
        pids = Path('/sys/fs/cgroup/pids' + groups['pids'])
        self.assertEqual('9', (pids / 'pids.max').read_text().strip())
        key = next(name for name in groups if 'cpu' in name.split(','))
        cpu = Path(f'/sys/fs/cgroup/{key}{groups[key]}')
        self.assertEqual(
            int((cpu / 'cpu.cfs_period_us').read_text()),
            int((cpu / 'cpu.cfs_quota_us').read_text()))

    def test_the_kernel_sees_the_hardened_profile(self):
        instance = self.spawn()
        status = self.run_inside(instance, 'cat', '/proc/1/status')
        self.assertIn('NoNewPrivs:\t1', status)
        self.assertIn('Seccomp:\t2', status)
        effective = int(next(line.split()[1] for line in status.splitlines()
                             if line.startswith('CapEff')), 16)
        self.assertEqual(0, effective & (1 << 13 | 1 << 21 | 1 << 27))

    def test_what_the_specification_asks_for_happens(self):
        instance = self.spawn(
            'entrypoint: [env, B=2]\ncommand: [sleep, "600"]\n'
            'environment: {A: "x=y z"}\nworking_dir: /tmp\nuser: nobody')
        environment = self.run_inside(instance, 'cat', '/proc/1/environ')
        self.assertIn('A=x=y z\0', environment)
        self.assertIn('B=2\0', environment)
        self.assertEqual('/tmp', self.run_inside(
            instance, 'readlink', '/proc/1/cwd').strip() or '/tmp')
        self.assertIn('65534', self.run_inside(instance, 'id', '-u'))

    def test_power(self):
        instance = self.spawn('command: [sh, -c, "trap exit TERM; '
                              'while :; do sleep 0.1; done"]')
        container = self.lifecycle.inspect(instance)
        self.lifecycle.power_off(instance, 10)
        self.assertEqual('exited', self.lifecycle.inspect(instance).status)
        self.lifecycle.power_off(instance, 10)
        self.lifecycle.power_off(instance, 0)
        self.lifecycle.power_on(instance, [])
        self.lifecycle.pause(instance)
        self.assertEqual('paused', self.lifecycle.inspect(instance).status)
        self.lifecycle.unpause(instance)
        self.run_inside(instance, 'touch', '/tmp/mine')
        for hard in (False, True):
            self.lifecycle.reboot(None, instance, [], hard, 5, self.policy)
            found = self.lifecycle.inspect(instance)
            self.assertEqual((container.id, 'running'),
                             (found.id, found.status))
        self.assertIn('mine', self.run_inside(instance, 'ls', '/tmp'))

    def test_a_hard_reboot_makes_a_lost_container_anew(self):
        instance = self.spawn()
        self.engine.remove(self.lifecycle.inspect(instance).id)
        with self.assertRaises(exception.InstanceNotFound):
            self.lifecycle.reboot(None, instance, [], False, 5, self.policy)
        meta = objects.ImageMeta(id=IMAGE_ID, container_format='docker')
        with mock.patch.object(objects.Instance, 'image_meta', meta):
            self.lifecycle.reboot(None, instance, [], True, 5, self.policy)
        self.assertEqual('running', self.lifecycle.inspect(instance).status)

    def test_the_console_is_bounded(self):
        instance = self.spawn('command: [sh, -c, "yes | head -n 9999; '
                              'echo end; sleep 600"]')
        deadline = time.monotonic() + 10
        while (b'end' not in self.lifecycle.console(instance, 99, 99)
               and time.monotonic() < deadline):
            time.sleep(0.1)
        log = self.lifecycle.console(instance, 20_000, 100)
        self.assertEqual(100, len(log))
        self.assertTrue(log.endswith(b'end\n'))

    def test_health_is_waited_for(self):
        text = ('command: [sh, -c, "sleep 1; touch /tmp/well; sleep 600"]\n'
                'healthcheck: {test: test -e /tmp/well, interval: 1s}\n'
                'x-nova: {wait_for: healthy}')
        instance = self.spawn(text)
        self.assertEqual('healthy', self.lifecycle.inspect(instance).health)

    def test_an_empty_entry_point_resets_the_images(self):
        self.spawn('entrypoint: []\ncommand: [sleep, "600"]')

    def test_servers_are_listed_for_their_host(self):
        instance = self.spawn()
        self.assertIn(instance.uuid,
                      self.lifecycle.instance_uuids('functional'))
        self.assertNotIn(instance.uuid, self.lifecycle.instance_uuids('c9'))

    def test_events_reach_us(self):
        found, seen = [], threading.Event()

        def emit(event):
            found.append(event)
            if event.transition == 1:
                seen.set()
        listener = events.Listener(self.engine, 'functional', emit,
                                   lambda event: None)
        listener.start()
        self.addCleanup(listener.stop)
        time.sleep(0.3)
        instance = self.spawn()
        self.engine.kill(self.lifecycle.inspect(instance).id)
        self.assertTrue(seen.wait(10))
        self.assertEqual([(instance.uuid, 0), (instance.uuid, 1)],
                         [(event.uuid, event.transition) for event in found])


class TestSandbox(ContainerCase):

    def vif(self):
        # What the network would do is not under test here.
        return mock.MagicMock()

    def test_the_process_joins_a_wired_namespace(self):
        wired = []

        def connect(instance, vifs, namespace):
            device = f'tap{instance.uuid[:8]}'
            netns.create_veth(device, 'eth0', 'fa:16:3e:00:00:01', 1400,
                              namespace)
            self.addCleanup(netns.delete, device)
            netns.configure(
                namespace, 'eth0', ['192.0.2.7/24', '2001:db8::7/64'],
                [('0.0.0.0/0', '192.0.2.1'), ('198.51.100.0/24', ''),
                 ('203.0.113.0/24', '198.18.0.1'), ('::/0', 'fe80::1')],
                False)
            wired.append(device)
        self.network.connect.side_effect = connect
        with mock.patch.multiple(
                network, addresses=lambda vifs: ['192.0.2.7'],
                nameservers=lambda vifs: ['192.0.2.53']):
            instance = self.spawn(
                'command: [sh, -c, "ip address show eth0; sleep 600"]',
                vifs=[self.vif()])
        # The process saw it with its first instruction.
        deadline = time.monotonic() + 5
        while (not self.lifecycle.console(instance, 99, 9999)
               and time.monotonic() < deadline):
            time.sleep(0.1)
        first = self.lifecycle.console(instance, 99, 9999).decode()
        for part in ('192.0.2.7/24', '2001:db8::7/64', 'mtu 1400',
                     'fa:16:3e:00:00:01'):
            self.assertIn(part, first)
        routes = self.run_inside(instance, 'ip', 'route')
        for part in ('default via 192.0.2.1', '198.51.100.0/24',
                     '203.0.113.0/24 via 198.18.0.1'):
            self.assertIn(part, routes)
        self.assertIn('192.0.2.7 web',
                      self.run_inside(instance, 'cat', '/etc/hosts'))
        self.assertIn('nameserver 192.0.2.53', self.run_inside(
            instance, 'cat', '/etc/resolv.conf'))
        self.assertEqual('web', self.run_inside(
            instance, 'hostname').strip())
        self.assertTrue(netns.exists(wired[0]))
        # The namespace survives the process.
        self.engine.kill(self.lifecycle.inspect(instance).id)
        self.assertTrue(netns.exists(wired[0]))
        self.lifecycle.power_on(instance, [self.vif()])
        self.assertIn('192.0.2.7', self.run_inside(
            instance, 'ip', 'address', 'show', 'eth0'))

    def test_the_sandbox_ignores_what_would_end_it(self):
        with mock.patch.multiple(network, addresses=lambda vifs: [],
                                 nameservers=lambda vifs: []):
            instance = self.spawn(vifs=[self.vif()])
        box = names.sandbox(instance.uuid)
        self.client.kill(box, 'SIGTERM')
        self.assertEqual('running', self.engine.inspect(box).status)


class TestBadInput(ContainerCase):
    """Each fault has a name, and nothing is left of it."""

    def refused(self, kind, reason, instance, **meta):
        with self.assertRaisesRegex(kind, reason):
            self.spawn_instance(instance, **meta)
        self.assertEqual([], self.engine.containers(instance.uuid))

    def test_a_command_that_the_image_lacks(self):
        self.refused(exception.BuildAbortException, 'not found',
                     self.instance('command: [no-such-program]'))

    def test_a_directory_as_command(self):
        self.refused(exception.BuildAbortException, 'cannot be started',
                     self.instance('command: [/tmp]'))

    def test_out_of_memory_at_start(self):
        self.refused(
            exception.BuildAbortException, 'memory|exit code 137|OOM',
            self.instance('command: [sh, -c, "x=$(yes); sleep 600"]\n'
                          'healthcheck: {test: "true"}\n'
                          'x-nova: {wait_for: healthy, wait_timeout: 30}',
                          memory=6))

    def test_a_process_that_ends_at_once(self):
        self.refused(exception.BuildAbortException, 'exit code 4.*bye',
                     self.instance(
                         'command: [sh, -c, "echo bye; exit 4"]\n'
                         'healthcheck: {test: "true"}\n'
                         'x-nova: {wait_for: healthy}'))

    def test_an_image_that_is_no_archive(self):
        self.glance.content = b'not a tar' * 9999
        self.refused(exception.InvalidInput, 'docker save', self.instance())

    def test_an_image_in_another_format(self):
        self.refused(exception.InvalidInput, 'container_format',
                     self.instance(), container_format='bare')

    def test_a_checksum_that_is_not_glances(self):
        self.glance.digest = '0' * 128
        self.refused(exception.InvalidInput, 'checksum', self.instance())
        with self.assertRaises(errors.NotFound):
            self.engine.image(names.image_tag(IMAGE_ID))

    def test_a_flipped_byte(self):
        content = bytearray(self.glance.content)
        content[len(content) // 2] ^= 1
        self.glance.content = bytes(content)
        self.refused(exception.InvalidInput, 'checksum', self.instance())

    def test_a_stream_that_is_cut(self):
        self.glance.content = self.glance.content[:len(
            self.glance.content) // 2]
        self.refused(exception.InvalidInput, 'ends|tar', self.instance())

    def test_a_foreign_container_with_our_name(self):
        instance = self.instance()
        self.client.import_image_from_data(
            container_images.tar({'x': b''}), repository='foreign')
        self.addCleanup(self.engine.remove_image, 'foreign')
        foreign = self.client.create_container(
            'foreign', ['x'], name=names.container(instance.uuid))['Id']
        self.addCleanup(self.engine.remove, foreign)
        self.refused(exception.ComputeResourcesUnavailable,
                     'not of this driver', instance)
        self.assertTrue(self.client.inspect_container(foreign))

    def test_the_tags_of_others_do_not_move(self):
        self.client.import_image_from_data(
            container_images.tar({'x': b''}), repository='victim', tag='1')
        self.addCleanup(self.engine.remove_image, 'victim:1')
        before = self.client.inspect_image('victim:1')['Id']
        self.glance.content = container_images.archive('victim:1')
        self.glance.digest = hashlib.sha512(self.glance.content).hexdigest()
        self.spawn()
        self.assertEqual(before, self.client.inspect_image('victim:1')['Id'])

    def test_no_engine_and_a_wrong_socket(self):
        with tempfile.TemporaryDirectory() as directory:
            for path in (f'{directory}/none', '/etc/passwd'):
                with self.assertRaises(errors.EngineUnavailable):
                    engine.Engine(f'unix://{path}', 2, 2).facts()

    def test_a_socket_without_permission(self):
        code = ('from nova_docker_driver import engine; import os; '
                'os.setgid(65534); os.setuid(65534); '
                f'engine.Engine("unix://{self.files}/s", 2, 2).facts()')
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f'{self.files}/s')
            self.files.chmod(0o755)
            (self.files / 's').chmod(0o600)
            listener.listen()
            answer = subprocess.run(
                ['python', '-c', code], capture_output=True, text=True)
        (self.files / 's').unlink()
        self.assertIn('permission denied', answer.stderr)


class TestImages(ContainerCase):

    def test_eight_first_boots_are_one_transfer(self):
        instances = [self.instance('command: sleep 600') for _ in range(8)]
        calls = []
        original = self.glance.download

        def download(context, image_id):
            calls.append(image_id)
            return original(context, image_id)
        self.glance.download = download
        threads = [threading.Thread(target=self.spawn_instance,
                                    args=(instance,))
                   for instance in instances]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(1, len(calls))
        for instance in instances:
            self.assertEqual('running',
                             self.lifecycle.inspect(instance).status)

    def test_the_image_that_runs_is_the_one_that_was_inspected(self):
        instance = self.spawn()
        verdict = archive.Verdict()
        for _ in archive.rewrite(self.glance.download(None, ''), 'x',
                                 verdict):
            pass
        self.assertEqual(verdict.image_id,
                         self.lifecycle.inspect(instance).image)
