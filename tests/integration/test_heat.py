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

"""All that a stack can do with a container, through Heat's API."""

import http.server
import json
import signal
import threading

from lab import cloud
from lab import configuration
from lab import container_images
from tests.integration import base

TEMPLATE = """
heat_template_version: 2021-04-16
parameters:
  flavor: {type: string, default: c1.tiny}
  groups: {type: comma_delimited_list, default: []}
  word: {type: string, default: one}
  policy: {type: string, default: REBUILD}
  extra: {type: json, default: []}
resources:
  c:
    type: OS::NovaDocker::Container
    properties:
      image: busybox
      flavor: {get_param: flavor}
      networks:
        list_concat: [[{network: private}], {get_param: extra}]
      security_groups: {get_param: groups}
      hostname: from-the-template
      command:
        [sh, -c, "trap exit TERM; cat /etc/motd; echo; sleep 600 & wait"]
      environment: {WORD: {get_param: word}, COUNT: 3, UNSET: null}
      group_add: ["4321"]
      files: [{path: /etc/motd, content: {get_param: word}, mode: "0440"}]
      mounts:
        - {target: /scratch, size_mb: 3, mode: "1777"}
        - {target: /kept, type: ephemeral}
      healthcheck: {test: [CMD, test, -d, /scratch], interval: 1s}
      wait_for: healthy
      restart_policy: {name: on-failure, max_retries: 3}
      stop_signal: SIGTERM
      stop_grace_period: 5s
      init: true
      shm_size_mb: 5
      ulimits: {nofile: 99, nproc: {soft: 50, hard: 60}}
      sysctls: {net.ipv4.ip_local_port_range: 20000 30000}
      cap_drop: [CHOWN]
      extra_hosts: {elsewhere: 192.0.2.9}
      dns: [192.0.2.53]
      dns_search: [example.org]
      labels: {tier: web}
      expose: [80/tcp]
      log_options: {max_size_mb: 1, max_files: 2}
      oom_score_adj: 9
      recreate_policy: {get_param: policy}
outputs:
  id: {value: {get_resource: c}}
  ip: {value: {get_attr: [c, first_ip]}}
  health: {value: {get_attr: [c, health]}}
  logs: {value: {get_attr: [c, logs_tail]}}
  spec: {value: {get_attr: [c, spec_digest]}}
  image: {value: {get_attr: [c, image_digest]}}
  started: {value: {get_attr: [c, started_at]}}
"""

JOB = """
heat_template_version: 2021-04-16
resources:
  c:
    type: OS::NovaDocker::Container
    properties:
      {image: busybox, flavor: c1.tiny, networks: [{network: private}],
       command: [sh, -c, "sleep 8"], wait_for: completed}
outputs:
  id: {value: {get_resource: c}}
"""


