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

"""Compose files as stacks: as a resource of a template, and as a command."""

import json
import os
from pathlib import Path
import shutil
import subprocess
import tempfile
import urllib.request

from lab import container_images
from lab import demo
from tests.integration import base

TEMPLATE = """
heat_template_version: 2021-04-16
parameters:
  services: {type: json}
  public: {type: string, default: public}
resources:
  app:
    type: OS::NovaDocker::ContainerGroup
    properties:
      services: {get_param: services}
      public_network: {get_param: public}
outputs:
  services: {value: {get_attr: [app, services]}}
  published: {value: {get_attr: [app, published]}}
  web: {value: {get_attr: [app, services, web, ids, 0]}}
"""


def serving(port, page='page'):
    return ['sh', '-c', f'mkdir -p /www; echo {page} > /www/index.html; '
            f'httpd -p {port} -h /www; trap exit TERM; sleep 600 & wait']


def services(wide=False, **changes):
    """A page, what it depends on, a job before it, and who has no part.

    :param wide: they have several networks, and only some of them in common
    """
    def networks(*names, **more):
        chosen = names if wide else ('default',)
        return {name: more.get(name) for name in chosen}
    aliases = {'aliases': ['database']}
    return {
        'web': {'image': 'busybox', 'command': serving(80),
                'ports': [{'target': 80, 'published': '80'}],
                'networks': networks('front', 'back'),
                'depends_on': {
                    'db': {'condition': 'service_healthy'},
                    'job': {'condition':
                            'service_completed_successfully'}},
                **changes},
        'db': {'image': 'busybox', 'command': serving(5432),
               'expose': ['5432'], 'networks': networks(
                   'back', 'side', back=aliases, default=aliases),
               'healthcheck': {'test': ['CMD', 'nc', '-w', '1', '127.0.0.1',
                                        '5432', '-e', 'true'],
                               'interval': '1s'}},
        'job': {'image': 'busybox', 'command': ['sh', '-c', 'sleep 1'],
                'networks': networks('back'), 'depends_on': ['db']},
        'worker': {'image': 'busybox', 'scale': 2,
                   'networks': networks('back'),
                   'command': ['sh', '-c', 'trap exit TERM; sleep 600 & '
                               'wait']},
    }


def page(address):
    try:
        with urllib.request.urlopen(f'http://{address}/', timeout=2) as reply:
            return reply.read().decode().strip()
    except OSError:
        return ''


class TestGroup(base.StackCase):

    wide = False

    def services(self, **changes):
        return services(self.wide, **changes)

    def test_services_of_a_group(self):
        stack_id = self.create_stack(TEMPLATE, services=json.dumps(
            self.services()))
        _, outputs = self.finish(stack_id, 'CREATE')
        ids = {name: one['ids'] for name, one
               in outputs['services'].items()}
        self.assertEqual({'web': 1, 'db': 1, 'job': 1, 'worker': 2},
                         {name: len(found) for name, found in ids.items()})
        servers = {name: self.tenant.compute.get_server(found[0])
                   for name, found in ids.items()}
        self.assertEqual('SHUTOFF', servers['job'].status)
        self.until(lambda: page(outputs['published']['web']) == 'page',
                   'the page comes from outside', 40)
        # By its names, and from who shares its network only on its port.
        web, db = servers['web'], servers['db']
        address = outputs['services']['db']['ips'][0]
        self.until(lambda: address in self.inside(web, 'nslookup', 'db')[1],
                   'db resolves', 20)
        self.assertIn(f'{address} database', self.inside(
            web, 'cat', '/etc/hosts')[1].replace('\t', ' '))
        self.assertTrue(self.reach(web, address, 5432))
        self.assertTrue(self.reach(servers['worker'], address, 5432))
        stranger = self.boot()
        self.assertFalse(self.reach(stranger, address, 5432))
        self.check_changes(stack_id, ids, db)

    def check_changes(self, stack_id, ids, db):
        """One service is scaled and another one changed; no other is."""
        before = self.container(db)['Id']
        changed = self.services(command=serving(80, 'other'))
        changed['worker']['scale'] = 3
        _, outputs = self.update_stack(stack_id, TEMPLATE,
                                       services=json.dumps(changed))
        after = {name: one['ids'] for name, one
                 in outputs['services'].items()}
        self.assertEqual(3, len(after['worker']))
        self.assertLess(set(ids['worker']), set(after['worker']))
        for name in ('web', 'db', 'job'):
            self.assertEqual(ids[name], after[name])
        self.assertEqual(before, self.container(db)['Id'])
        self.until(lambda: page(outputs['published']['web']) == 'other',
                   'the other page comes', 40)

    def test_what_is_refused_is_refused_before_anything_is_made(self):
        with self.assertRaisesRegex(Exception, 'services.web.privileged'):
            self.create_stack(TEMPLATE, services=json.dumps(
                self.services(privileged=True)))
        with self.assertRaisesRegex(Exception, 'services.web.ports'):
            self.create_stack(TEMPLATE, services=json.dumps(
                self.services(ports=[{'target': 80, 'published': '8080'}])))
        self.assertEqual([], list(self.tenant.orchestration.stacks()))


