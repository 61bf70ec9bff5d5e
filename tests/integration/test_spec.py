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

"""What a tenant describes, in the lab, where servers have ports."""

import uuid

import yaml

from lab import metadefs
from nova_docker_driver import hardening
from tests.integration import base

DOCUMENT = {
    'entrypoint': ['sh', '-c'],
    'command': ['trap exit TERM; cat /run/secrets/key; id; sleep 600 & wait'],
    'environment': {'COLOUR': 'blue green'},
    'working_dir': '/tmp',
    'user': '1000:1001',
    'group_add': ['1002'],
    'init': True,
    'stop_signal': 'SIGTERM',
    'stop_grace_period': '5s',
    'healthcheck': {'test': 'test -e /etc/passwd', 'interval': '1s'},
    'read_only': True,
    'tmpfs': ['/scratch:size=4m'],
    'shm_size': '8m',
    'ulimits': {'nofile': {'soft': 100, 'hard': 200}},
    'cap_drop': ['NET_BIND_SERVICE'],
    'sysctls': {'net.ipv4.ip_unprivileged_port_start': '80',
                'kernel.shm_rmid_forced': '1'},
    'labels': {'tier': 'front'},
    'extra_hosts': ['db:192.0.2.9'],
    'dns': ['192.0.2.54'],
    'dns_search': ['example.org'],
    'configs': [{'target': '/etc/app.conf', 'content': 'on=1\n',
                 'mode': 0o440, 'uid': '1000', 'gid': '1001'}],
    'secrets': [{'target': 'key', 'content': 'sesame\n'}],
    'logging': {'options': {'max-size': '1m'}},
    'mem_reservation': '32m',
    'oom_score_adj': 100,
    'volumes': ['/data'],
    'x-nova': {'wait_for': 'healthy', 'wait_timeout': 30},
}


class TestSpecification(base.LabCase):

    def read(self, server, path):
        return self.inside(server, 'cat', path)[1]

    def test_every_key_beside_a_port(self):
        server = self.boot(yaml.safe_dump(DOCUMENT))
        found = self.container(server)
        host, config = found['HostConfig'], found['Config']
        self.assertEqual('healthy', found['State']['Health']['Status'])
        self.assertEqual(
            ('SIGTERM', 5, 'front', '1000:1001'),
            (config['StopSignal'], config['StopTimeout'],
             config['Labels']['tier'], config['User']))
        self.assertEqual(
            (True, True, 8 * 2**20, 32 * 2**20, 100, '1048576'),
            (host['Init'], host['ReadonlyRootfs'], host['ShmSize'],
             host['MemoryReservation'], host['OomScoreAdj'],
             host['LogConfig']['Config']['max-size']))
        self.assertNotIn('CAP_NET_BIND_SERVICE', host['CapAdd'])
        self.assertIn('COLOUR=blue green', self.read(
            server, '/proc/1/environ').split('\0'))
        log = self.tenant.compute.get_server_console_output(
            server.id)['output']
        self.assertIn('sesame', log)
        self.assertRegex(log, r'uid=1000 gid=1001 groups=.*1002')
        self.assertIn('/scratch', self.read(server, '/proc/mounts'))
        self.assertRegex(self.read(server, '/proc/1/limits'),
                         r'Max open files\s+100\s+200')
        self.assertEqual('on=1\n', self.read(server, '/etc/app.conf'))
        self.assertEqual('440 1000 1001', self.inside(
            server, 'stat', '-c', '%a %u %g', '/etc/app.conf')[1].strip())
        self.assertEqual(0, self.inside(server, 'touch', '/scratch/x')[0])
        self.assertNotEqual(0, self.inside(server, 'touch', '/x')[0])

    def test_names_and_kernel_parameters_of_its_network(self):
        server = self.boot(yaml.safe_dump(DOCUMENT))
        hosts = self.read(server, '/etc/hosts')
        self.assertIn('192.0.2.9 db', hosts)
        self.assertIn(f'{self.address(server)} {server.hostname}', hosts)
        resolvers = self.read(server, '/etc/resolv.conf')
        self.assertIn('nameserver 192.0.2.54', resolvers)
        self.assertIn('search example.org', resolvers)
        for name, value in (('net/ipv4/ip_unprivileged_port_start', '80'),
                            ('kernel/shm_rmid_forced', '1')):
            self.assertEqual(value, self.read(
                server, f'/proc/sys/{name}').strip())
        # The first privileged port needs no capability then.
        self.assertEqual(0, self.inside(
            server, 'sh', '-c', 'httpd -p 80 -h /tmp')[0])

    def test_the_benchmark_for_docker(self):
        """Both containers of a server with a port."""
        server = self.boot()
        options = ' '.join(self.engine.info()['SecurityOptions'])
        lacking = [text for name, text in (
            ('apparmor', '5.1 no AppArmor profile'),
            ('selinux', '5.2 no SELinux label')) if name not in options]
        self.assertEqual(
            [*lacking, '5.12 a writable root', '5.26 no health check'],
            hardening.warnings_of(self.container(server)))
        self.assertEqual(
            [*lacking, '5.26 no health check'],
            hardening.warnings_of(self.container(server, '-sandbox')))

    def test_secrets_stay_out_of_all_logs(self):
        canary = f'canary{uuid.uuid4().hex}'
        spec = {'environment': {'PASSWORD': canary},
                'secrets': [{'target': 'key', 'content': canary}],
                'healthcheck': {'test': ['CMD', 'test', canary]}}
        lasting = yaml.safe_load(base.LASTING)
        server = self.boot(yaml.safe_dump({**spec, **lasting}))
        self.tenant.compute.reboot_server(server, 'HARD')
        self.wait(server, 'ACTIVE')
        for wrong in ({'command': [f'/no/{canary}']},
                      {'environment': {'A=B': canary}},
                      {'secrets': [{'target': '', 'content': canary}]},
                      {'sysctls': {'kernel.shm_rmid_forced': canary}}):
            failed = self.wait(self.create(yaml.safe_dump(
                {**spec, **lasting, **wrong})), 'ERROR')
            if 'command' not in wrong:
                self.assertNotIn(canary, failed.fault['message'])
        logs = [path for path in self.layout.logs.rglob('*')
                if path.is_file()]
        self.assertGreater(len(logs), 10)
        found = {path.name for path in logs
                 if canary in path.read_text(errors='replace')
                 # A command is no secret, and the fault shows it.
                 .replace(f'/no/{canary}', '')}
        self.assertEqual(set(), found)


class TestCatalogue(base.LabCase):

    def test_glance_accepts_the_metadata_definitions(self):
        url = f'{self.layout.url("glance")}/v2/metadefs/namespaces'
        for content in metadefs.namespaces().values():
            answer = self.admin.session.post(
                url, json={**content, 'protected': False})
            self.addCleanup(self.admin.session.delete,
                            f'{url}/{content["namespace"]}')
            self.assertEqual(201, answer.status_code, answer.text[:300])
            kept = self.tenant.session.get(
                f'{url}/{content["namespace"]}').json()['properties']
            self.assertEqual(set(content['properties']), set(kept))

    def test_an_image_for_machines_finds_no_host(self):
        content = self.raw_image('vm', b'junk')
        self.tenant.image.update_image(content, img_hv_type='qemu')
        server = self.wait(self.create(image=content), 'ERROR')
        self.assertIn('No valid host', server.fault['message'])
        fit = self.image()
        self.tenant.image.update_image(fit, img_hv_type='docker')
        self.boot(image=fit)
