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

"""The container specification: every key, every refusal, and what it becomes.
"""

import base64
import json
import unittest
from unittest import mock

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies

from nova_docker_driver import composekeys
from nova_docker_driver import enginedocs
from nova_docker_driver import errors
from nova_docker_driver import extra_specs
from nova_docker_driver import grants
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import spec
from nova_docker_driver import units
from nova_docker_driver import userspec
from tests.unit.nova_docker_driver import fakes
from tests.unit.nova_docker_driver import hostile

HEADER = '#docker-config\n'


def parse(text, **properties):
    return userspec.parse(
        base64.b64encode((HEADER + text).encode()).decode(), properties)


#: The attributes of a service in the Compose specification.
COMPOSE_KEYS = frozenset('''
annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent
command configs container_name cpu_count cpu_percent cpu_period cpu_quota
cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset credential_spec depends_on
deploy develop device_cgroup_rules devices dns dns_opt dns_search domainname
driver_opts entrypoint env_file environment expose extends external_links
extra_hosts gpus group_add healthcheck hostname image init ipc isolation
label_file labels links logging mac_address mem_limit mem_reservation
mem_swappiness memswap_limit models network_mode networks oom_kill_disable
oom_score_adj pid pids_limit platform ports post_start pre_stop privileged
profiles provider pull_policy read_only restart runtime scale secrets
security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt
sysctls tmpfs tty ulimits use_api_socket user userns_mode uts volumes
volumes_from working_dir'''.split())


SECRET = '5d3c0b1e-8f0a-4a57-9d0e-9b8c7a6f5e4d'


def secrets(given):
    return f'x-nova: {{environment_secrets: {json.dumps(given)}}}'


class TestKeys(unittest.TestCase):

    def test_every_key_of_compose_is_in_exactly_one_table(self):
        honoured = set(userspec.schema()['properties']) - {'x-nova'}
        tables = (honoured, set(composekeys.OPERATORS),
                  set(composekeys.ELSEWHERE))
        self.assertEqual(len(COMPOSE_KEYS), sum(map(len, tables)))
        self.assertEqual(COMPOSE_KEYS, set.union(*tables))

    def test_a_refusal_says_who_grants_or_what_to_do(self):
        for key, grantor in composekeys.OPERATORS.items():
            with self.assertRaisesRegex(errors.InvalidSpec, key) as caught:
                parse(f'{key}: x')
            self.assertIn(grantor, str(caught.exception))
        for key, way in composekeys.ELSEWHERE.items():
            with self.assertRaisesRegex(errors.InvalidSpec, key) as caught:
                parse(f'{key}: x')
            self.assertIn(way, str(caught.exception))

    def test_every_key_is_described(self):
        for key, entry in userspec.schema()['properties'].items():
            self.assertIn('description', entry, key)


EVERYTHING = '''
command: [run]
user: 1000
group_add: [staff, 7]
tty: true
stdin_open: true
init: true
stop_signal: quit
stop_grace_period: 1m30s
restart: on-failure:3
read_only: true
tmpfs: ["/run:size=1m,mode=1777", /tmp]
shm_size: 16m
ulimits: {nofile: {soft: 10, hard: 20}, core: 0}
cap_drop: [CAP_KILL]
cap_add: [net_raw]
sysctls: {net.ipv4.ip_unprivileged_port_start: 0, kernel.shm_rmid_forced: 1}
labels: [a=b, c]
extra_hosts: ["db=10.0.0.1", "six:[2001:db8::1]"]
dns: 192.0.2.1
dns_search: [example.org]
configs: [{target: /etc/app.conf, content: "x = 1", mode: 0640, uid: 5}]
secrets: [{target: key, content: hush, mode: "0400", gid: 6}]
logging: {driver: json-file, options: {max-size: 1m, max-file: "2"}}
mem_reservation: 32m
oom_score_adj: 100
expose: [80, 53/udp]
volumes:
- /data
- {type: volume, target: /more}
- {type: tmpfs, target: /fast, tmpfs: {size: 2m, mode: 0700}}
'''


