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

"""The commands for tenants, with Glance and the local Engine as doubles."""

import argparse
import io
from pathlib import Path
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import docker.errors
from osc_lib import exceptions
import requests.exceptions

from nova_docker_client import images
from nova_docker_client import plugin
from nova_docker_client import sources
from tests import archives


class Cloud:
    """Keeps what is uploaded."""

    def __init__(self):
        self.image = self
        self.client_manager = self

    def create_image(self, data, **values):
        self.content = data.read()
        self.values = values
        return mock.Mock(id='1')

    def get_image(self, image_id):
        values = self.values
        return mock.Mock(to_dict=lambda: {
            'id': '1', 'name': values['name'], 'status': 'active',
            'size': len(self.content), 'container_format': 'docker',
            'properties': {'hypervisor_type': 'docker'}})


class CommandCase(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.cloud = Cloud()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / 'web.tar.gz'
        self.engine = mock.Mock()
        self.engine.get_image.side_effect = lambda reference, chunk_size: iter(
            [self.archive])
        self.engine.pull.return_value = []
        self.archive = archives.tar(archives.saved())
        self.enterContext(mock.patch.object(
            sources.docker, 'APIClient', return_value=self.engine))

    def run_command(self, kind, *arguments):
        command = kind(self.cloud, argparse.Namespace())
        parsed = command.get_parser('x').parse_args(
            ['--architecture', 'amd64', *arguments])
        return dict(zip(*command.take_action(parsed), strict=True))

    def save(self, *arguments):
        return self.run_command(images.SaveImage, *arguments)

    def import_(self, *arguments):
        return self.run_command(images.ImportImage, *arguments)

    def refused(self, reason, act, *arguments):
        with self.assertRaisesRegex(exceptions.CommandError, reason):
            act(*arguments)
        self.assertFalse(hasattr(self.cloud, 'content'))


class TestSave(CommandCase):

    def test_an_image_of_the_local_engine(self):
        shown = self.save('registry.example.org/team/web:1', '--public',
                          '--property', 'os_command_line=sh')
        self.assertEqual(self.archive, self.cloud.content)
        self.assertEqual({
            'name': 'web:1', 'container_format': 'docker',
            'disk_format': 'raw', 'allow_duplicates': True,
            'use_import': False, 'visibility': 'public',
            'hypervisor_type': 'docker', 'hw_architecture': 'x86_64',
            'os_command_line': 'sh'}, self.cloud.values)
        self.assertEqual('web:1', shown['name'])
        self.assertEqual(
            "hw_architecture='x86_64', hypervisor_type='docker', "
            "os_command_line='sh'", shown['properties'].human_readable())

    def test_what_a_host_would_refuse(self):
        self.archive = archives.tar(archives.saved(
            [archives.layer({'proc': b''})]))
        self.refused('would refuse the image: its /proc', self.save, 'web')
        self.archive = archives.tar(archives.many_platforms('arm64'))
        self.refused('arm64', self.save, 'web')

    def test_no_such_image_and_no_engine(self):
        self.engine.get_image.side_effect = docker.errors.ImageNotFound(
            'x', explanation='No such image: web')
        self.refused('web: No such image', self.save, 'web')
        self.engine.get_image.side_effect = (
            requests.exceptions.ConnectionError('gone'))
        self.refused('the Docker Engine of this machine', self.save, 'web')
        sources.docker.APIClient.side_effect = docker.errors.DockerException(
            'gone')
        self.refused('the Docker Engine of this machine', self.save, 'web')


class TestImport(CommandCase):

    def test_an_archive(self):
        self.path.write_bytes(archives.COMPRESSIONS['gzip'](self.archive))
        self.import_(str(self.path), '--name', 'mine')
        self.assertEqual(self.path.read_bytes(), self.cloud.content)
        self.assertEqual('mine', self.cloud.values['name'])
        self.import_(str(self.path))
        self.assertEqual('web', self.cloud.values['name'])

    def test_a_root_file_system(self):
        self.path.write_bytes(archives.layer())
        self.import_(str(self.path), '--rootfs')
        self.assertEqual('rootfs', self.cloud.values['docker_image_format'])

    def test_files_that_are_none(self):
        self.path.write_bytes(b'text' * 999)
        self.refused('not a tar', self.import_, str(self.path))
        self.refused('is no file', self.import_, '/absent', '--rootfs')
        with mock.patch.object(Path, 'is_file', return_value=True):
            self.refused('No such file', self.import_, '/absent')

    def test_a_reference_that_the_local_engine_pulls(self):
        self.import_('registry.example.org/team/web')
        self.engine.pull.assert_called_once_with(
            'registry.example.org/team/web:latest', stream=True, decode=True)
        self.import_('registry.example.org/team/web:2')
        self.assertEqual('registry.example.org/team/web:2',
                         self.engine.pull.call_args[0][0])

    def test_a_pull_that_fails(self):
        self.engine.pull.return_value = [{'status': 'x'}, {'error': 'denied'}]
        self.refused('team/web: denied', self.import_, 'team/web')

    def test_a_reference_alone(self):
        self.import_('--reference', 'team/web:1')
        self.assertEqual(('web', 'docker.io/team/web:1', b'\n'), (
            self.cloud.values['name'], self.cloud.values['docker_image_ref'],
            self.cloud.content))
        self.refused_again = self.cloud.__dict__.pop('content')
        self.refused('not an image reference', self.import_, '--reference',
                     'http://x')


class TestProgress(unittest.TestCase):

    def test_a_person_sees_how_far_it_is(self):
        for total, words in ((4, '] 100 %'), (0, 'MB')):
            screen = io.StringIO()
            screen.isatty = lambda: True
            with mock.patch.object(sys, 'stderr', screen):
                progress = images._Progress('Uploading', False, total)
                self.assertEqual([b'ab', b'cd'],
                                 list(progress.of([b'ab', b'cd'])))
            self.assertIn(words, screen.getvalue())

    def test_others_see_nothing(self):
        for quiet, terminal in ((True, True), (False, False)):
            screen = io.StringIO()
            screen.isatty = lambda terminal=terminal: terminal
            with mock.patch.object(sys, 'stderr', screen):
                list(images._Progress('x', quiet).of([b'a']))
            self.assertEqual('', screen.getvalue())


class TestPlugin(unittest.TestCase):

    def test_it_has_no_client_and_no_options(self):
        self.assertIsNone(plugin.make_client(None))
        parser = plugin.build_option_parser(argparse.ArgumentParser())
        self.assertEqual('1', vars(parser.parse_args([]))[
            plugin.API_VERSION_OPTION])

    def test_it_needs_no_nova(self):
        """A tenant's machine has none."""
        code = ('import sys; sys.modules["nova"] = None; '
                'import nova_docker_client.images')
        subprocess.run([sys.executable, '-c', code], check=True)
