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

"""The pure modules: names, states, spec, inventory, userspec."""

import base64
import dataclasses
import unittest
from unittest import mock

from hypothesis import given
from hypothesis import strategies
from nova.compute import power_state
from nova.virt import event as virtevent

from nova_docker_driver import conf
from nova_docker_driver import enginedocs
from nova_docker_driver import errors
from nova_docker_driver import hostmodels
from nova_docker_driver import inventory
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import servers
from nova_docker_driver import spec
from nova_docker_driver import states
from nova_docker_driver import userspec
from tests.unit.nova_docker_driver import fakes


def parse(text):
    return userspec.parse(base64.b64encode(text.encode()).decode())


class TestNames(unittest.TestCase):

    def test_a_container_is_ours_if_name_and_labels_agree(self):
        for role, name in ((names.ROLE_SERVER, names.container(fakes.UUID)),
                           (names.ROLE_SANDBOX, names.sandbox(fakes.UUID))):
            labels = names.labels(fakes.UUID, role, 'c1')
            self.assertEqual(fakes.UUID, names.owner('/' + name, labels))

    def test_it_is_not_ours_otherwise(self):
        labels = names.labels(fakes.UUID, names.ROLE_SERVER, 'c1')
        other = fakes.UUID.replace('3', '4')
        for name, marks in (
                ('web', labels), (names.container(other), labels),
                (names.sandbox(fakes.UUID), labels),
                (names.container(fakes.UUID) + 'x', labels),
                ('x' + names.container(fakes.UUID), labels),
                (names.container(fakes.UUID), {})):
            self.assertIsNone(names.owner(name, marks), name)


class TestHostname(unittest.TestCase):

    def test_what_a_kernel_takes(self):
        for given_, expected in (
                ('web', 'web'), ('web.example.org', 'web.example.org'),
                ('x' * 52 + '.domain.test', 'x' * 52 + '.domain.test'),
                ('x' * 60 + '.domain.test', 'x' * 60),
                ('y' * 200, 'y' * 63),
                (None, f'server-{fakes.UUID}')):
            self.assertEqual(expected, servers.hostname(
                mock.Mock(hostname=given_, uuid=fakes.UUID)))


class TestStates(unittest.TestCase):

    def container(self, status):
        return models.Container('id', 'name', {}, status)

    def test_every_word_of_the_engine_has_a_meaning(self):
        for word, state in (
                ('running', power_state.RUNNING),
                ('paused', power_state.PAUSED),
                ('restarting', power_state.RUNNING),
                ('created', power_state.SHUTDOWN),
                ('exited', power_state.SHUTDOWN),
                ('dead', power_state.CRASHED),
                ('new word', power_state.NOSTATE)):
            self.assertEqual(state, states.power(self.container(word)))

    def test_only_changes_of_power_are_told(self):
        def event(action):
            return models.Event(fakes.UUID, 'server', 'id', action, 0)
        self.assertEqual(virtevent.EVENT_LIFECYCLE_STOPPED,
                         states.lifecycle(event('die')).transition)
        self.assertIsNone(states.lifecycle(event('oom')))

    def test_a_resynchronisation_tells_the_present_state(self):
        found = states.resynchronisation(fakes.UUID, self.container('exited'))
        self.assertEqual(virtevent.EVENT_LIFECYCLE_STOPPED, found.transition)
        self.assertIsNone(states.resynchronisation(
            fakes.UUID, self.container('new word')))


