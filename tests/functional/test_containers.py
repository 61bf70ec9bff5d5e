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

"""The life of containers and of their sandboxes."""

import os
from pathlib import Path
import signal
import threading
import time
from unittest import mock

from nova import exception
from nova import objects

from nova_docker_driver import events
from nova_docker_driver import health
from nova_docker_driver import hostinfo
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import netns
from nova_docker_driver import network
from nova_docker_driver import snapshot
from tests.functional import base
from tests import limits


class TestLife(base.ContainerCase):

    def limits(self, instance):
        return limits.of(self.lifecycle.inspect(instance).pid)

    def test_the_limits_of_the_flavor_hold(self):
        found = self.limits(self.spawn(memory=32, pids_limit='9'))
        self.assertEqual((32 * models.MIB, 0, 9, 1), (
            found.memory, found.swap, found.processes, found.cpus))

    def test_a_quota_of_the_flavor(self):
        instance = self.instance('command: sleep 600')
        instance.flavor.extra_specs = {
            'quota:cpu_quota': '30000', 'quota:cpu_period': '60000'}
        self.spawn_instance(instance)
        self.assertEqual(0.5, self.limits(instance).cpus)

    def test_dedicated_cpus_are_the_processes_own(self):
        cell = objects.InstanceNUMACell(
            id=0, cpuset=set(), pcpuset={0}, memory=64, cpu_pinning={0: 1})
        instance = self.instance('command: sleep 600')
        instance.numa_topology = objects.InstanceNUMATopology(cells=[cell])
        self.spawn_instance(instance)
        found = self.limits(instance)
        self.assertEqual(('1', '0'), (found.cpuset, found.nodes))
        self.assertIn('Cpus_allowed_list:\t1\n', self.run_inside(
            instance, 'cat', '/proc/1/status'))

    def test_the_rate_of_the_disk(self):
        device = hostinfo.HostInfo(self.engine).engine_facts().disk_device
        # What holds the Engine's files may have no device of its own here.
        disk = device or f'/dev/{self.some_disk()}'
        self.policy = self.policy_with(disk_device=disk)
        instance = self.instance('command: sleep 600')
        instance.flavor.extra_specs = {
            'quota:disk_write_bytes_sec': str(models.MIB),
            'quota:disk_read_iops_sec': '50'}
        self.spawn_instance(instance)
        found = self.limits(instance).disk
        self.assertEqual((str(models.MIB), '50'), tuple(
            found[name].split()[-1]
            for name in ('write_bytes', 'read_operations')))

    def some_disk(self):
        return sorted(path.name for path in Path('/sys/block').iterdir())[0]

    def test_shares_instead_of_a_limit(self):
        instance = self.spawn_soft()
        found = self.limits(instance)
        self.assertEqual((-1, 1024), (found.cpus, found.shares))

    def spawn_soft(self):
        instance = self.instance('command: sleep 600', cpu_limit='soft')
        self.spawn_instance(instance)
        return instance

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
            instance, 'readlink', '/proc/1/cwd').strip())
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
        meta = objects.ImageMeta(id=base.IMAGE_ID, container_format='docker')
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
                      self.lifecycle.instances('functional'))
        self.assertNotIn(instance.uuid, self.lifecycle.instances('c9'))

    def test_events_reach_us(self):
        found, seen = [], threading.Event()

        def emit(event):
            found.append(event)
            if event.transition == 1:
                seen.set()
        listener = events.Listener(
            self.engine, snapshot.Snapshot(self.engine), 'functional', emit,
            mock.create_autospec(health.Reporter, instance=True),
            lambda uuid: False)
        listener.start()
        self.addCleanup(listener.stop)
        time.sleep(0.3)
        instance = self.spawn()
        pid = self.lifecycle.inspect(instance).pid
        os.kill(pid, signal.SIGKILL)
        # The benchmark says how much sooner.
        self.assertTrue(seen.wait(1), 'not within a second')
        self.assertEqual([(instance.uuid, 0), (instance.uuid, 1)],
                         [(event.uuid, event.transition) for event in found])


class TestSandbox(base.ContainerCase):

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
