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

"""Containers in stacks, as any cloud can be tested."""

from __future__ import annotations

import json
from typing import Any

from heat_tempest_plugin.common import test
from heat_tempest_plugin.tests.functional import functional_base
from tempest.lib import decorators

_TYPE = 'OS::NovaDocker::Container'
_COMMAND = ['sh', '-c', 'trap exit TERM; echo $WORD; sleep 9999 & wait']


@test.requires_resource_type(_TYPE)
class ContainerTest(functional_base.FunctionalTestsBase):
    """A container's life under Heat."""

    def template(self, **more: Any) -> str:
        """A template of one container."""
        return json.dumps({
            'heat_template_version': '2021-04-16',
            'parameters': {'word': {'type': 'string', 'default': 'one'}},
            'resources': {'c': {'type': _TYPE, 'properties': {
                'image': self.conf.minimal_image_ref,
                'flavor': self.conf.minimal_instance_type,
                'networks': [{'network': self.conf.fixed_network_name}],
                'environment': {'WORD': {'get_param': 'word'}},
                'command': _COMMAND, **more}}},
            'outputs': {name: {'value': {'get_attr': ['c', name]}}
                        for name in ('status', 'first_ip', 'logs',
                                     'exit_code')}})

    def output(self, stack: str, name: str) -> Any:
        """An output of a stack, as it is now."""
        return self._stack_output(self.client.stacks.get(stack), name)

    @decorators.idempotent_id('3f0c4a52-6b1d-4e7a-9c38-1d2e5f607182')
    def test_create_update_check(self) -> None:
        stack = self.stack_create(template=self.template())
        before = self.get_physical_resource_id(stack, 'c')
        address = self.output(stack, 'first_ip')
        self.assertEqual('ACTIVE', self.output(stack, 'status'))
        self.update_stack(stack, self.template(), parameters={'word': 'two'})
        self.assertEqual(before, self.get_physical_resource_id(stack, 'c'))
        self.assertEqual(address, self.output(stack, 'first_ip'))
        self.assertIn('two', self.output(stack, 'logs'))
        self.client.actions.check(stack_id=stack)
        self._wait_for_stack_status(stack, 'CHECK_COMPLETE')

    @decorators.idempotent_id('5b7d9e13-2c4f-4a68-8b90-7e1f3a5c6d84')
    def test_suspend_and_resume(self) -> None:
        stack = self.stack_create(template=self.template())
        self.stack_suspend(stack)
        self.assertEqual('SUSPENDED', self.output(stack, 'status'))
        self.stack_resume(stack)
        self.assertEqual('ACTIVE', self.output(stack, 'status'))

    @decorators.idempotent_id('7d9f1b35-4e60-4c8a-9db2-9f30517e8fa6')
    def test_abandon_and_adopt(self) -> None:
        """Another stack goes on with what the first one made."""
        stack = self.stack_create(template=self.template(),
                                  enable_cleanup=False)
        before = self.get_physical_resource_id(stack, 'c')
        info = self.stack_abandon(stack_id=stack)
        adopted = self.stack_adopt(adopt_data=json.dumps(info))
        self.assertEqual(before, self.get_physical_resource_id(adopted, 'c'))
        self.assertEqual('ACTIVE', self.output(adopted, 'status'))

    @decorators.idempotent_id('8e0a2c46-5f71-4d9b-ace3-a0416f8f9fb7')
    def test_preview(self) -> None:
        """What would be changed, is told, and is not changed."""
        template = self.template(metadata={'tier': 'web'})
        planned = self.client.stacks.preview(
            stack_name=self._stack_rand_name(), template=template)
        self.assertEqual([_TYPE], [one['resource_type']
                                   for one in planned.resources])
        stack = self.stack_create(template=template)
        changes = self.preview_update_stack(
            stack, template, parameters={'word': 'two'})['resource_changes']
        self.assertEqual(['c'], [one['resource_name']
                                 for one in changes['updated']])
        self.assertEqual([], changes['replaced'])
        self.assertIn('one', self.output(stack, 'logs'))

    @test.requires_convergence
    @decorators.idempotent_id('a2c4e680-7193-4fbd-8ce5-b2638fa1b1d9')
    def test_a_drift_is_found_and_undone(self) -> None:
        """An update that looks at what there is, not at what there was."""
        template = self.template(metadata={'tier': 'web'})
        stack = self.stack_create(template=template)
        before = self.get_physical_resource_id(stack, 'c')
        servers = self.compute_client.servers
        servers.set_meta(before, {'tier': 'other', 'more': 'x'})
        self._handle_in_progress(self.client.stacks.update, stack_id=stack,
                                 template=template, converge=True)
        self._wait_for_stack_status(stack, 'UPDATE_COMPLETE')
        found = servers.get(before).metadata
        self.assertEqual('web', found['tier'])
        self.assertNotIn('more', found)
        # What the driver has written is no drift.
        self.assertIn('docker:image_digest', found)
        # What is gone comes again.
        servers.delete(before)
        self.assertTrue(test.call_until_true(60, 1, lambda: before not in {
            server.id for server in servers.list()}))
        self._handle_in_progress(self.client.stacks.update, stack_id=stack,
                                 template=template, converge=True)
        self._wait_for_stack_status(stack, 'UPDATE_COMPLETE')
        self.assertNotEqual(before, self.get_physical_resource_id(stack, 'c'))
        self.assertEqual('ACTIVE', self.output(stack, 'status'))

    @decorators.idempotent_id('9fb13d57-6082-4eac-bfd4-b152739fa1c8')
    def test_a_job(self) -> None:
        stack = self.stack_create(template=self.template(
            command=['sh', '-c', 'sleep 2'], wait_for='completed'))
        self.assertEqual(0, self.output(stack, 'exit_code'))

    @decorators.idempotent_id('b1d35f79-82a4-40ce-91f6-d374951bc3ea')
    def test_an_early_end(self) -> None:
        stack = self.stack_create(
            template=self.template(command=['sh', '-c', 'sleep 2; exit 7'],
                                   wait_for='completed'),
            expected_status='CREATE_FAILED')
        self.assertIn('exit code 7', self.client.stacks.get(
            stack).stack_status_reason)

    @decorators.idempotent_id('d3f5719b-a4c6-42e0-b318-f596b73de50c')
    def test_a_failed_update_rolls_back(self) -> None:
        stack = self.stack_create(template=self.template())
        before = self.get_physical_resource_id(stack, 'c')
        self.update_stack(
            stack, self.template(command=['no-such-program']),
            expected_status='ROLLBACK_COMPLETE', disable_rollback=False)
        self.assertEqual('ACTIVE', self.output(stack, 'status'))
        self.assertTrue(before)