class TestValues(unittest.TestCase):

    def test_everything_that_is_honoured(self):
        found = parse(EVERYTHING)
        self.assertEqual(models.TenantSpec(
            command=('run',), user='1000', group_add=('staff', '7'),
            tty=True, stdin_open=True, init=True, stop_signal='SIGQUIT',
            stop_grace_period=90, restart=models.Restart('on-failure', 3),
            read_only=True,
            tmpfs={'/run': 'size=1048576,mode=1777', '/tmp': '',
                   '/fast': 'size=2097152,mode=700'},
            shm_size=16 * models.MIB,
            ulimits=(models.Ulimit('core', 0, 0),
                     models.Ulimit('nofile', 10, 20)),
            cap_drop=('KILL',), cap_add=('NET_RAW',),
            sysctls={'net.ipv4.ip_unprivileged_port_start': '0',
                     'kernel.shm_rmid_forced': '1'},
            labels={'a': 'b', 'c': ''},
            extra_hosts=(('db', '10.0.0.1'), ('six', '2001:db8::1')),
            dns=('192.0.2.1',), dns_search=('example.org',),
            files=(models.GuestFile('/etc/app.conf', b'x = 1', 0o640, 5),
                   models.GuestFile('/run/secrets/key', b'hush', 0o400,
                                    None, 6)),
            log_max_size=models.MIB, log_max_files=2,
            mem_reservation=32 * models.MIB, oom_score_adj=100,
            volumes=('/data', '/more')), found)
        self.assertNotIn('hush', repr(found))

    def test_secrets_are_named_by_their_ids(self):
        for reference in (SECRET, f'https://keys.example.org/v1/x/{SECRET}'):
            found = parse(secrets({'A': reference}))
            self.assertEqual({'A': SECRET}, found.environment_secrets)
            self.assertEqual({}, found.environment)

    def test_restart(self):
        for text, name in (('no', 'no'), ('"no"', 'no'),
                           ('always', 'unless-stopped'),
                           ('unless-stopped', 'unless-stopped')):
            self.assertEqual(name, parse(f'restart: {text}').restart.name)

    def test_refusals_name_the_key_and_never_the_value(self):
        for text, where in (
                ('environment: {A: [secretvalue]}', 'environment'),
                ('environment: ["secretvalue"]', 'environment'),
                ('environment: {A: "secretvalue\\0"}', 'environment'),
                ('environment: {"secret=": x}', 'environment'),
                ('environment: {"secret\\nvalue": x}', 'environment'),
                ('environment: {A: "%s"}' % ('secretvalue' * 20000),
                 'environment'),
                ('secrets: [{target: ../up, content: secretvalue}]',
                 'secrets'),
                ('secrets: [{target: /proc/x, content: secretvalue}]',
                 'secrets'),
                ('secrets: [{target: /a/../b, content: secretvalue}]',
                 'secrets'),
                ('secrets: [{content: secretvalue}]', 'target'),
                ('secrets: [{target: /a, content: secretvalue, mode: 04755}]',
                 'mode'),
                ('secrets: [{target: /a, content: secretvalue, mode: "9"}]',
                 'mode'),
                ('secrets: [{target: /a, content: secretvalue, uid: x}]',
                 'uid'),
                ('secrets: [{target: /etc/hosts, content: secretvalue}]',
                 'driver'),
                ('configs: [{target: /a, content: b}]\n'
                 'secrets: [{target: /a, content: secretvalue}]', 'twice'),
                ('command: {secretvalue: x}', 'command'),
                ('secrets: {secretvalue', 'line'),
                ('command: [secretvalue', 'line')):
            with self.assertRaises(errors.InvalidSpec, msg=text) as caught:
                parse(text)
            self.assertIn(where, str(caught.exception))
            self.assertNotIn('secretvalue', str(caught.exception))

    def test_refusals(self):
        for text, words in (
                ('tty: "yes"', ('tty', 'boolean')),
                ('group_add: ["a b"]', ('group_add', 'staff')),
                ('stop_signal: SIGFOO', ('stop_signal', 'SIGTERM')),
                ('stop_signal: 99', ('stop_signal', 'SIGTERM')),
                ('stop_grace_period: soon', ('stop_grace_period', '1m30s')),
                ('stop_grace_period: 99999999999999h', ('too long',)),
                ('restart: sometimes', ('restart', 'on-failure')),
                ('restart: yes', ('restart',)),
                ('restart: always\nx-nova: {wait_for: completed}',
                 ('wait_for', 'restart')),
                ('shm_size: big', ('shm_size', '64m')),
                ('shm_size: 99999999999999g', ('shm_size', 'large')),
                ('ulimits: {nofile: {soft: 2, hard: 1}}', ('nofile', 'soft')),
                ('ulimits: {bogus: 1}', ('ulimits', 'nofile')),
                ('ulimits: {nofile: {soft: 2}}', ('ulimits',)),
                ('sysctls: {kernel.panic: 1}', ('kernel.panic', 'safe')),
                ('labels: {org.openstack.nova-docker.role: x}',
                 ('labels', 'driver')),
                ('extra_hosts: {db: nowhere}', ('extra_hosts', 'IP')),
                ('extra_hosts: ["db"]', ('extra_hosts', 'address')),
                ('dns: resolver', ('dns', 'IP')),
                ('dns_search: "a b"', ('dns_search', 'domain')),
                ('logging: {driver: syslog}', ('driver', 'json-file')),
                ('logging: {options: {max-file: x}}', ('max-file',)),
                ('oom_score_adj: -1', ('oom_score_adj', 'less than 0')),
                ('expose: [http]', ('expose', 'port')),
                ('tmpfs: relative', ('tmpfs', 'absolute')),
                ('tmpfs: /', ('tmpfs', 'below /')),
                ('tmpfs: "/a:exec"', ('tmpfs', 'exec', 'size')),
                ('tmpfs: "/a:size=x"', ('tmpfs', '64m')),
                ('tmpfs: "/a:mode=99"', ('tmpfs', 'octal')),
                ('volumes: ["/var/run:/x"]', ('volumes.0', 'host')),
                ('volumes: ["./a:/x"]', ('volumes.0', 'host')),
                ('volumes: [{type: bind, source: /, target: /x}]',
                 ('volumes.0', 'host')),
                ('volumes: ["data:/x"]', ('volumes.0', 'not available yet')),
                ('volumes: [{type: volume, source: d, target: /x}]',
                 ('volumes.0', 'not available yet')),
                ('volumes: [/a, /a]', ('twice',)),
                ('volumes: [/dev/x]', ('volumes.0', '/dev')),
                ('volumes: [{type: volume, target: /a, read_only: true}]',
                 ('read_only',)),
                (f'environment: [{",".join(["A=1"] * 300)}]', ('256',)),
                ('image: ""', ('image', 'empty')),
                ('x-nova: {wait_timeout: 9999}', ('wait_timeout', '3600')),
                (secrets({'A': 'hush'}),
                 ('x-nova.environment_secrets.A', 'id of a secret')),
                (secrets({'A=': SECRET}), ('environment_secrets',)),
                ('environment: {A: x}\n' + secrets({'A': SECRET}), (
                    'x-nova.environment_secrets.A', 'too')),
                ('configs: [{target: /a, content: "%s"}]' % ('x' * 49000)
                 + '\nsecrets: [{target: /b, content: "%s"}]' % ('x' * 999),
                 ('larger',))):
            with self.assertRaises(errors.InvalidSpec, msg=text) as caught:
                parse(text)
            for word in words:
                self.assertIn(word, str(caught.exception), text[:60])

    def test_a_line_break_at_the_end_is_in_no_name(self):
        for text in (
                'environment: {"A\\n": x}', 'user: "web\\n"',
                'working_dir: "/tmp\\n"', 'labels: {"a\\n": x}',
                'dns_search: "x.y\\n"', 'dns: "1.2.3.4\\n"',
                'extra_hosts: {"h\\n": 1.2.3.4}',
                'extra_hosts: {h: "1.2.3.4\\n"}', 'group_add: ["staff\\n"]',
                'cap_add: ["NET_RAW\\n"]', 'restart: "always\\n"',
                'sysctls: {net.ipv4.tcp_syncookies: "1\\n"}',
                'configs: [{target: "/a\\n", content: b}]',
                'tmpfs: "/a\\n"', 'volumes: ["/a\\n"]',
                'stop_grace_period: "1s\\n"', 'shm_size: "1m\\n"',
                secrets({'A': f'{SECRET}\n'}),
                'expose: ["80\\n"]', 'stop_signal: "TERM\\n"'):
            with self.assertRaises(errors.InvalidSpec, msg=text):
                parse(text)

    def test_a_way_out_by_the_working_directory(self):
        for path in ('//proc/self/fd/8', '/./proc/self/fd/8',
                     '/a/../proc/self/fd/8', '/dev', '/sys/'):
            with self.assertRaises(errors.InvalidSpec, msg=path):
                parse(f'working_dir: {path}')
        self.assertEqual('/srv/www', parse(
            'working_dir: //srv/./www/').working_dir)
        self.assertEqual('/', parse('working_dir: /').working_dir)

    def test_the_value_of_a_kernel_parameter(self):
        self.assertEqual({'net.ipv4.ip_local_port_range': '1024 65535'},
                         parse('sysctls: {net.ipv4.ip_local_port_range: '
                               '1024 65535}').sysctls)
        with self.assertRaisesRegex(errors.InvalidSpec, 'number'):
            parse('sysctls: {net.ipv4.tcp_fin_timeout: soon}')

    def test_characters_as_json_escapes_them(self):
        self.assertEqual({'A': '\U0001f433'}, parse(
            '{"environment": {"A": "\\ud83d\\udc33"}}').environment)
        with self.assertRaisesRegex(errors.InvalidSpec, 'line 2'):
            parse('{"environment": {"A": "\\ud83d"}}')

    def test_units(self):
        for text, value in (('1h', 3600), ('1m30s', 90), ('1.5s', 1.5),
                            ('500ms', 0.5)):
            self.assertEqual(value * models.SECOND, units.duration(text))
        for text, value in (('1', 1), ('2b', 2), ('1k', 1024), ('1KB', 1024),
                            ('3m', 3 * 1024 ** 2), ('1gb', 1024 ** 3),
                            (7, 7)):
            self.assertEqual(value, units.size(text))
        for text in ('TERM', 'sigterm', '15', 15):
            self.assertEqual('SIGTERM', units.signal_name(text))


