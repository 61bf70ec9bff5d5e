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

"""Each command of the documentation, run as it stands there."""

import os
from pathlib import Path
import subprocess
import tempfile

from heat_plugins import clients
from lab import container_images
from lab import layout as lab_layout
from tests.commands import pages
from tests.integration import base
import yaml

_PATIENCE = 600


class TestPages(base.LabCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.here = Path(directory.name)
        (self.here / 'clouds.yaml').write_text(yaml.safe_dump({'clouds': {
            name: {'auth': {
                'auth_url': self.layout.url('keystone') + '/v3',
                'username': user, 'project_name': user,
                'password': lab_layout.PASSWORD,
                'user_domain_name': 'Default',
                'project_domain_name': 'Default'},
                'region_name': 'RegionOne', 'identity_api_version': 3}
            for name, user in (('mycloud', 'demo'), ('admin', 'admin'))}}))
        # What readers have in their own Docker.
        self.engine.load_image(container_images.archive('web:1.0'))
        (self.here / 'Dockerfile').write_text(
            'FROM web:1.0\nCMD ["httpd", "-f", "-p", "80", "-h", "/etc"]\n')
        self.addCleanup(self.remove_images)
        self.addCleanup(self.remove_what_pages_made)

    def remove_images(self):
        for tag in ('web:1.0', 'shop-web'):
            if self.engine.images(tag):
                self.engine.remove_image(tag, force=True)

    def remove_what_pages_made(self):
        for image in self.admin.image.images():
            if image.name in ('web', 'shop-web', 'registry-placeholder'):
                self.admin.image.delete_image(image)
        for group in self.tenant.network.security_groups(name='web'):
            self.tenant.network.delete_security_group(group)
        for aggregate in list(self.admin.compute.aggregates()):
            for host in aggregate.hosts or ():
                self.admin.compute.remove_host_from_aggregate(
                    aggregate, host)
            self.admin.compute.delete_aggregate(aggregate)
        flavor = self.admin.compute.find_flavor('c2.small')
        if flavor:
            self.admin.compute.delete_flavor(flavor)

    def run_page(self, page, **words):
        """All of a page in one shell; answers what was printed."""
        lines = ['set -euxo pipefail']
        for block in pages.blocks(page):
            if block.name:
                (self.here / block.name).write_text(block.text)
            if block.kind == 'console':
                lines.append(block.text)
        script = '\n'.join(lines)
        for word, value in words.items():
            script = script.replace(word, value)
        answer = subprocess.run(
            ['bash', '-c', script], cwd=self.here, timeout=_PATIENCE,
            capture_output=True, text=True, env={
                **{name: value for name, value in os.environ.items()
                   if not name.startswith('OS_')},
                'OS_CLOUD': 'mycloud',
                'PATH': f'{self.layout.bin}:{os.environ["PATH"]}'})
        self.assertEqual(0, answer.returncode,
                         answer.stdout[-2000:] + answer.stderr[-4000:])
        return answer.stdout

    def test_every_page_with_commands_is_run(self):
        self.assertEqual(['compose', 'images', 'operator', 'tenant'],
                         pages.pages())

    def test_first_container(self):
        output = self.run_page('tenant')
        # The page that it serves, and the address of the template's.
        self.assertIn('root:x:0:0', output)
        self.assertRegex(output, r'10\.20\.0\.\d+')

    def test_compose(self):
        self.run_page_after_image('compose')
        self.assertEqual([], list(self.tenant.orchestration.stacks()))

    def run_page_after_image(self, page):
        self.image()
        self.tenant.image.create_image(
            name='web', container_format='docker', disk_format='raw',
            data=container_images.archive('web:1.0'))
        return self.run_page(page)

    def test_images(self):
        self.run_page('images')
        self.assertEqual(
            {'web'}, {image.name for image in self.tenant.image.images()
                      if image.name == 'web'})

    def test_enable_it(self):
        host, = self.layout.hosts
        output = self.run_page('operator', compute1=host.nova_name)
        self.assertIn(clients.LOADER, output)
        self.check_isolation()

    def check_isolation(self):
        """Only flavors that ask for containers come to the host now."""
        self.assertEqual('ERROR', self.wait(
            self.create(flavor='c1.tiny'), 'ERROR', 'ACTIVE').status)
        self.assertEqual('ACTIVE', self.wait(
            self.create(flavor='c2.small'), 'ERROR', 'ACTIVE').status)