class TestContainer(base.StackCase):

    def server_of(self, outputs):
        return self.tenant.compute.get_server(outputs['id'])

    def test_every_property(self):
        _, outputs = self.finish(self.create_stack(TEMPLATE), 'CREATE')
        server = self.server_of(outputs)
        found = self.container(server)
        config, host = found['Config'], found['HostConfig']
        self.assertEqual(('from-the-template', 'healthy'), (
            server.hostname, outputs['health']))
        self.assertEqual(found['Image'], outputs['image'])
        self.assertEqual('one', outputs['logs'].strip())
        self.assertEqual(64, len(outputs['spec']))
        self.assertTrue(outputs['started'])
        self.assertEqual(self.address(server), outputs['ip'])
        self.assertLess({'WORD=one', 'COUNT=3'}, set(config['Env']))
        self.assertFalse([word for word in config['Env'] if 'UNSET' in word])
        self.assertEqual(('SIGTERM', 5, 'web'), (
            config['StopSignal'], config['StopTimeout'],
            config['Labels']['tier']))
        self.assertEqual({'Name': 'on-failure', 'MaximumRetryCount': 3},
                         host['RestartPolicy'])
        self.assertTrue(host['Init'])
        self.assertEqual(5 * 2 ** 20, host['ShmSize'])
        self.assertEqual(['4321'], host['GroupAdd'])
        self.assertNotIn('CAP_CHOWN', host['CapAdd'])
        self.assertNotIn('CHOWN', host['CapAdd'])
        self.assertEqual(9, host['OomScoreAdj'])
        self.assertEqual('1048576', host['LogConfig']['Config']['max-size'])
        self.assertIn({'Name': 'nofile', 'Soft': 99, 'Hard': 99},
                      host['Ulimits'])
        for command, expected in (
                ('cat /proc/sys/net/ipv4/ip_local_port_range', '30000'),
                ('cat /etc/resolv.conf', 'search example.org'),
                ('cat /etc/hosts', '192.0.2.9'),
                ('ls -l /etc/motd', '-r--r-----'),
                ('df -k /scratch', '3072'), ('mount', '/kept')):
            self.assertIn(expected, self.inside(
                server, 'sh', '-c', command)[1], command)

    def test_what_is_changed_while_it_runs(self):
        stack_id = self.create_stack(TEMPLATE)
        _, outputs = self.finish(stack_id, 'CREATE')
        server = self.server_of(outputs)
        before = self.container(server)['Id']
        group = self.make_group()
        self.addCleanup(self.delete_all)
        network = self.make_network({'ip_version': 4,
                                     'cidr': '10.43.0.0/24'})
        changes = {'groups': group.name,
                   'extra': json.dumps([{'network': network.id}])}
        self.update_stack(stack_id, TEMPLATE, **changes)
        self.assertIn('eth1', self.inside(server, 'ip', 'link')[1])
        self.assertIn([group.id], [
            port.security_group_ids for port
            in self.tenant.network.ports(device_id=server.id)])
        self.assertEqual(before, self.container(server)['Id'])
        # A changed word with IGNORE leaves the process alone.
        self.update_stack(stack_id, TEMPLATE, word='two', policy='IGNORE',
                          **changes)
        self.assertEqual(before, self.container(server)['Id'])
        # The driver cannot resize; Heat says so, and nothing is lost.
        self.tenant.orchestration.update_stack(
            stack_id, template=TEMPLATE,
            parameters={'flavor': 'c1.small', **changes})
        stack, _ = self.finish(stack_id, 'UPDATE', 'FAILED')
        self.assertIn('flavor_update_policy', stack.status_reason)
        self.assertEqual(before, self.container(server)['Id'])
        _, after = self.update_stack(stack_id, TEMPLATE, policy='REPLACE',
                                     word='three', groups='', extra='[]')
        self.assertNotEqual(outputs['id'], after['id'])
        self.assertEqual('three', after['logs'].strip())

    def test_snapshots(self):
        stack_id = self.create_stack(TEMPLATE)
        _, outputs = self.finish(stack_id, 'CREATE')
        server = self.server_of(outputs)
        self.inside(server, 'sh', '-c', 'echo precious > /data')
        heat = self.tenant.orchestration
        url = f'/stacks/test/{stack_id}'
        taken = heat.post(f'{url}/snapshots', json={}).json()['id']
        self.until(lambda: heat.get(f'{url}/snapshots/{taken}').json()[
            'snapshot']['status'] == 'COMPLETE', 'it is taken')
        self.inside(server, 'rm', '/data')
        heat.post(f'{url}/snapshots/{taken}/restore')
        self.finish(stack_id, 'RESTORE')
        self.assertEqual('precious', self.inside(
            server, 'cat', '/data')[1].strip())
        self.assertEqual(outputs['ip'], self.address(server))
        heat.delete(f'{url}/snapshots/{taken}')

    def kill_heat_engine(self):
        lab = cloud.Cloud(self.layout)
        for process in lab.processes.running()['heat-engine']:
            process.send_signal(signal.SIGKILL)
        lab.up()

    def test_what_has_ended_or_failed_is_changed(self):
        """Its new process runs once, to its end."""
        stack_id = self.create_stack(JOB.replace(
            'sleep 8', 'echo first; exit 3'))
        self.finish(stack_id, 'CREATE', 'FAILED')
        _, outputs = self.update_stack(stack_id, JOB.replace(
            'sleep 8', 'echo second'))
        server, = self.tenant.compute.servers()
        self.assertEqual(server.id, outputs['id'])
        self.update_stack(stack_id, JOB.replace(
            'sleep 8', 'sleep 2; echo third'))
        self.assertEqual(b'third', self.engine.logs(
            f'nova-{server.id}').strip())
        self.assertEqual(0, self.container(server)['State']['ExitCode'])

    def test_a_heat_engine_that_is_killed(self):
        """What it began goes on, once, under the next one."""
        stack_id = self.create_stack(JOB)
        self.until(lambda: list(self.tenant.compute.servers()),
                   'a server is made', 30)
        self.kill_heat_engine()
        _, outputs = self.update_stack(stack_id, JOB)
        server, = self.tenant.compute.servers()
        self.assertEqual((server.id, 'SHUTOFF'),
                         (outputs['id'], server.status))
        # In the middle of a change.
        before = self.container(server)['Id']
        changed = JOB.replace('sleep 8', 'sleep 7')
        self.tenant.orchestration.update_stack(stack_id, template=changed)
        self.until(lambda: self.is_another(server, before),
                   'it is made anew', 30)
        self.kill_heat_engine()
        _, outputs = self.update_stack(stack_id, changed)
        found, = self.tenant.compute.servers()
        self.assertEqual((server.id, server.id, 'SHUTOFF'),
                         (outputs['id'], found.id, found.status))
        # And of a deletion.
        self.tenant.orchestration.delete_stack(stack_id)
        self.kill_heat_engine()
        self.tenant.orchestration.delete_stack(stack_id)
        self.until(lambda: not list(self.tenant.orchestration.stacks()),
                   'it is gone', 60)
        self.assertEqual([], list(self.tenant.compute.servers()))

    def is_another(self, server, before):
        found = self.engine.containers(all=True, filters={
            'name': f'nova-{server.id}$'})
        return found and found[0]['Id'] != before


