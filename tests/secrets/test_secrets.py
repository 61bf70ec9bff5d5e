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

import hashlib
import json
import uuid

from openstack import exceptions
import yaml

from lab import cloud
from lab import configuration
from tests.integration import base
from tests.integration import test_images
from tests import registries

TEMPLATE = """
heat_template_version: 2021-04-16
parameters:
  word: {type: string}
  known: {type: string}
resources:
  secret:
    type: OS::Barbican::Secret
    properties:
      {name: password, payload: {get_param: word},
       payload_content_type: text/plain}
  c:
    type: OS::NovaDocker::Container
    properties:
      image: busybox
      flavor: c1.tiny
      networks: [{network: private}]
      environment_secrets:
        {PASSWORD: {get_resource: secret}, KNOWN: {get_param: known}}
      command:
        [sh, -c, "trap exit TERM; printf %s $PASSWORD | sha256sum;
         sleep 600 & wait"]
  nested:
    type: OS::Heat::ResourceGroup
    properties:
      count: 1
      resource_def:
        type: OS::NovaDocker::Container
        properties:
          image: busybox
          flavor: c1.tiny
          networks: [{allocate_network: none}]
          environment_secrets: {PASSWORD: {get_resource: secret}}
          command: [sh, -c, "test -n $PASSWORD"]
          wait_for: completed
outputs:
  id: {value: {get_resource: c}}
  logs: {value: {get_attr: [c, logs]}}
"""


def keep(case, payload, connection=None):
    """The id of a secret of the tenant's, or of another one's."""
    manager = (connection or case.tenant).key_manager
    secret = manager.create_secret(
        name='test', payload=payload, payload_content_type='text/plain')
    found = secret.secret_ref.rpartition('/')[2]
    case.addCleanup(manager.delete_secret, found)
    return found


class TestSecrets(base.StackCase):
    """Variables whose values are in a real Barbican."""

    def setUp(self):
        cloud.Cloud(base.lab()).start_key_manager()
        super().setUp()
        self.canary = f'canary{uuid.uuid4().hex}'

    def spec(self, **secrets):
        return yaml.safe_dump({
            **yaml.safe_load(base.LASTING),
            'x-nova': {'environment_secrets': secrets}})

    def digest(self):
        return hashlib.sha256(self.canary.encode()).hexdigest()

    def assert_not_logged(self):
        """Barbican's own log is not ours to judge."""
        logs = [path for path in self.layout.logs.glob('nova-*.log')]
        self.assertGreater(len(logs), 3)
        self.assertEqual(set(), {
            path.name for path in logs + [self.layout.logs / 'heat-engine.log']
            if self.canary in path.read_text(errors='replace')})

    def test_a_server_has_what_its_tenant_may_read(self):
        server = self.boot(self.spec(PASSWORD=keep(self, self.canary)))
        self.assertEqual(self.canary, self.inside(
            server, 'sh', '-c', 'printf %s "$PASSWORD"')[1])
        others = keep(self, self.canary, self.admin)
        failed = self.wait(self.create(self.spec(TAKEN=others)), 'ERROR')
        self.assertIn('x-nova.environment_secrets.TAKEN: the key manager '
                      'does not give it', failed.fault['message'])
        self.assert_not_logged()

    def test_a_stack_makes_its_own(self):
        known = keep(self, self.canary)
        stack_id = self.create_stack(TEMPLATE, word=self.canary, known=known)
        _, outputs = self.finish(stack_id, 'CREATE')
        self.assertIn(self.digest(), outputs['logs'])
        server = outputs['id']
        self.assert_not_logged()
        self.canary = f'canary{uuid.uuid4().hex}'
        _, outputs = self.update_stack(stack_id, TEMPLATE, word=self.canary,
                                       known=known)
        self.assertEqual(server, outputs['id'])
        self.until(lambda: self.digest() in self.finish(
            stack_id, 'UPDATE')[1]['logs'], 'the new process has it')
        with self.assertRaisesRegex(exceptions.HttpException,
                                    'environment_secrets: PASSWORD: '):
            self.tenant.orchestration.update_stack(
                stack_id, template=TEMPLATE.replace(
                    '{get_resource: secret}', str(uuid.uuid4())),
                parameters={'word': self.canary, 'known': known})
        self.assert_not_logged()


class TestRegistries(test_images.RegistryCase):

    def setUp(self):
        cloud.Cloud(base.lab()).start_key_manager()
        super().setUp()

    def placeholder(self, secret=''):
        registry = configuration.REGISTRY
        image = self.raw_image('placeholder', b'-')
        properties = {'docker_image_ref': f'{registry}/team/web:1'}
        if secret:
            properties['docker_registry_secret'] = secret
        self.tenant.image.update_image(image, **properties)
        return image

    def test_one_that_wants_a_password(self):
        self.registry(authenticated=True)
        secret = keep(self, json.dumps(
            {'username': registries.USER, 'password': registries.PASSWORD}))
        server = self.boot(image=self.placeholder(secret))
        self.assertIn('test-', self.inside(server, 'cat', '/unique')[1])
        for image, reason in (
                (self.placeholder(), 'the registry does not give'),
                (self.placeholder(keep(self, 'x')), 'is not a JSON mapping'),
                (self.placeholder(str(uuid.uuid4())),
                 'the key manager does not give it')):
            self.assertIn(reason, self.fault(image=image))