class TestYaml(unittest.TestCase):
    """As Compose reads it, and nothing that surprises."""

    def test_texts_stay_texts(self):
        found = parse('user: 33:33\n'
                      'environment: {A: 12:30:00, B: yes, C: off, '
                      'D: 2026-01-01, E: 1_000, F: <<, G: .inf, '
                      'H: 12345678901234567890123}')
        self.assertEqual('33:33', found.user)
        self.assertEqual({
            'A': '12:30:00', 'B': 'yes', 'C': 'off', 'D': '2026-01-01',
            'E': '1_000', 'F': '<<', 'G': '.inf',
            'H': '12345678901234567890123'}, found.environment)

    def test_numbers_are_numbers(self):
        found = parse('environment: {A: 0x1f, B: 010, C: 1.50, D: -7, '
                      'E: 1e3, F: true, G: ~}')
        self.assertEqual({'A': '31', 'B': '8', 'C': '1.5', 'D': '-7',
                          'E': '1000', 'F': 'true'}, found.environment)

    def test_what_is_no_plain_yaml_is_refused_and_not_shown(self):
        for text, words in (
                ('environment: {P: !!timestamp Secr3t}', 'tags'),
                ('environment: {P: !Secr3t x}', 'tags'),
                ('environment: {P: !Secr3t!x y}', 'line 2'),
                ('tty: !!bool Secr3t', 'tags'), ('user: !!int ""', 'tags'),
                ('environment: {P: &Secr3t}', 'anchors'),
                ('environment: {P: *Secr3t}', 'line 2'),
                ('? {a: Secr3t}\n: x', 'key'), ('{{ Secr3t }}', 'key'),
                ('sysctls: {1: x}', 'key'), ('labels: {null: x}', 'key'),
                ('environment: {1: [], A: Secr3t}', 'key'),
                ('volumes: [{type: tmpfs, target: /t, tmpfs: {mode: 1.0}}]',
                 'volumes'),
                ('tty: 0x' + 'F' * 5000, 'tty')):
            with self.assertRaises(errors.InvalidSpec, msg=text) as caught:
                parse(text)
            self.assertIn(words, str(caught.exception))
            self.assertNotIn('Secr3t', str(caught.exception))

    def test_a_hole_in_the_checks_is_a_refusal_without_words(self):
        with mock.patch.object(userspec, '_validate',
                               side_effect=KeyError('Secr3t')):
            with self.assertRaisesRegex(errors.InvalidSpec, 'KeyError') as e:
                parse('tty: true')
        self.assertNotIn('Secr3t', str(e.exception))

    @given(strategies.text(alphabet='!&*<>{}[]:-?,#|"\'% \n0123aA~.'))
    def test_any_punctuation_gives_a_specification_or_a_refusal(self, text):
        try:
            self.assertIsInstance(parse(text), models.TenantSpec)
        except errors.InvalidSpec:
            return


