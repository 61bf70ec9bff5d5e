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

"""Bad input with a named fault, and images on their way."""

import hashlib
import socket
import subprocess
import tempfile
import threading

from nova import exception

from lab import container_images
from nova_docker_driver import archive
from nova_docker_driver import engine
from nova_docker_driver import errors
from nova_docker_driver import names
from tests.functional import base


class TestBadInput(base.ContainerCase):
    """Each fault has a name, and nothing is left of it."""

    def refused(self, kind, reason, instance, **meta):
        with self.assertRaisesRegex(kind, reason):
            self.spawn_instance(instance, **meta)
        self.assertEqual([], self.engine.containers(instance.uuid))

    def test_a_command_that_the_image_lacks(self):
        self.refused(exception.BuildAbortException, 'not found',
                     self.instance('command: [no-such-program]'))

    def test_a_directory_as_command(self):
        self.refused(exception.BuildAbortException, 'cannot be started',
                     self.instance('command: [/tmp]'))

    def test_out_of_memory_at_start(self):
        self.refused(
            exception.BuildAbortException, 'memory|exit code 137|OOM',
            self.instance('command: [sh, -c, "x=$(yes); sleep 600"]\n'
                          'healthcheck: {test: "true"}\n'
                          'x-nova: {wait_for: healthy, wait_timeout: 30}',
                          memory=6))

    def test_a_process_that_ends_at_once(self):
        self.refused(exception.BuildAbortException, 'exit code 4.*bye',
                     self.instance(
                         'command: [sh, -c, "echo bye; exit 4"]\n'
                         'healthcheck: {test: "true"}\n'
                         'x-nova: {wait_for: healthy}'))

    def test_an_image_that_is_no_archive(self):
        self.glance.content = b'not a tar' * 9999
        self.refused(exception.InvalidInput, 'docker save', self.instance())

    def test_an_image_in_another_format(self):
        self.refused(exception.InvalidInput, 'container_format',
                     self.instance(), container_format='bare')

    def test_a_checksum_that_is_not_glances(self):
        self.glance.digest = '0' * 128
        self.refused(exception.InvalidInput, 'checksum', self.instance())
        with self.assertRaises(errors.NotFound):
            self.engine.image(names.image_tag(base.IMAGE_ID))

    def test_a_flipped_byte(self):
        content = bytearray(self.glance.content)
        content[len(content) // 2] ^= 1
        self.glance.content = bytes(content)
        self.refused(exception.InvalidInput, 'checksum', self.instance())

    def test_a_stream_that_is_cut(self):
        self.glance.content = self.glance.content[:len(
            self.glance.content) // 2]
        self.refused(exception.InvalidInput, 'ends|tar', self.instance())

    def test_a_foreign_container_with_our_name(self):
        instance = self.instance()
        self.client.import_image_from_data(
            container_images.tar({'x': b''}), repository='foreign')
        self.addCleanup(self.engine.remove_image, 'foreign')
        foreign = self.client.create_container(
            'foreign', ['x'], name=names.container(instance.uuid))['Id']
        self.addCleanup(self.engine.remove, foreign)
        self.refused(exception.ComputeResourcesUnavailable,
                     'not of this driver', instance)
        self.assertTrue(self.client.inspect_container(foreign))

    def test_the_tags_of_others_do_not_move(self):
        self.client.import_image_from_data(
            container_images.tar({'x': b''}), repository='victim', tag='1')
        self.addCleanup(self.engine.remove_image, 'victim:1')
        before = self.client.inspect_image('victim:1')['Id']
        self.glance.content = container_images.archive('victim:1')
        self.glance.digest = hashlib.sha512(self.glance.content).hexdigest()
        self.spawn()
        self.assertEqual(before, self.client.inspect_image('victim:1')['Id'])

    def test_no_engine_and_a_wrong_socket(self):
        with tempfile.TemporaryDirectory() as directory:
            for path in (f'{directory}/none', '/etc/passwd'):
                with self.assertRaises(errors.EngineUnavailable):
                    engine.Engine(f'unix://{path}', 2, 2).facts()

    def test_a_socket_without_permission(self):
        code = ('from nova_docker_driver import engine; import os; '
                'os.setgid(65534); os.setuid(65534); '
                f'engine.Engine("unix://{self.files}/s", 2, 2).facts()')
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f'{self.files}/s')
            self.files.chmod(0o755)
            (self.files / 's').chmod(0o600)
            listener.listen()
            answer = subprocess.run(
                ['python', '-c', code], capture_output=True, text=True)
        (self.files / 's').unlink()
        self.assertIn('permission denied', answer.stderr)


class TestImages(base.ContainerCase):

    def test_eight_first_boots_are_one_transfer(self):
        instances = [self.instance('command: sleep 600') for _ in range(8)]
        calls = []
        original = self.glance.download

        def download(context, image_id):
            calls.append(image_id)
            return original(context, image_id)
        self.glance.download = download
        threads = [threading.Thread(target=self.spawn_instance,
                                    args=(instance,))
                   for instance in instances]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(1, len(calls))
        for instance in instances:
            self.assertEqual('running',
                             self.lifecycle.inspect(instance).status)

    def test_the_image_that_runs_is_the_one_that_was_inspected(self):
        instance = self.spawn()
        verdict = archive.Verdict()
        for _ in archive.rewrite(self.glance.download(None, ''), 'x',
                                 verdict):
            pass
        self.assertEqual(verdict.image_id,
                         self.lifecycle.inspect(instance).image)
