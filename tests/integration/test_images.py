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

"""Images through the real Glance, and registries, for tenants of the lab."""

import base64
import gzip
import json
import os
from pathlib import Path
import subprocess
import tempfile

import openstack.exceptions

from lab import configuration
from lab import container_images
from nova_docker_driver import names
from tests import archives
from tests import conservation
from tests.integration import base
from tests import registries


class ImageCase(base.LabCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def unique(self, **config):
        """An archive that no other test has."""
        name = f'test-{os.urandom(4).hex()}'
        return container_images.archive(f'{name}:1', {
            'unique': (name, 0o644)}, config)

    def fault(self, *args, **kwargs):
        server = self.wait(self.create(*args, **kwargs), 'ERROR')
        return server.fault['message']


class TestForms(ImageCase):

    def test_an_oci_layout_and_a_root_file_system(self):
        layer = container_images._layer({})
        for image in (
                self.raw_image('oci', gzip.compress(archives.tar(
                    archives.oci([layer], gzip.compress)))),
                self.raw_image('rootfs', layer, 'bare')):
            if image and self.tenant.image.get_image(
                    image).container_format == 'bare':
                self.tenant.image.update_image(
                    image, docker_image_format='rootfs')
            server = self.boot(image=image)
            self.assertIn('root:x', self.inside(server, 'cat',
                                                '/etc/passwd')[1])

    def test_hostile_images_say_why_they_are_refused(self):
        wanted = ('a hard link', 'a name upwards', 'a gzip bomb',
                  '/proc as a file', 'the layers of somebody else')
        for sample in archives.SAMPLES:
            if sample.name in wanted:
                self.assertRegex(self.fault(image=self.raw_image(
                    'hostile', sample.make())), sample.refused)


class TestRights(ImageCase):

    def test_the_private_image_of_another_project(self):
        """Its layers are on the host, and it is 404 all the same."""
        image = self.admin.image.create_image(
            name='private', container_format='docker', disk_format='raw',
            data=self.unique(), visibility='private', allow_duplicates=True)
        self.addCleanup(self.admin.image.delete_image, image.id)
        server = self.admin.compute.create_server(
            name='private', image_id=image.id, networks='none',
            user_data=base64.b64encode(
                f'#docker-config\n{base.LASTING}'.encode()).decode(),
            flavor_id=self.admin.compute.find_flavor('c1.tiny').id)
        try:
            self.until(lambda: self.admin.compute.get_server(
                server).status == 'ACTIVE', 'it is ACTIVE')
            self.assertTrue(self.engine.images(
                f'{names.IMAGE_NAMESPACE}/{image.id}'))
            with self.assertRaises(openstack.exceptions.BadRequestException):
                self.create(image=image.id)
        finally:
            self.admin.compute.delete_server(server)
            self.admin.compute.wait_for_delete(server)

    def test_the_same_tag_in_two_images(self):
        """Each server gets the bytes of its own."""
        servers = [self.boot(networks='none', image=self.raw_image(
            name, container_images.archive('web:1', {
                'whose': (name, 0o644)}))) for name in ('one', 'two')]
        self.assertEqual(['one', 'two'], [
            self.inside(server, 'cat', '/whose')[1].strip()
            for server in servers])


class RegistryCase(ImageCase):
    """Servers of images that a registry has, which hosts pull."""

    def setUp(self):
        # After the servers.
        self.addCleanup(self.remove_pulled)
        super().setUp()

    def registry(self, authenticated=False):
        found = registries.Registry(
            port=int(configuration.REGISTRY.rpartition(':')[2]),
            authenticated=authenticated)
        self.addCleanup(found.stop)
        found.start()
        found.push(self.engine, self.unique(), 'team/web:1', authenticated)
        return found

    def remove_pulled(self):
        client = conservation.engine()
        for image in client.images(f'{names.IMAGE_NAMESPACE}/reference'):
            for tag in image['RepoTags']:
                client.remove_image(tag)
        client.close()


class TestRegistry(RegistryCase):

    def test_a_placeholder(self):
        registry = self.registry()
        shown = self.command('import', '--reference',
                             f'{registry.domain}/team/web:1')
        server = self.boot(image=shown['id'])
        self.assertIn('test-', self.inside(server, 'cat', '/unique')[1])
        action = next(self.tenant.compute.server_actions(server))
        events = self.tenant.compute.get_server_action(
            action.request_id, server.id).events
        self.assertIn('docker_pull_image',
                      {event['event'] for event in events})
        self.assertIn('not among', self.fault('image: evil.example.org/x',
                                              image=shown['id']))

    def command(self, *arguments):
        return run_command(self, *arguments)


class TestCommands(ImageCase):

    def test_save_and_import(self):
        """As a tenant does it whose Docker has an image."""
        path = self.directory / 'web.tar'
        path.write_bytes(self.unique())
        loaded = ''.join(line.get('stream', '') for line
                         in self.engine.load_image(path.read_bytes()))
        tag = loaded.partition('Loaded image: ')[2].strip()
        self.addCleanup(self.remove, tag)
        for shown in (run_command(self, 'save', tag),
                      run_command(self, 'import', str(path))):
            self.assertEqual(('active', 'docker', 'x86_64'), (
                shown['status'], shown['properties']['hypervisor_type'],
                shown['properties']['hw_architecture']))
            server = self.boot(image=shown['id'])
            self.assertIn('test-', self.inside(server, 'cat', '/unique')[1])

    def remove(self, tag):
        client = conservation.engine()
        client.remove_image(tag, force=True)
        client.close()

    def test_what_a_host_would_refuse_is_not_uploaded(self):
        path = self.directory / 'bad.tar'
        path.write_bytes(archives.tar(archives.saved(
            [archives.layer({'proc': b''})])))
        before = {image.id for image in self.tenant.image.images()}
        answer = run(self, 'import', str(path))
        self.assertIn('its /proc is no directory', answer.stderr)
        self.assertEqual(1, answer.returncode)
        self.assertEqual(before,
                         {image.id for image in self.tenant.image.images()})


def run(test, *arguments):
    return subprocess.run(
        [str(test.layout.bin / 'openstack'), 'docker', 'image',
         *arguments], capture_output=True, text=True,
        env={**os.environ, **test.layout.credentials('demo')})


def run_command(test, *arguments):
    """What the command shows of the image, which goes with the test."""
    answer = run(test, *arguments, '-f', 'json')
    test.assertEqual(0, answer.returncode, answer.stderr)
    shown = json.loads(answer.stdout)
    test.addCleanup(test.tenant.image.delete_image, shown['id'])
    return shown