class TestImageProperties(unittest.TestCase):

    def test_they_are_defaults(self):
        found = parse('environment: {A: b}\ntty: false',
                      docker_command='sleep 5', docker_tty='true',
                      docker_user='7', docker_init='true',
                      docker_environment='{A: x, B: y}',
                      architecture='x86_64')
        self.assertEqual(('sleep', '5'), found.command)
        self.assertEqual({'A': 'b'}, found.environment)
        self.assertEqual((False, True, '7'),
                         (found.tty, found.init, found.user))

    def test_the_command_line_of_nova(self):
        self.assertEqual(('run', 'a b'), parse(
            '', os_command_line='run "a b"').command)
        self.assertEqual(('mine',), parse(
            'command: mine', os_command_line='run').command)
        self.assertEqual(('list', 'of'), parse(
            '', docker_command='[list, of]', os_command_line='run').command)

    def test_a_new_entry_point_drops_their_command(self):
        self.assertIsNone(parse(
            'entrypoint: [x]', docker_command='sleep').command)

    def test_refusals(self):
        for properties, words in (
                ({'docker_comand': 'x'}, 'docker_comand'),
                ({'docker_privileged': 'true'}, 'docker_privileged'),
                ({'docker_secrets': '[]'}, 'docker_secrets'),
                ({'docker_command': 'x' * 255}, 'longer than 254'),
                ({'os_command_line': 'x' * 255}, 'longer than 254'),
                ({'docker_tty': '[open'}, 'YAML'),
                ({'docker_tty': 'perhaps'}, 'tty'),
                ({'docker_sysctls': '{kernel.panic: 1}'}, 'image property')):
            with self.assertRaisesRegex(errors.InvalidSpec, words):
                parse('', **properties)


