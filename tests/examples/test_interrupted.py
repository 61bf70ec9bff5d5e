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

"""Stacks whose user, or whose time, does not let them come to an end."""

import json

from tests.integration import base

TEMPLATE = {
    'heat_template_version': '2021-04-16',
    'parameters': {'after': {'type': 'number'},
                   'patience': {'type': 'number', 'default': 300}},
    'resources': {'c': {
        'type': 'OS::NovaDocker::Container', 'properties': {
            'image': 'busybox', 'flavor': 'c1.tiny',
            'networks': [{'allocate_network': 'none'}],
            'command': ['sh', '-c', 'trap exit TERM; sleep $AFTER & wait; '
                        'touch /well; sleep 600 & wait'],
            'environment': {'AFTER': {'get_param': 'after'}},
            'healthcheck': {'test': ['CMD', 'test', '-e', '/well'],
                            'interval': '1s', 'retries': 600},
            'wait_for': 'healthy',
            'wait_timeout': {'get_param': 'patience'}}}},
    'outputs': {'id': {'value': {'get_resource': 'c'}}}}
NEVER = 600


class TestInterrupted(base.StackCase):

    def create(self, after, **more):
        return self.tenant.orchestration.create_stack(
            name='test', template=json.dumps(TEMPLATE),
            parameters={'after': after}, **more).id

    def server(self, stack_id):
        """The server of the stack that is being built or changed."""
        found = list(self.tenant.compute.servers())
        return found[0] if len(found) == 1 else None

    def test_what_takes_too_long_fails_and_can_be_deleted(self):
        stack_id = self.create(NEVER, timeout_mins=1)
        self.until(lambda: self.server(stack_id), 'a server is built')
        stack, _ = self.finish(stack_id, 'CREATE', 'FAILED')
        self.assertIn('timed out', stack.status_reason.lower())

    def test_a_change_that_is_cancelled_is_taken_back(self):
        """When Nova is done with it: nothing else can begin before."""
        stack_id = self.create(0)
        _, outputs = self.finish(stack_id, 'CREATE')
        server = self.tenant.compute.get_server(outputs['id'])
        first = self.container(server)['Id']
        self.tenant.orchestration.update_stack(
            stack_id, template=json.dumps(TEMPLATE),
            parameters={'after': NEVER, 'patience': 30})
        self.until(lambda: self.changed(server) not in (None, first),
                   'the container is made anew')
        self.tenant.session.post(
            self.layout.url('heat') + f'/v1/{self.project()}/stacks/test/'
            f'{stack_id}/actions', json={'cancel_update': None})
        _, outputs = self.finish(stack_id, 'ROLLBACK')
        # Nova has given the first one up; nothing of it is left.
        server, = self.tenant.compute.servers()
        self.assertEqual(outputs['id'], server.id)
        self.assertIn('AFTER=0', self.container(server)['Config']['Env'])

    def project(self):
        return self.tenant.current_project_id

    def changed(self, server):
        found = self.engine.containers(
            filters={'name': f'^/nova-{server.id}$'})
        return found[0]['Id'] if found else None
