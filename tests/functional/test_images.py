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

import os
import random
import socket
import subprocess
import tempfile
import threading

from nova import exception

from lab import container_images
from nova_docker_driver import archive
from nova_docker_driver import engine
from nova_docker_driver import errors
from nova_docker_driver import imagemodels
from nova_docker_driver import models
from nova_docker_driver import names
from tests import archives
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
        self.glance.put(b'not a tar' * 9999)
        self.refused(exception.InvalidInput, 'not a tar', self.instance())

    def test_an_image_in_another_format(self):
        self.glance.container_format = 'bare'
        self.refused(exception.InvalidInput, 'container_format',
                     self.instance())

    def test_a_checksum_that_is_not_glances(self):
        self.glance.digest = '0' * 128
        self.refused(exception.InvalidInput, 'checksum', self.instance())
        with self.assertRaises(errors.NotFound):
            self.engine.image(names.image_tag(base.IMAGE_ID, '0' * 32))

    def test_a_flipped_byte(self):
        content = bytearray(self.glance.content)
        content[len(content) // 2] ^= 1
        self.glance.content = bytes(content)
        self.refused(exception.InvalidInput, 'checksum', self.instance())

    def test_a_stream_that_is_cut(self):
        """At each twentieth of it; nothing of it stays in the Engine."""
        whole = self.glance.content
        before = set(self.client.images(quiet=True, all=True))
        for part in range(20):
            self.glance.content = whole[:len(whole) * part // 20]
            self.refused(exception.ComputeResourcesUnavailable,
                         'did not arrive whole', self.instance())
        self.assertEqual(before,
                         set(self.client.images(quiet=True, all=True)))
        self.assertEqual([], os.listdir(f'{self.engine_root()}/tmp'))
        self.glance.content = whole
        self.spawn()

    def test_a_size_that_is_not_glances(self):
        self.glance.size = 10 ** 8
        self.refused(exception.ComputeResourcesUnavailable,
                     'of 100000000 bytes', self.instance())

    def engine_root(self):
        return self.client.info()['DockerRootDir']

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
        self.glance.put(container_images.archive('victim:1'))
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


class TestSamples(base.ContainerCase):
    """Archives of all kinds, beside an image of somebody else."""

    TAG = names.image_tag('sample')
    TERMS = imagemodels.Terms(TAG, 'amd64', imagemodels.ImageBounds(
        size=100 * models.MIB, members=5000))

    def setUp(self):
        super().setUp()
        self.client.import_image_from_data(
            container_images.tar({'x': b''}), repository='victim', tag='1')
        self.addCleanup(self.engine.remove_image, archives.VICTIM)

    def all(self):
        """Each image and each tag that the Engine knows."""
        return sorted((image['Id'], sorted(image['RepoTags'] or ()))
                      for image in self.client.images(all=True))

    def load(self, content):
        verdict = imagemodels.Verdict()
        self.engine.load(archive.rewrite([content], self.TERMS, verdict))
        return verdict.image_id

    def test_no_tag_of_the_host_moves(self):
        before = self.all()
        for sample in archives.SAMPLES:
            with self.subTest(sample.name):
                if sample.refused:
                    with self.assertRaises(errors.InvalidImage):
                        self.load(sample.make())
                else:
                    image_id = self.load(sample.make())
                    self.assertEqual(image_id,
                                     self.engine.image(self.TAG).id)
                    self.engine.remove_image(self.TAG)
                self.assertEqual(before, self.all())

    def test_archives_with_something_done_to_them(self):
        """Those that we let pass make our tag, or the Engine refuses them."""
        chance, before, passed = random.Random(7), self.all(), 0
        seeds = [archives.tar(archives.saved(tag=archives.VICTIM)),
                 archives.tar(archives.oci())]
        for _ in range(400):
            content = bytearray(chance.choice(seeds))
            for _ in range(chance.randint(1, 3)):
                content[chance.randrange(len(content))] = chance.randrange(
                    256)
            try:
                image_id = self.load(bytes(content))
            except (errors.InvalidImage, errors.InvalidRequest):
                continue
            passed += 1
            self.assertEqual(image_id, self.engine.image(self.TAG).id)
            self.engine.remove_image(self.TAG)
        self.assertEqual(before, self.all())
        self.assertLess(5, passed)

    def test_the_layers_of_others_cannot_be_had(self):
        """The Engine itself hands them out to whoever knows their digest."""
        secret = archives.layer({'secret': b'canary'})
        self.load(archives.tar(archives.saved([secret])))
        self.addCleanup(self.engine.remove_image, self.TAG)
        for layers in ([archives.layer()], [b'']):
            with self.assertRaises(errors.InvalidImage):
                self.load(archives.tar(archives.saved(
                    layers, description=archives.config([secret]))))


class TestImages(base.ContainerCase):

    def test_sixty_four_first_boots_are_one_transfer(self):
        instances = [self.instance('command: sleep 600') for _ in range(64)]
        loads, load = [], self.engine.load

        def counted(content):
            loads.append(1)
            load(content)
        self.engine.load = counted
        calls = []
        original = self.glance.download

        def download(context, image_id, **more):
            calls.append(image_id)
            return original(context, image_id, **more)
        self.glance.download = download
        threads = [threading.Thread(target=self.spawn_instance,
                                    args=(instance,))
                   for instance in instances]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((1, 1), (len(calls), len(loads)))
        for instance in instances:
            self.assertEqual('running',
                             self.lifecycle.inspect(instance).status)

    def test_the_image_that_runs_is_the_one_that_was_inspected(self):
        instance = self.spawn()
        verdict = imagemodels.Verdict()
        for _ in archive.rewrite([self.glance.content],
                                 imagemodels.Terms('x'), verdict):
            pass
        self.assertEqual(verdict.image_id,
                         self.lifecycle.inspect(instance).image)