FETCHED = """
heat_template_version: 2021-04-16
parameters: {url: {type: string}}
resources:
  image:
    type: OS::NovaDocker::Image
    properties: {url: {get_param: url}, name: fetched, tags: [one]}
  c:
    type: OS::NovaDocker::Container
    properties:
      {image: {get_resource: image}, flavor: c1.tiny,
       networks: [{allocate_network: none}],
       command: [sh, -c, "trap exit TERM; sleep 600 & wait"]}
outputs:
  id: {value: {get_resource: c}}
  status: {value: {get_attr: [image, status]}}
"""


class TestImage(base.StackCase):

    def serve(self, content):
        """The URL of an archive, on the one port that Glance allows."""
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200 if content else 404)
                self.send_header('Content-Length', str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments):
                """Tests are quiet."""
        server = http.server.ThreadingHTTPServer(
            (configuration.PUBLIC_GATEWAY, 80), Handler)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f'http://{configuration.PUBLIC_GATEWAY}/web.tar'

    def test_glance_fetches_it(self):
        url = self.serve(container_images.busybox())
        _, outputs = self.finish(self.create_stack(FETCHED, url=url),
                                 'CREATE')
        self.assertEqual('active', outputs['status'])
        self.assertTrue(self.engine.inspect_container(
            f'nova-{outputs["id"]}')['State']['Running'])

    def test_what_is_not_there(self):
        stack, _ = self.finish(self.create_stack(
            FETCHED, url=self.serve(b'')), 'CREATE', 'FAILED')
        self.assertIn('could not fetch', stack.status_reason)


OLD = """
heat_template_version: 2021-04-16
resources:
  c:
    type: DockerInc::Docker::Container
    properties:
      {docker_endpoint: %s, image: "busybox:lab", network_mode: none,
       cmd: [sh, -c, "trap exit TERM; echo old; sleep 600 & wait"]}
outputs:
  id: {value: {get_resource: c}}
  logs: {value: {get_attr: [c, logs]}}
"""


class TestOldTemplates(base.LabCase):

    def test_they_are_for_administrators(self):
        self.engine.load_image(container_images.busybox())
        self.made.callback(self.engine.remove_image, 'busybox:lab')
        with self.assertRaisesRegex(Exception, 'orbidden|not authorized'):
            self.tenant.orchestration.create_stack(
                name='old', template=OLD % 'local')
        with self.assertRaisesRegex(Exception, 'docker_endpoint'):
            self.admin.orchestration.create_stack(
                name='old', template=OLD % 'unix:///var/run/docker.sock')
        heat = self.admin.orchestration
        stack = heat.create_stack(name='old', template=OLD % 'local')
        self.addCleanup(lambda: heat.delete_stack(stack.id,
                                                  ignore_missing=True))
        found = self.until(lambda: self.ended(stack.id), 'it is created', 40)
        self.assertEqual('CREATE_COMPLETE', found.status,
                         found.status_reason)
        outputs = {one['output_key']: one['output_value']
                   for one in found.outputs}
        self.assertEqual('old', outputs['logs'].strip())
        self.assertTrue(self.engine.inspect_container(outputs['id'])[
            'State']['Running'])
        heat.delete_stack(stack.id)
        self.until(lambda: not list(heat.stacks()), 'it is gone', 40)
        self.assertEqual([], self.engine.containers(all=True, filters={
            'id': outputs['id']}))

    def ended(self, stack_id):
        found = self.admin.orchestration.get_stack(stack_id)
        return None if found.status.endswith('IN_PROGRESS') else found
