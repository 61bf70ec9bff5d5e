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

"""Many containers in nested groups, made and gone."""

import json

from tests.integration import base

GROUPS, SERVICES = 10, 20


class TestScale(base.StackCase):

    stack_patience = 1800

    def until(self, check, what, patience=1800):
        return super().until(check, what, patience)

    def test_two_hundred_in_ten_groups(self):
        services = {f's{number}': {
            'image': 'busybox', 'network_mode': 'none',
            'command': ['sh', '-c', 'trap exit TERM; sleep 99999 & wait']}
            for number in range(SERVICES)}
        stack_id = self.create_stack(json.dumps({
            'heat_template_version': '2021-04-16',
            'resources': {f'g{number}': {
                'type': 'OS::NovaDocker::ContainerGroup',
                'properties': {'services': services}}
                for number in range(GROUPS)},
            'outputs': {'ids': {'value': [
                {'get_attr': [f'g{number}', 'refs']}
                for number in range(GROUPS)]}}}))
        _, outputs = self.finish(stack_id, 'CREATE')
        ids = {one for group in outputs['ids'] for one in group}
        self.assertEqual(GROUPS * SERVICES, len(ids))
        self.assertEqual({'ACTIVE'}, {server.status for server
                                      in self.tenant.compute.servers()})