def inputs(tenant=None, **changes):
    values = dict(
        instance_uuid=fakes.UUID, hostname='web', memory_mib=64,
        swap_mib=0, vcpus=2, extra_specs={},
        image=models.EngineImage('sha256:1', command=('sh',)),
        tenant=tenant or models.TenantSpec(), policy=fakes.policy(
            allowed_caps=(*spec.BASELINE_CAPS, 'NET_RAW')))
    return spec.Inputs(**{**values, **changes})


class TestGrants(unittest.TestCase):

    def host(self, tenant='', policy=(), **extra_specs):
        values = dict(
            allowed_caps=(*spec.BASELINE_CAPS, 'NET_RAW'),
            max_ulimits={'nofile': 100, 'nproc': -1}, **dict(policy))
        config = enginedocs.container_config(spec.build(inputs(
            parse(tenant), policy=fakes.policy(**values),
            extra_specs={key.replace('__', ':'): value
                         for key, value in extra_specs.items()})))
        return config['HostConfig']

    def refused(self, words, kind=errors.InvalidSpec, **given_):
        with self.assertRaisesRegex(kind, words):
            self.host(**given_)

    def test_capabilities(self):
        self.assertNotIn('NET_RAW', self.host(
            docker__cap_add='NET_RAW')['CapAdd'])
        self.assertIn('NET_RAW', self.host(
            'cap_add: [NET_RAW]', docker__cap_add='CAP_NET_RAW')['CapAdd'])
        self.assertEqual(['KILL'], self.host(
            'cap_drop: [ALL]\ncap_add: [KILL]')['CapAdd'])
        self.assertNotIn('CHOWN', self.host('cap_drop: [CHOWN]')['CapAdd'])
        self.refused('cap_add: NET_RAW', tenant='cap_add: [NET_RAW]')
        self.refused('cap_add: ALL', tenant='cap_add: [ALL]')
        self.refused('SYS_ADMIN: not within',
                     docker__cap_add='SYS_ADMIN')

    def test_privileged_needs_both(self):
        self.refused('allow_privileged', docker__privileged='true')
        self.assertTrue(self.host(policy={'allow_privileged': True},
                                  docker__privileged='true')['Privileged'])
        self.assertFalse(self.host(
            policy={'allow_privileged': True})['Privileged'])

    def test_what_a_host_has_to_offer(self):
        self.refused('devices: fuse', errors.Unsupported,
                     docker__devices='fuse')
        found = self.host(
            policy={'devices': {'fuse': '/dev/fuse'},
                    'allowed_runtimes': ('runsc',),
                    'seccomp_profiles': {'audit': '{}'},
                    'apparmor_profiles': ('tight',)},
            docker__devices='fuse', docker__runtime='runsc',
            docker__userns='host',
            docker__seccomp_profile='audit',
            docker__apparmor_profile='tight')
        self.assertEqual('/dev/fuse', found['Devices'][0]['PathOnHost'])
        self.assertEqual(('runsc', 'host'),
                         (found['Runtime'], found['UsernsMode']))
        self.assertEqual(['no-new-privileges:true', 'seccomp={}',
                          'apparmor=tight'], found['SecurityOpt'])
        for extra in ('runtime', 'seccomp_profile', 'apparmor_profile'):
            self.refused(f'docker:{extra}', errors.Unsupported,
                         **{f'docker__{extra}': 'other'})

    def test_a_restricted_profile(self):
        found = self.host('user: "7"', docker__profile='restricted')
        self.assertEqual(['NET_BIND_SERVICE'], found['CapAdd'])
        self.assertTrue(found['ReadonlyRootfs'])
        # What a name means is the word of an image that a tenant makes.
        for tenant in ('', 'user: root', 'user: "0:0"', 'user: "00"',
                       'user: toor', 'user: "0"'):
            self.refused('not root', tenant=tenant,
                         docker__profile='restricted')

    def test_cpus(self):
        self.assertEqual(2 * 10**9, self.host()['NanoCpus'])
        soft = self.host(docker__cpu_limit='soft')
        self.assertEqual((0, 2048), (soft['NanoCpus'], soft['CpuShares']))
        own = self.host(quota__cpu_quota='5000', quota__cpu_shares='7')
        self.assertEqual((0, 5000, 100_000, 7), (
            own['NanoCpus'], own['CpuQuota'], own['CpuPeriod'],
            own['CpuShares']))
        pinned = enginedocs.container_config(spec.build(inputs(
            pinned_cpus=frozenset({3, 1}), memory_nodes=frozenset({0}))))
        host = pinned['HostConfig']
        self.assertEqual(('1,3', '0', 0), (
            host['CpusetCpus'], host['CpusetMems'], host['NanoCpus']))

    def test_no_limit_in_novas_own_words(self):
        self.assertEqual((0, 0), tuple(
            self.host(quota__cpu_quota='-1')[key]
            for key in ('NanoCpus', 'CpuQuota')))

    def test_dedicated_cpus_are_not_for_others(self):
        shared = {'shared_cpus': frozenset({0, 1})}
        self.assertEqual('0,1', self.host(policy=shared)['CpusetCpus'])
        pinned = spec.build(inputs(pinned_cpus=frozenset({3}),
                                   policy=fakes.policy(**shared)))
        self.assertEqual('3', pinned.cpuset_cpus)

    def test_a_check_is_clamped(self):
        def check(text):
            return spec.build(inputs(parse(
                f'healthcheck: {{test: x, {text}}}'))).healthcheck
        self.assertEqual(5 * models.SECOND, check('interval: 1ms').interval)
        self.assertEqual(9 * models.SECOND, check('interval: 9s').interval)
        self.assertEqual(0, check('retries: 1').interval)
        for text in ('timeout: 9h', 'retries: 1'):
            self.assertEqual(60 * models.SECOND, check(text).timeout)
        self.assertEqual(models.SECOND, check('timeout: 1s').timeout)

    def test_times_are_within_the_operators(self):
        self.assertEqual(60, spec.build(inputs(parse(
            'stop_grace_period: 9999h'))).stop_timeout)
        text = ('healthcheck: {{test: x}}\n'
                'x-nova: {{wait_for: healthy, wait_timeout: {}}}')
        spec.build(inputs(parse(text.format(300))))
        self.refused('wait_timeout', tenant=text.format(301))

    def test_an_empty_command_clears_the_images(self):
        image = models.EngineImage('sha256:1', entrypoint=('/run',),
                                   command=('x',))
        for text in ('command: []', 'command: ""'):
            built = spec.build(inputs(parse(text), image=image))
            self.assertEqual((('/run',), ()),
                             (built.entrypoint, built.command))
            self.refused('command', tenant=text)

    def test_rates_of_the_disk(self):
        self.refused('device', errors.Unsupported,
                     quota__disk_read_bytes_sec='9')
        found = self.host(policy={'disk_device': '/dev/sda'},
                          quota__disk_total_bytes_sec='9',
                          quota__disk_read_bytes_sec='5',
                          quota__disk_write_iops_sec='3')
        self.assertEqual([{'Path': '/dev/sda', 'Rate': 5}],
                         found['BlkioDeviceReadBps'])
        self.assertEqual([{'Path': '/dev/sda', 'Rate': 9}],
                         found['BlkioDeviceWriteBps'])
        self.assertEqual([{'Path': '/dev/sda', 'Rate': 3}],
                         found['BlkioDeviceWriteIOps'])

    def test_caps_of_what_a_tenant_sets(self):
        self.refused('shm_size', tenant='shm_size: 65m')
        self.refused('mem_reservation', tenant='mem_reservation: 65m')
        self.refused('nofile: is more than 100', tenant='ulimits: {nofile: '
                     '101}')
        self.refused('nofile', tenant='ulimits: {nofile: -1}')
        self.refused('core: the operator', tenant='ulimits: {core: 0}')
        self.refused('max-size', tenant='logging: {options: {max-size: 1g}}')
        self.refused('max-file', tenant='logging: {options: {max-file: 9}}')
        found = self.host('ulimits: {nproc: -1}')['Ulimits']
        self.assertEqual([('nofile', 100), ('nproc', -1)],
                         [(one['Name'], one['Hard']) for one in found])
        found = self.host('ulimits: {nofile: 150}',
                          docker__ulimits='nofile=10:200,core=0')['Ulimits']
        self.assertEqual([('core', 0), ('nofile', 150)],
                         [(one['Name'], one['Hard']) for one in found])
        log = self.host('logging: {options: {max-size: 1k, max-file: 1}}',
                        docker__log_max_size='2')['LogConfig']['Config']
        self.assertEqual({'max-size': '1024', 'max-file': '1'}, log)

    def test_a_wrong_extra_spec_is_named(self):
        for key, value in (('docker:gpus', 'x'), ('docker:cap_add', 'a b'),
                           ('docker:privileged', 'perhaps'),
                           ('docker:profile', 'none'),
                           ('docker:pids_limit', '-1'),
                           ('docker:ulimits', 'nofile'),
                           ('docker:ulimits', 'nofile=9:2'),
                           ('docker:ulimits', 'nofil=1'),
                           ('docker:cap_add', 'NET_ADMN'),
                           ('docker:profil', 'restricted')):
            with self.assertRaisesRegex(errors.InvalidSpec, key):
                spec.build(inputs(extra_specs={key: value}))

    def test_nova_api_knows_the_same(self):
        names_of_ours = {f'docker:{name}'
                         for name, _, _ in extra_specs._SPECS}
        self.assertEqual(grants.KEYS, names_of_ours)
        self.assertEqual(grants.CAPABILITIES, extra_specs.CAPABILITIES)
        self.assertEqual(grants.ULIMITS, extra_specs.ULIMITS)

    def test_the_root_disk_where_the_engine_can_bound_it(self):
        self.assertNotIn('StorageOpt', self.host())
        built = spec.build(inputs(
            policy=fakes.policy(disk_quota=True), disk_gib=3))
        self.assertEqual({'size': str(3 * 1024 ** 3)},
                         enginedocs.container_config(built)['HostConfig'][
                             'StorageOpt'])

    def test_kernel_parameters_go_where_their_namespace_is(self):
        tenant = parse('sysctls: {net.ipv4.tcp_syncookies: 0, '
                       'kernel.shm_rmid_forced: 1}')
        box = models.Sandbox('abc', '/netns/1', True)
        self.assertEqual({'kernel.shm_rmid_forced': '1'}, spec.build(
            inputs(tenant, sandbox=box)).sysctls)
        self.assertEqual(2, len(spec.build(inputs(tenant)).sysctls))
        _, networks = spec.split_sysctls(tenant.sysctls)
        self.assertEqual('0', spec.sandbox(
            fakes.UUID, 'web', 'sha256:2', fakes.policy(), networks
        ).sysctls['net.ipv4.tcp_syncookies'])

    def test_a_mount_cannot_cover_a_file(self):
        with self.assertRaisesRegex(errors.InvalidSpec, '/a'):
            spec.build(inputs(parse('tmpfs: /a'), mounts=(
                models.Mount('/files/0', '/a'),)))


