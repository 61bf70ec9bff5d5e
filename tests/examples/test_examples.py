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

"""The example templates, launched as they are."""

from pathlib import Path
import re
import socket
import socketserver
import urllib.error
import urllib.request

from lab import cloud
from lab import configuration
from lab import container_images
from tests import agents
from tests.integration import base
from tests import registries
from tests import relays

TEMPLATES = Path(__file__).parents[2] / 'etc/heat/templates'


def template(name):
    return (TEMPLATES / f'{name}.yaml').read_text()


class _Forward(socketserver.BaseRequestHandler):
    """Passes on to the same port of this host's loopback."""

    def handle(self):
        port = self.server.server_address[1]
        with socket.create_connection(('127.0.0.1', port)) as there:
            relays.join(self.request, there)


class TestExamples(base.StackCase):

    def create_stack(self, text, **parameters):
        return self.tenant.orchestration.create_stack(
            name='test', template=text, parameters=parameters,
            files=self.files_of(text)).id

    def update_stack(self, stack_id, text, **parameters):
        self.tenant.orchestration.update_stack(
            stack_id, template=text, parameters=parameters,
            files=self.files_of(text))
        return self.finish(stack_id, 'UPDATE')

    def files_of(self, text):
        """As a client sends them: what a template names beside it."""
        return {path.name: path.read_text() for path
                in TEMPLATES.glob('*_member.yaml') if path.name in text}

    def launched(self, name, **parameters):
        stack_id = self.create_stack(template(name), **parameters)
        return stack_id, self.finish(stack_id, 'CREATE')[1]

    def changed(self, stack_id, name, **parameters):
        return self.update_stack(stack_id, template(name), **parameters)[1]

    def environment(self, server_id):
        return self.engine.inspect_container(f'nova-{server_id}')['Config'][
            'Env']

    def test_web_db_migrate(self):
        _, outputs = self.launched('web_db_migrate')
        self.assertRegex(outputs['migrated'], r'migrated 10\.')

    def test_autoscaling(self):
        stack_id, outputs = self.launched('autoscaling')
        self.assertEqual(2, outputs['size'])
        self.tenant.orchestration.post(
            f'/stacks/test/{stack_id}/resources/more/signal', json={})
        outputs = self.until(lambda: self.grown(stack_id), 'it grows', 60)
        before = set(outputs['ids'])
        outputs = self.changed(stack_id, 'autoscaling', word='two', size='3')
        # Anew in place, one by one: the same servers.
        self.assertEqual(before, set(outputs['ids']))
        for server_id in outputs['ids']:
            self.assertIn('WORD=two', self.environment(server_id))

    def grown(self, stack_id):
        # The group's own stack is another one, which is still busy first.
        outputs = {one['output_key']: one['output_value'] for one in
                   self.tenant.orchestration.get_stack(stack_id).outputs}
        busy = [stack for stack in self.tenant.orchestration.get(
            '/stacks?show_nested=True').json()['stacks']
            if stack['stack_status'].endswith('IN_PROGRESS')]
        return outputs if outputs['size'] == 3 and not busy else None

    def test_stable_ports(self):
        stack_id, outputs = self.launched('stable_ports')
        self.assertEqual(2, len(set(outputs['addresses'])))
        after = self.changed(stack_id, 'stable_ports', word='two')
        self.assertEqual(outputs['addresses'], after['addresses'])
        for server_id in after['ids']:
            self.assertIn('WORD=two', self.environment(server_id))

    def test_wait_condition(self):
        """The signal comes from inside, through the cloud's router."""
        self.forward('heat')
        # The lab's catalogue has addresses that only this host reaches.
        text = template('wait_condition').replace(
            '"$ENDPOINT"', '"$(echo $ENDPOINT | sed s/127.0.0.1/'
            f'{configuration.PUBLIC_GATEWAY}/)"')
        _, outputs = self.finish(self.create_stack(text), 'CREATE')
        self.assertIn('from inside', str(outputs['said']))

    def forward(self, *services):
        """Containers reach the lab's services at the public gateway."""
        for service in services:
            port = self.layout.port(service)
            relays.serve(self, (configuration.PUBLIC_GATEWAY, port), _Forward)

    def test_software_deployment(self):
        """Heat's own agent applies it inside, and again when it changes."""
        self.forward('keystone', 'heat')
        image = self.image('agent', agents.image(
            configuration.PUBLIC_GATEWAY, self.layout.port('keystone'),
            self.layout.port('heat')))
        stack_id, outputs = self.launched('software_deployment', image=image)
        self.assertEqual('hello from configured', outputs['said'].strip())
        started = self.started(outputs['id'])
        outputs = self.changed(stack_id, 'software_deployment', image=image,
                               greeting='good evening')
        self.assertEqual('good evening from configured',
                         outputs['said'].strip())
        # The same process has applied both.
        self.assertEqual(started, self.started(outputs['id']))

    def started(self, server_id):
        return self.engine.inspect_container(f'nova-{server_id}')['State'][
            'StartedAt']

    def test_load_balancer(self):
        """Octavia with OVN as its provider; what it balances, answers."""
        lab = cloud.Cloud(self.layout)
        self.made.callback(lab.stop_load_balancers)
        lab.start_load_balancers()
        choices = {'protocol': 'TCP', 'algorithm': 'SOURCE_IP_PORT'}
        self.image('web')
        client = self.boot()
        stack_id, outputs = self.launched('load_balancer', **choices)
        self.until(lambda: len(self.answering(client, outputs)) == 2,
                   'both answer', 60)
        outputs = self.changed(stack_id, 'load_balancer', members='3',
                               **choices)
        self.until(lambda: len(self.answering(client, outputs)) == 3,
                   'all three answer', 60)

    def answering(self, client, outputs):
        """The names of containers that answer at the one address."""
        pages = self.inside(client, 'sh', '-c', (
            'for attempt in $(seq 20); do timeout 3 wget -q -O - '
            f'http://{outputs["address"]}/; done'))[1]
        return set(re.findall(r'container (\S+)\.<', pages))

    def test_mixed_cloud(self):
        lab = cloud.Cloud(self.layout)
        self.made.callback(lab.stop_virtual_machines)
        lab.start_virtual_machines()
        vm_image = self.tenant.image.create_image(
            name='vm', container_format='bare', disk_format='raw',
            data=b'\0' * 64, hypervisor_type='fake', validate_checksum=False,
            allow_duplicates=True)
        self.made.callback(self.tenant.image.delete_image, vm_image.id)
        _, outputs = self.launched('mixed_cloud', vm_image=vm_image.id)
        hosts = {name: self.admin.compute.get_server(
            outputs[name]).compute_host for name in ('vm', 'container')}
        self.assertEqual({
            'vm': self.layout.vm_host,
            'container': self.layout.hosts[0].nova_name}, hosts)

    def test_plain_server(self):
        _, outputs = self.launched('plain_server')
        self.assertIn('WORD=hello', self.environment(outputs['id']))

    def test_compose_group(self):
        _, outputs = self.launched('compose_group')

        def answers():
            try:
                urllib.request.urlopen(f'http://{outputs["address"]}/',
                                       timeout=2)
            except urllib.error.HTTPError:
                return True
            except OSError:
                return False
        self.until(answers, 'it answers', 40)

    def test_registry_image(self):
        registry = registries.Registry(
            port=int(configuration.REGISTRY.rpartition(':')[2]))
        # After the stack, whose image its Engine uses.
        self.made.callback(registry.remove_pulled, self.engine)
        self.made.callback(registry.stop)
        registry.start()
        registry.push(self.engine, container_images.busybox(), 'team/web:1')
        _, outputs = self.launched(
            'registry_image', reference=f'{registry.domain}/team/web:1')
        self.assertTrue(self.engine.inspect_container(
            f'nova-{outputs["id"]}')['State']['Running'])