class TestUserspec(unittest.TestCase):

    def test_other_user_data_asks_for_nothing(self):
        for text in ('', '#cloud-config\nusers: []', '#!/bin/sh\n'):
            self.assertEqual(models.TenantSpec(), parse(text))
        self.assertEqual(models.TenantSpec(), userspec.parse(None))

    def test_what_nova_takes_for_base64_is_read_like_nova(self):
        """It is wrapped by many tools, and a line break at its end is easy."""
        text = base64.encodebytes(
            b'\xef\xbb\xbf#docker-config\r\ntty: true' + b' ' * 200).decode()
        self.assertIn('\n', text)
        self.assertTrue(userspec.parse(text + '\n').tty)
        for wrong in ('YQ', 'a\u00e9'):
            with self.assertRaisesRegex(errors.InvalidSpec, 'base64'):
                userspec.parse(wrong)

    def test_a_first_line_that_is_almost_right_is_not_ignored(self):
        for line in ('#docker-config: x', ' #docker-config',
                     '#Docker-Config', '#docker-configuration'):
            with self.assertRaisesRegex(errors.InvalidSpec, 'first line'):
                parse(line + '\ntty: true')

    def test_everything_that_is_honoured(self):
        found = parse(
            '#docker-config\n'
            'command: httpd -f "-p 80"\n'
            'entrypoint: [/bin/env]\n'
            'environment: {A: 1, B: true, C: null, D: x=y}\n'
            'working_dir: /srv\n'
            'user: 1000\n'
            'healthcheck: {test: wget x, interval: 1m30s, timeout: 500ms, '
            'retries: 3}\n'
            'x-nova: {wait_for: healthy, wait_timeout: 60}\n')
        self.assertEqual(models.TenantSpec(
            command=('httpd', '-f', '-p 80'), entrypoint=('/bin/env',),
            environment={'A': '1', 'B': 'true', 'D': 'x=y'},
            working_dir='/srv', user='1000',
            healthcheck=models.Healthcheck(
                ('CMD-SHELL', 'wget x'), interval=90 * models.SECOND,
                timeout=models.SECOND // 2, retries=3),
            wait_for='healthy', wait_timeout=60), found)

    def test_a_list_of_variables(self):
        self.assertEqual({'A': 'b=c', 'D': ''}, parse(
            '#docker-config\nenvironment: ["A=b=c", "D="]').environment)

    def test_a_refusal_names_the_key_and_the_reason(self):
        for text, words in (
                ('privileged: true', ('privileged', 'operator')),
                ('devices: []', ('devices', 'operator')),
                ('ports: ["80:80"]', ('ports', 'floating IP')),
                ('comand: x', ('comand', 'unknown')),
                ('x-nova: {wait: 1}', ('x-nova', 'wait')),
                ('environment: {"A=B": c}', ('environment',)),
                ('environment: {A: [b]}', ('environment',)),
                ('working_dir: /proc/self/fd/8', ('working_dir',)),
                ('working_dir: here', ('working_dir',)),
                ('command: "unclosed', ('line 2',)),
                ("command: a 'b", ('command',)),
                ('user: "a b"', ('user',)),
                ('healthcheck: {}', ('healthcheck.test',)),
                ('healthcheck: {test: [RUN, x]}', ('healthcheck.test',)),
                ('healthcheck: {test: x, interval: fast}', ('interval',)),
                ('x-nova: {wait_for: healthy}', ('healthcheck',)),
                ('command: a\ncommand: b', ('line 3', 'twice')),
                ('command: &a [x]\nentrypoint: *a', ('aliases',)),
                ('- a list', ('mapping',)), ('{', ('YAML',)),
                ('? [a]\n: b', ('key',))):
            with self.assertRaises(errors.InvalidSpec) as caught:
                parse('#docker-config\n' + text)
            for word in words:
                self.assertIn(word, str(caught.exception), text)

    def test_text_that_is_not_utf8(self):
        with self.assertRaisesRegex(errors.InvalidSpec, 'UTF-8'):
            userspec.parse(base64.b64encode(
                b'#docker-config\ncommand: \xff').decode())

    def test_a_check_that_is_switched_off(self):
        for check in ('{disable: true}', '{test: [NONE]}'):
            self.assertIsNone(parse(
                f'#docker-config\nhealthcheck: {check}').healthcheck)

    @given(strategies.text())
    def test_any_text_gives_a_specification_or_a_refusal(self, text):
        try:
            found = parse('#docker-config\n' + text)
        except errors.InvalidSpec:
            return
        self.assertIsInstance(found, models.TenantSpec)


class TestSpec(unittest.TestCase):

    def inputs(self, **changes):
        values = dict(
            instance_uuid=fakes.UUID, hostname='web', memory_mib=64,
            swap_mib=0, vcpus=2, extra_specs={},
            image=models.EngineImage('sha256:1', command=('sh',)),
            tenant=models.TenantSpec(), policy=fakes.policy())
        return spec.Inputs(**{**values, **changes})

    def test_the_flavor_bounds_it(self):
        built = spec.build(self.inputs(
            swap_mib=32, extra_specs={'docker:pids_limit': '7'}))
        self.assertEqual(
            (64 * models.MIB, 32 * models.MIB, 2 * 10**9, 7),
            (built.memory, built.swap, built.nano_cpus, built.pids_limit))

    def test_the_profile_is_hardened(self):
        config = enginedocs.container_config(spec.build(self.inputs()))
        host = config['HostConfig']
        self.assertEqual(['ALL'], host['CapDrop'])
        self.assertEqual(['CHOWN', 'KILL'], host['CapAdd'])
        self.assertEqual(['no-new-privileges:true'], host['SecurityOpt'])
        self.assertFalse(host['Privileged'])
        self.assertEqual('private', host['IpcMode'])
        self.assertEqual(host['Memory'], host['MemorySwap'])
        self.assertEqual({'Test': ['NONE']}, config['Healthcheck'])
        for grant in ('Devices', 'Binds', 'PidMode', 'UsernsMode', 'Runtime'):
            self.assertNotIn(grant, host)

    def test_it_joins_the_sandbox_where_there_is_one(self):
        box = models.Sandbox('abc', '/netns/1', True)
        mounts = (models.Mount('/files/hosts', '/etc/hosts'),)
        config = enginedocs.container_config(
            spec.build(self.inputs(sandbox=box, mounts=mounts)))
        self.assertEqual('container:abc', config['HostConfig']['NetworkMode'])
        self.assertEqual('', config['Hostname'])
        self.assertTrue(config['HostConfig']['Mounts'][0]['ReadOnly'])

    def test_without_ports_it_has_no_network(self):
        config = enginedocs.container_config(spec.build(self.inputs()))
        self.assertEqual('none', config['HostConfig']['NetworkMode'])
        self.assertEqual('web', config['Hostname'])

    def test_the_digest_tells_containers_apart(self):
        one = spec.build(self.inputs())
        same = spec.build(self.inputs(
            sandbox=models.Sandbox('abc', '/netns/1', True)))
        other = spec.build(self.inputs(
            tenant=models.TenantSpec(environment={'A': 'b'})))
        label = names.SPEC_LABEL
        self.assertNotEqual(one.labels[label], other.labels[label])
        self.assertEqual(one, spec.build(self.inputs()))
        self.assertNotEqual(same.labels[label], one.labels[label])

    def test_every_wish_of_a_tenant_is_in_the_digest(self):
        """Also those that the Engine is not told of."""
        wishes = dict(
            command=('x',), entrypoint=('x',), environment={'A': 'b'},
            working_dir='/x', user='7', group_add=('7',), tty=True,
            stdin_open=True, init=True, stop_signal='SIGINT',
            stop_grace_period=3, restart=models.Restart('on-failure', 2),
            healthcheck=models.Healthcheck(('CMD', 'x')), read_only=True,
            tmpfs={'/x': ''}, shm_size=models.MIB,
            ulimits=(models.Ulimit('nofile', 5, 5),), cap_drop=('CHOWN',),
            cap_add=('CHOWN',), sysctls={'net.ipv4.tcp_syncookies': '0'},
            labels={'a': 'b'}, extra_hosts=(('db', '192.0.2.1'),),
            dns=('192.0.2.1',), dns_search=('x.y',),
            files=(models.GuestFile('/x', b'1'),), log_max_size=1000,
            log_max_files=1, mem_reservation=8 * models.MIB,
            oom_score_adj=1, volumes=('/x',))
        box = models.Sandbox('abc', '/netns/1', True)

        def label(**wish):
            return spec.build(self.inputs(
                tenant=models.TenantSpec(**wish), sandbox=box)).labels[
                    names.SPEC_LABEL]
        # Of the image its digest is in it, wherever it came from.
        without = {'image', 'pull_policy', 'wait_for', 'wait_timeout',
                   'crash_dump_signal',
                   # What they hold is in the environment by then.
                   'environment_secrets',
                   # The same container: it is not told what it may do.
                   'cap_add'}
        fields = {field.name for field
                  in dataclasses.fields(models.TenantSpec)}
        self.assertEqual(fields - without, set(wishes) - {'cap_add'})
        for name, wish in wishes.items():
            if name != 'cap_add':
                self.assertNotEqual(label(), label(**{name: wish}), name)
        self.assertNotEqual(
            label(files=(models.GuestFile('/x', b'1'),)),
            label(files=(models.GuestFile('/x', b'2'),)))

    def test_something_has_to_run(self):
        with self.assertRaisesRegex(errors.InvalidSpec, 'command'):
            spec.build(self.inputs(image=models.EngineImage('sha256:1')))

    def test_an_entry_point_drops_the_images_command(self):
        with self.assertRaisesRegex(errors.InvalidSpec, 'command'):
            spec.build(self.inputs(tenant=models.TenantSpec(entrypoint=())))
        built = spec.build(self.inputs(
            tenant=models.TenantSpec(entrypoint=(), command=('ls',))))
        self.assertEqual(
            [''], enginedocs.container_config(built)['Entrypoint'])

    def test_too_little_memory(self):
        with self.assertRaisesRegex(errors.InvalidSpec, 'flavor'):
            spec.build(self.inputs(memory_mib=5))

    def test_the_sandbox_can_do_nothing(self):
        host = enginedocs.container_config(spec.sandbox(
            fakes.UUID, 'web', 'sha256:2', fakes.policy()))['HostConfig']
        self.assertEqual([], host['CapAdd'])
        # Room for the runtime's threads, and still a bound.
        self.assertEqual(64, host['PidsLimit'])
        self.assertEqual('no', host['RestartPolicy']['Name'])


class TestInventory(unittest.TestCase):

    def facts(self, **changes):
        values = dict(hostname='c1', architecture='x86_64', cpus=2,
                      cpu_model='', memory_mib=2048, memory_used_mib=100,
                      disk_gib=50, disk_used_gib=20,
                      engine_version='20.10.24+dfsg1')
        return hostmodels.HostFacts(**{**values, **changes})

    def test_the_record_of_the_compute_node(self):
        found = inventory.resources(self.facts())
        self.assertEqual(20010024, found['hypervisor_version'])
        self.assertEqual([('x86_64', 'docker', 'exe')],
                         found['supported_instances'])
        self.assertEqual(30, found['disk_available_least'])
        self.assertEqual(26001000, inventory.resources(
            self.facts(engine_version='26.1'))['hypervisor_version'])

    def test_the_inventory_leaves_out_what_there_is_nothing_of(self):
        ratios = {'VCPU': 4.0, 'MEMORY_MB': 1.0, 'DISK_GB': 1.0}
        found = inventory.inventory(self.facts(disk_gib=0), ratios, 0, 512,
                                    0, 0)
        self.assertEqual({'VCPU', 'MEMORY_MB'}, set(found))
        self.assertEqual(512, found['MEMORY_MB']['reserved'])
        self.assertEqual(4.0, found['VCPU']['allocation_ratio'])


class TestConf(unittest.TestCase):

    def test_the_policy_is_what_the_options_say(self):
        from nova_docker_driver import driver
        found = conf.policy(driver.CONF, 'c9')
        self.assertEqual('c9', found.host)
        self.assertEqual(10 * models.MIB, found.log_max_size)
        self.assertEqual(spec.BASELINE_CAPS, found.allowed_caps)
        self.assertNotIn('NET_RAW', found.allowed_caps)
        self.assertEqual('docker', conf.list_opts()[0][0].name)