class TestCommand(base.LabCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)
        demo.upload_image(self.tenant, 'db', container_images.busybox())
        self.environment = {**os.environ, **self.layout.credentials('demo')}
        self.addCleanup(self.remove_images)

    def remove_images(self):
        for image in self.tenant.image.images(name='shop-web'):
            self.tenant.image.delete_image(image.id)
        subprocess.run(['docker', 'image', 'rm', '--force', 'shop-web'],
                       capture_output=True, check=False)

    def run_command(self, *arguments):
        return subprocess.run(
            ['nova-docker-compose', '-f', str(self.root / 'compose.yaml'),
             '-p', 'shop', *arguments], capture_output=True, text=True,
            env=self.environment, check=False)

    def good(self, *arguments):
        answer = self.run_command(*arguments)
        self.assertEqual(0, answer.returncode, answer.stderr)
        return answer

    def up(self):
        return self.good('up', '--build', '--public-network', 'public',
                         '--flavor', 'c1.tiny')

    def test_a_life(self):
        shutil.copy(container_images.BUSYBOX, self.root / 'busybox')
        (self.root / 'Dockerfile').write_text(
            'FROM scratch\nCOPY busybox /bin/busybox\n'
            'ENTRYPOINT ["/bin/busybox", "httpd", "-f", "-h", "/www"]\n')
        (self.root / 'www').mkdir()
        (self.root / 'www/index.html').write_text('by $compose\n')
        (self.root / 'compose.yaml').write_text(
            'services:\n'
            '  web: {build: ., ports: ["80:80"], depends_on: [db],'
            ' volumes: ["./www:/www:ro"]}\n'
            '  db: {image: db, command: [sh, -c, "echo ready; '
            'trap exit TERM; sleep 600 & wait"]}\n')
        answer = self.up()
        self.assertIn('web: CREATE_COMPLETE', answer.stderr)
        address = answer.stderr.rsplit('published at ', 1)[1].strip()
        self.until(lambda: page(address) == 'by $compose', 'the page', 40)
        listed = self.good('ps').stdout
        self.assertRegex(listed, r'(?m)^web +shop-web-\S+ +running')
        self.assertIn('| ready', self.good('logs', 'db').stdout)
        # The same content is in Glance once.
        (self.root / 'www/index.html').write_text('changed\n')
        self.assertIn('is in Glance', self.up().stderr)
        self.until(lambda: page(address) == 'changed', 'a change', 40)
        answer = self.run_command('logs', 'nobody')
        self.assertIn('no such service: nobody', answer.stderr)
        self.good('down')
        self.assertEqual([], list(self.tenant.compute.servers()))
        answer = self.run_command('ps')
        self.assertEqual((1, 'nova-docker-compose: there is no stack shop\n'),
                         (answer.returncode, answer.stderr))
