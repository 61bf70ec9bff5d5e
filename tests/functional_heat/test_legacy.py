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

"""Containers of old templates, on a real Engine, by Heat's own machinery."""

import time
import uuid

from heat.common import exception
from heat.engine import rsrc_defn

from heat_plugins.resources import legacy as resource
from tests.functional_heat import base


class TestLegacy(base.LegacyCase):

    def test_a_life(self):
        name = f'old-{uuid.uuid4().hex[:8]}'
        found = self.created(
            name=name, env=['A=b', 'SECRET=hush'], memory=64 * 2 ** 20,
            user='1000', hostname='old', labels={'tier': 'web'},
            read_only=True, cap_drop=['CHOWN'], tmpfs=['/t'], stop_timeout=2)
        inside = self.inspect(found)
        config, host = inside['Config'], inside['HostConfig']
        self.assertEqual(
            (f'/{name}', 64 * 2 ** 20, '1000', 'old', True, False), (
                inside['Name'], host['Memory'], config['User'],
                config['Hostname'], host['ReadonlyRootfs'],
                host['Privileged']))
        self.assertEqual(self.stack.id, config['Labels']['heat.stack_id'])
        time.sleep(0.3)
        shown = {name: found._resolve_attribute(name)
                 for name in resource.Container.attributes_schema
                 if name != 'show'}
        self.assertEqual(('first', 'last', 'first\nlast\n', None), tuple(
            shown[name] for name in ('logs_head', 'logs_tail', 'logs',
                                     'exit_code')))
        self.assertNotIn('hush', str(shown['info']))
        self.run_task(found.check)
        for act, running in (('suspend', False), ('resume', True)):
            self.run_task(getattr(found, act))
            self.assertEqual(running, self.inspect(found)['State']['Running'])
        self.update(found, memory=128 * 2 ** 20, name=f'{name}-new',
                    restart_policy={'Name': 'always'})
        after = self.inspect(found)
        self.assertEqual(
            (inside['Id'], 128 * 2 ** 20, 'always', f'/{name}-new'), (
                after['Id'], after['HostConfig']['Memory'],
                after['HostConfig']['RestartPolicy']['Name'],
                after['Name']))
        self.run_task(found.delete)
        self.assertEqual((found.DELETE, found.COMPLETE), found.state)

    def update(self, found, **values):
        after = {**dict(found.t._properties), **values}
        self.run_task(found.update, rsrc_defn.ResourceDefinition(
            found.name, found.type(), after))

    def test_ends_that_are_waited_for_and_others(self):
        """An end with code 0 is one; it used to wait until the timeout."""
        job = self.created(cmd=['true'], wait_for='completed')
        self.assertEqual(0, job._resolve_attribute('exit_code'))
        for command, code in ((['sh', '-c', 'echo why; exit 3'], 3),
                              (['true'], 0)):
            error = self.assertRaises(
                exception.ResourceFailure, self.created, cmd=command,
                wait_for='completed' if code else 'healthy',
                healthcheck={'test': ['CMD', 'true'], 'interval': '5s'})
            self.assertIn(f'exit code {code}', str(error))
        self.created(healthcheck={'test': ['CMD', 'true'],
                                  'interval': '1s'}, wait_for='healthy')

    def test_what_has_ended_or_is_gone_is_deleted(self):
        """A container that does not run could not be deleted."""
        for act in (lambda one: self.engine.kill(one),
                    lambda one: self.engine.remove_container(one,
                                                             force=True),
                    lambda one: self.engine.pause(one)):
            found = self.created()
            act(found.resource_id)
            self.run_task(found.delete)
            self.assertEqual((found.DELETE, found.COMPLETE), found.state)

    def test_a_deaf_process_and_its_volumes(self):
        found = self.created(cmd=['sh', '-c', 'trap : TERM; while true; do '
                                  'sleep 1; done'], stop_timeout=1,
                             restart_policy={'Name': 'always'})
        began = time.monotonic()
        self.run_task(found.delete)
        self.assertGreater(time.monotonic() - began, 0.9)

    def test_replacement_with_a_fixed_name(self):
        name = f'old-{uuid.uuid4().hex[:8]}'
        first = self.created(name=name)
        first.prepare_for_replace()
        second = self.created(name=name, cmd=['sleep', '60'], stop_timeout=0)
        self.run_task(second.delete)
        # The way back.
        first.restore_prev_rsrc(convergence=True)
        inside = self.inspect(first)
        self.assertEqual((f'/{name}', True), (
            inside['Name'], inside['State']['Running']))

    def test_a_lost_answer(self):
        """What was made although nobody heard of it is found, once."""
        found = self.created()
        container_id, found.resource_id = found.resource_id, None
        self.assertFalse(found.needs_replace_failed())
        self.assertEqual(container_id, found.resource_id)
        found.resource_id = None
        self.run_task(found.delete)
        self.assertNotIn(container_id, self.containers())

    def test_an_image_that_cannot_be_pulled(self):
        for values, text in (
                ({'image': 'localhost:1/none:x'}, 'cannot pull'),
                ({'image': 'none-of-this-name:x', 'pull_policy': 'never'},
                 'No such image')):
            error = self.assertRaises(exception.ResourceFailure,
                                      self.created, **values)
            self.assertIn(text, str(error))

    def test_live_state(self):
        found = self.created(memory=64 * 2 ** 20)
        self.engine.update_container(
            found.resource_id, mem_limit=32 * 2 ** 20, memswap_limit=-1)
        self.assertEqual(32 * 2 ** 20, found.get_live_state(
            found.properties)['memory'])
        self.engine.remove_container(found.resource_id, force=True)
        self.assertRaises(exception.EntityNotFound, found.get_live_state,
                          found.properties)
