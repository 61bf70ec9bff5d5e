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

"""Services that the world reaches, by what stands between."""

import json
import re
import urllib.request

from lab import cloud
from tests.integration import base


class TestPublishing(base.StackCase):
    """From this host, which is outside of the cloud, by the router."""

    def published(self, services, **properties):
        """A stack of services; answers its id and where they are."""
        stack_id = self.create_stack(self.template(services, properties))
        return stack_id, self.finish(stack_id, 'CREATE')[1]

    def template(self, services, properties):
        return json.dumps({
            'heat_template_version': '2021-04-16',
            'resources': {'group': {
                'type': 'OS::NovaDocker::ContainerGroup',
                'properties': {'services': services,
                               'public_network': 'public', **properties}}},
            'outputs': {'published': {'value': {
                'get_attr': ['group', 'published']}}}})

    def service(self, *ports, **more):
        self.image('web')
        return {'image': 'web', 'ports': [
            {'target': 80, 'published': str(port), 'protocol': 'tcp'}
            for port in ports], **more}

    def answering(self, address, port):
        """Names of the containers that answer there."""
        names = set()
        for _ in range(20):
            try:
                page = urllib.request.urlopen(f'http://{address}:{port}/',
                                              timeout=3).read().decode()
            except OSError:
                continue
            names |= set(re.findall(r'container (\S+)\.<', page))
        return names

    def answers(self, address, port, count):
        self.until(lambda: len(self.answering(address, port)) == count,
                   f'{count} answer at {address}:{port}', 60)

    def test_ports_of_one_address(self):
        _, outputs = self.published(
            {'web': self.service(8080), 'api': self.service(8081)},
            publish='port_forwarding')
        addresses = set(outputs['published'].values())
        self.assertEqual(1, len(addresses), outputs)
        address = addresses.pop()
        first = self.until(lambda: self.answering(address, 8080), 'web', 60)
        second = self.until(lambda: self.answering(address, 8081), 'api', 60)
        self.assertEqual([1, 1], [len(first), len(second)])
        self.assertNotEqual(first, second)

    def test_a_load_balancer(self):
        lab = cloud.Cloud(self.layout)
        self.made.callback(lab.stop_load_balancers)
        lab.start_load_balancers()
        choices = {'publish': 'load_balancer', 'lb_provider': 'ovn',
                   'lb_algorithm': 'SOURCE_IP_PORT'}
        stack_id, outputs = self.published(
            {'web': self.service(8080, scale=2)}, **choices)
        address = outputs['published']['web']
        self.answers(address, 8080, 2)
        _, outputs = self.update_stack(stack_id, self.template(
            {'web': self.service(8080, scale=3)}, choices))
        self.assertEqual(address, outputs['published']['web'])
        self.answers(address, 8080, 3)