class TestInvariants(unittest.TestCase):
    """T6 and T7: whatever a tenant writes, only the profile comes of it."""

    def test_no_text_of_a_tenant_weakens_a_container(self):
        self.accepted = 0
        self.any_text_of_a_tenant()
        # So that the whole does not consist of refusals.
        self.assertGreater(self.accepted, hostile.EXAMPLES // 5)

    @settings(max_examples=hostile.EXAMPLES, deadline=None)
    @given(hostile.documents(), hostile.properties(), hostile.flavors())
    def any_text_of_a_tenant(self, document, properties, flavor):
        try:
            tenant = parse(json.dumps(document), **properties)
            built = spec.build(inputs(
                tenant, extra_specs=flavor,
                sandbox=models.Sandbox('abc', '/netns/1', True)))
        except (errors.InvalidSpec, errors.Unsupported):
            return
        self.accepted += 1
        config = enginedocs.container_config(built)
        host = config['HostConfig']
        self.assertFalse(host['Privileged'])
        self.assertEqual(['ALL'], host['CapDrop'])
        granted = set(flavor.get('docker:cap_add', '').split(',')) - {''}
        self.assertLessEqual(set(host['CapAdd']),
                             set(spec.BASELINE_CAPS) | granted)
        self.assertLessEqual(set(host), hostile.HARMLESS)
        self.assertEqual('container:abc', host['NetworkMode'])
        self.assertEqual('private', host['IpcMode'])
        self.assertEqual(['no-new-privileges:true'], host['SecurityOpt'])
        self.assertEqual([], host['Mounts'])
        self.assertGreater(host['PidsLimit'], 0)
        self.assertEqual(64 * models.MIB, host['Memory'])
        self.assertEqual(64 * models.MIB, host['MemorySwap'])
        self.assertGreaterEqual(host['OomScoreAdj'], 0)
        self.assertEqual(fakes.UUID, config['Labels'][names.INSTANCE_LABEL])
        self.assertEqual(names.container(fakes.UUID), built.name)
        for entry in config['Env']:
            name, _, value = entry.partition('=')
            self.assertEqual(tenant.environment[name], value)
            self.assertNotIn('\0', entry)
        self.assertEqual(built, spec.build(inputs(
            tenant, extra_specs=flavor,
            sandbox=models.Sandbox('abc', '/netns/1', True))))
