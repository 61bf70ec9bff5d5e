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

"""Stacks through Heat's API, with a convergence engine."""

import subprocess
import sys
import uuid

from tests.integration import base

TEMPLATE = """
heat_template_version: 2021-04-16
parameters:
  greeting: {type: string, default: one}
  image: {type: string, default: busybox}
resources:
  c:
    type: OS::NovaDocker::Container
    properties:
      image: {get_param: image}
      flavor: c1.tiny
      networks: [{network: private}]
      metadata: {mine: {get_param: greeting}}
      environment: {GREETING: {get_param: greeting}}
      name: named-by-its-template
      entrypoint: [/bin/env, FROM=entrypoint]
      working_dir: /tmp
      user: "1000:1001"
      command: %s
      wait_for: %s
outputs:
  id: {value: {get_resource: c}}
  ip: {value: {get_attr: [c, first_ip]}}
  status: {value: {get_attr: [c, status]}}
  logs: {value: {get_attr: [c, logs]}}
  exit_code: {value: {get_attr: [c, exit_code]}}
  addresses: {value: {get_attr: [c, addresses]}}
"""
LASTING = '[sh, -c, "trap exit TERM; echo $GREETING; sleep 600 & wait"]'


class TestStacks(base.StackCase):

    def test_create_update_check_delete(self):
        stack_id = self.create_stack(TEMPLATE % (LASTING, 'running'))
        _, outputs = self.finish(stack_id, 'CREATE')
        server = self.tenant.compute.get_server(outputs['id'])
        self.assertEqual('ACTIVE', outputs['status'])
        self.assertEqual(self.address(server), outputs['ip'])
        self.assertIn('one', outputs['logs'])
        self.assertEqual('named-by-its-template', server.name)
        self.assertEqual([outputs['ip']], [
            port['addr'] for port in outputs['addresses']['private']])
        inside = self.inside(server, 'sh', '-c', 'pid=$(pidof sleep); '
                             'cat /proc/$pid/environ; readlink '
                             '/proc/$pid/cwd; id')[1]
        for part in ('FROM=entrypoint', '/tmp', 'uid=1000 gid=1001'):
            self.assertIn(part, inside)
        first = self.container(server)['Id']

        self.tenant.orchestration.update_stack(
            stack_id, template=TEMPLATE % (LASTING, 'running'),
            parameters={'greeting': 'two'})
        _, changed = self.finish(stack_id, 'UPDATE')
        self.assertEqual(outputs['id'], changed['id'])
        self.assertEqual(outputs['ip'], changed['ip'])
        self.assertIn('two', changed['logs'])
        self.assertNotEqual(first, self.container(server)['Id'])
        metadata = self.tenant.compute.get_server(server.id).metadata
        self.assertEqual('two', metadata['mine'])
        self.assertIn('heat:resource_uuid', metadata)

        for action in ('suspend', 'resume'):
            getattr(self.tenant.orchestration, f'{action}_stack')(stack_id)
            self.finish(stack_id, action.upper())
            self.assertEqual(action == 'suspend',
                             self.container(server)['State']['Paused'])

        self.tenant.orchestration.check_stack(stack_id)
        self.finish(stack_id, 'CHECK')
        self.engine.kill(f'nova-{server.id}')
        self.wait(server, 'SHUTOFF')
        self.tenant.orchestration.check_stack(stack_id)
        stack, _ = self.finish(stack_id, 'CHECK', 'FAILED')
        self.assertIn('SHUTOFF', stack.status_reason)

    def test_a_container_that_ends_early_fails_the_stack_at_once(self):
        # While it is waited for: what ends right after its build was ACTIVE.
        stack_id = self.create_stack(TEMPLATE % (
            '[sh, -c, "echo last words; sleep 0.5; exit 3"]',
            'healthy\n      '
            'healthcheck: {test: [CMD, "true"], interval: 30s}'))
        stack, _ = self.finish(stack_id, 'CREATE', 'FAILED')
        self.assertIn('exit code 3', stack.status_reason)
        self.assertIn('last words', stack.status_reason)
        # Not tried again: Heat would make another server for that.
        self.assertEqual(1, len(list(self.tenant.compute.servers())))

    def test_a_job(self):
        stack_id = self.create_stack(TEMPLATE % (
            '[sh, -c, "sleep 2; exit 0"]', 'completed'))
        _, outputs = self.finish(stack_id, 'CREATE')
        self.assertEqual(('SHUTOFF', 0),
                         (outputs['status'], outputs['exit_code']))

    def test_a_job_that_fails(self):
        stack_id = self.create_stack(TEMPLATE % (
            '[sh, -c, "sleep 2; echo broken; exit 5"]', 'completed'))
        stack, _ = self.finish(stack_id, 'CREATE', 'FAILED')
        self.assertIn('exit code 5', stack.status_reason)

    def test_a_mistake_is_found_before_anything_is_made(self):
        for change, reason in (
                ('healthy', 'healthcheck'), ('ready', 'wait_for')):
            with self.assertRaisesRegex(Exception, reason):
                self.create_stack(TEMPLATE % (LASTING, change))

    def test_secrets_of_a_stack_stay_out_of_all_logs(self):
        canary = f'canary{uuid.uuid4().hex}'
        lasting = '[sh, -c, "trap exit TERM; sleep 600 & wait"]'
        for command, wait_for, outcome in (
                (lasting, 'running', 'COMPLETE'),
                ('[sh, -c, "exit 3"]', 'completed', 'FAILED')):
            template = TEMPLATE % (command, wait_for)
            stack_id = self.create_stack(
                template.replace('default: one', f'default: {canary}')
                # Metadata are no secret.
                .replace('{mine: {get_param: greeting}}', '{}'))
            stack, _ = self.finish(stack_id, 'CREATE', outcome)
            self.assertNotIn(canary, stack.status_reason)
            self.tenant.orchestration.delete_stack(stack_id)
            self.until(lambda: not list(self.tenant.orchestration.stacks()),
                       'it is gone')
        found = {path.name for path in self.layout.logs.rglob('*.log*')
                 if canary in path.read_text(errors='replace')}
        self.assertEqual(set(), found)


class TestDemo(base.LabCase):

    def demo(self, *arguments):
        return subprocess.run(
            [sys.executable, '-m', 'lab.demo', *arguments],
            cwd=self.layout.source, capture_output=True, text=True)

    def test_the_page_comes_with_the_databases_row(self):
        shown = self.demo()
        self.assertEqual(0, shown.returncode, shown.stdout + shown.stderr)
        self.assertIn('Hello from the database (row', shown.stdout)
        self.assertIn('CREATE_COMPLETE', shown.stdout)
        cleaned = self.demo('--clean')
        self.assertEqual(0, cleaned.returncode, cleaned.stderr)
        self.assertEqual([], list(self.tenant.orchestration.stacks()))
