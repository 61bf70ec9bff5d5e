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

"""Images through Nova's API: where they come from, and what becomes of them.

Glance is Nova's fixture; registries are Debian's docker-registry.
"""

import gzip
import lzma
import tempfile
from unittest import mock
import uuid

from nova import context
from nova import exception

from lab import container_images
from nova_docker_driver import names
from tests.api import base
from tests import archives
from tests import conservation
from tests import registries


class ImagesCase(base.ApiCase):

    def snapshot(self, server, name='snapshot'):
        """Answers the id of the image that it becomes."""
        self.api.post_server_action(server['id'],
                                    {'createImage': {'name': name}})
        self.until(lambda: any(
            image['name'] == name and image['status'] == 'active'
            for image in self.glance.images.values()))
        self.until(lambda: self.api.get_server(server['id'])[
            'OS-EXT-STS:task_state'] is None)
        return next(image_id for image_id, image in self.glance.images.items()
                    if image['name'] == name)

    def write(self, server, path):
        self.inside(server, 'sh', '-c', f'echo precious > {path}')

    def read(self, server, path):
        return self.inside(server, 'cat', path).strip()

    def forget(self, *image_ids):
        """The Engine has nothing of these images."""
        for image_id in image_ids:
            conservation.remove_images(self.engine, image_id)

    def act(self, server, name, expected):
        self.api.post_server_action(server['id'], {name: None})
        return self._wait_for_state_change(server, expected)

    def fault(self, server):
        return self.api.get_server(server['id'])['fault']['message']


class TestForms(ImagesCase):

    def test_an_oci_layout(self):
        layer = container_images._layer({})
        image = self.image(lzma.compress(archives.tar(archives.oci(
            [layer], gzip.compress))))
        self.assertIn('root:x', self.inside(self.boot(image=image), 'cat',
                                            '/etc/passwd'))

    def test_a_root_file_system_and_its_snapshot(self):
        for compress in (bytes, gzip.compress, archives.COMPRESSIONS['zstd']):
            content = compress(container_images._layer({}))
            image = self.image(content)
            self.glance.images[image].update(container_format='bare')
            self.glance.images[image]['properties'][
                'docker_image_format'] = 'rootfs'
            server = self.boot(image=image)
            self.write(server, '/data')
        # It inherits the property, and is no root file system any more.
        made = self.snapshot(server)
        self.assertEqual('precious', self.read(self.boot(image=made),
                                               '/data'))

    def test_what_is_refused_tells_why(self):
        image = self.image(archives.tar(archives.saved(
            [archives.layer({'proc': b''})])))
        for _ in range(2):
            server = self.boot(image=image, expected='ERROR')
            self.assertIn('its /proc is no directory', self.fault(server))
        self.assertEqual(1, self.glance.downloads.count(image))

    def test_the_tags_and_labels_of_others(self):
        """What an image claims to be moves nothing on the host."""
        self.engine.import_image_from_data(
            container_images.tar({'x': b''}), repository='victim', tag='1')
        self.addCleanup(self.engine.remove_image, archives.VICTIM)
        before = self.engine.inspect_image(archives.VICTIM)['Id']
        server = self.boot(image=self.image(container_images.archive(
            archives.VICTIM, config={'Labels': {
                names.INSTANCE_LABEL: 'x', 'team': 'web'}})))
        self.assertEqual(before,
                         self.engine.inspect_image(archives.VICTIM)['Id'])
        labels = self.container(server)['Config']['Labels']
        self.assertEqual((server['id'], 'web'), (
            labels[names.INSTANCE_LABEL], labels['team']))


class TestRights(ImagesCase):

    def test_what_is_on_the_host_is_not_everybodys(self):
        """Glance's answer to this request decides, not the cache."""
        image = self.image(container_images.archive('private:1', {
            'secret': ('x', 0o644)}))
        self.boot(image=image)
        # As if the right were lost between the API and the host.
        service = self.compute.manager.driver._images._service
        self.enterContext(mock.patch.object(
            service, 'get', side_effect=exception.ImageNotFound(
                image_id=image)))
        server = self.boot(image=image, expected='ERROR')
        self.assertIn('not in Glance', self.fault(server))


class TestSecrets(ImagesCase):

    def test_a_snapshot_tells_nothing_of_its_server(self):
        """Not in its layers, not in its configuration, not in its history."""
        canaries = [f'canary-{uuid.uuid4().hex}' for _ in range(4)]
        server = self.boot(
            f'command: [sh, -c, "trap exit TERM; echo {canaries[0]}; '
            'sleep 600 & wait"]\n'
            f'environment: {{PASSWORD: {canaries[1]}}}\n'
            f'labels: {{team: {canaries[2]}}}\n'
            f'secrets: [{{target: key, content: {canaries[3]}}}]')
        self.write(server, '/data')
        content = self.glance._imagedata[self.snapshot(server)]
        self.assertIn(b'precious', content)
        for secret in (*canaries, server['id'], names.LABEL_PREFIX):
            self.assertNotIn(secret.encode(), content)


class TestCache(ImagesCase):

    def test_an_aggregate_has_its_images_ahead(self):
        image = self.image(base.busybox('cached:1'))
        aggregate = self.admin_api.post_aggregate(
            {'aggregate': {'name': 'a', 'availability_zone': None}})
        self.admin_api.add_host_to_aggregate(aggregate['id'], base.HOST)
        self.admin_api.api_post(
            f'/os-aggregates/{aggregate["id"]}/images',
            {'cache': [{'id': image}]}, check_response_status=[202])
        self.until(lambda: self.engine.images(
            f'{names.IMAGE_NAMESPACE}/{image}'))
        self.boot(image=image)
        self.assertEqual(1, self.glance.downloads.count(image))

    def test_what_nobody_uses_is_removed(self):
        used, unused = (self.image(container_images.archive(
            f'{name}:1', {name: ('x', 0o644)})) for name in ('a', 'b'))
        self.boot(image=used)
        self._delete_server(self.boot(image=unused))
        self.flags(remove_unused_original_minimum_age_seconds=0,
                   group='image_cache')
        self.flags(instances_path=self.enterContext(
            tempfile.TemporaryDirectory()))
        self.compute.manager._run_image_cache_manager_pass(
            context.get_admin_context())
        self.assertEqual([], self.engine.images(
            f'{names.IMAGE_NAMESPACE}/{unused}'))
        self.assertTrue(self.engine.images(f'{names.IMAGE_NAMESPACE}/{used}'))


class TestThinSnapshots(ImagesCase):

    def _setup_compute_service(self):
        self.flags(snapshot_layers='new', group='docker')
        return super()._setup_compute_service()

    def test_only_what_is_new_is_uploaded(self):
        server = self.boot()
        self.write(server, '/one')
        first = self.snapshot(server, 'first')
        record = self.glance.images[first]
        self.assertLess(record['size'],
                        self.glance.images[base.IMAGE_ID]['size'] / 10)
        self.assertEqual(base.IMAGE_ID,
                         record['properties']['docker_base_image'])
        second = self.boot(image=first)
        self.write(second, '/two')
        third = self.snapshot(second, 'second')
        self.assertEqual(first, self.glance.images[third]['properties'][
            'docker_base_image'])
        for one in (server, second):
            self._delete_server(one)
        # Another host has nothing of all this.
        self.forget(base.IMAGE_ID, first, third)
        other = self.boot(image=third)
        self.assertEqual(['precious'] * 2, [
            self.read(other, path) for path in ('/one', '/two')])

    def test_nothing_is_new(self):
        made = self.snapshot(self.boot())
        self.assertLess(self.glance.images[made]['size'], 10_000)
        self.forget(base.IMAGE_ID, made)
        self.boot(image=made)

    def test_shelving(self):
        server = self.boot()
        self.write(server, '/data')
        self.act(server, 'shelve', 'SHELVED_OFFLOADED')
        self.act(server, 'unshelve', 'ACTIVE')
        self.assertEqual('precious', self.read(server, '/data'))

    def test_without_its_base_it_is_whole(self):
        image = self.image(base.busybox('gone:1'))
        server = self.boot(image=image)
        self.write(server, '/data')
        self.glance.delete(None, image)
        made = self.snapshot(server)
        self.assertNotIn('docker_base_image',
                         self.glance.images[made]['properties'])
        self.assertEqual('precious', self.read(self.boot(image=made),
                                               '/data'))

    def test_a_base_that_is_not_there_any_more(self):
        image = self.image(container_images.archive('gone:1', {
            'unique': ('x', 0o644)}))
        server = self.boot(image=image)
        made = self.snapshot(server)
        self._delete_server(server)
        self.glance.delete(None, image)
        self.forget(image, made)
        server = self.boot(image=made, expected='ERROR')
        self.assertIn(f'the image {image} that it stands on',
                      self.fault(server))


class TestRegistries(ImagesCase):

    def setUp(self):
        self.registry = registries.Registry()
        self.addCleanup(self.registry.stop)
        self.registry.start()
        # After the containers.
        self.addCleanup(self.remove_pulled, self.registry, self.endpoint)
        super().setUp()
        self.push('team/web:1')
        self.placeholder = self.image(b'-')
        self.glance.images[self.placeholder]['properties'][
            'docker_image_ref'] = f'{self.registry.domain}/team/web:1'

    def _setup_compute_service(self):
        self.flags(allowed_registries=[self.registry.domain], group='docker')
        return super()._setup_compute_service()

    @staticmethod
    def remove_pulled(registry, endpoint):
        client = conservation.engine(endpoint)
        registry.remove_pulled(client)
        client.close()

    def push(self, repository, **config):
        self.registry.push(self.engine, base.busybox(
            f'local-{uuid.uuid4().hex[:8]}:1', config=config), repository)

    def test_a_server_of_a_placeholder(self):
        server = self.boot(image=self.placeholder)
        image = self.container(server)['Image']
        action, = self.api.api_get(
            f'/servers/{server["id"]}/os-instance-actions').body[
                'instanceActions']
        events = self.admin_api.api_get(
            f'/servers/{server["id"]}/os-instance-actions/'
            f'{action["request_id"]}').body['instanceAction']['events']
        self.assertLessEqual(
            {('docker_resolve_image', 'Success'),
             ('docker_pull_image', 'Success')},
            {(event['event'], event['result']) for event in events})
        # The tag moves; the server keeps what it has.
        self.push('team/web:1', Env=['NEW=1'])
        self.api.post_server_action(server['id'], {'rebuild': {
            'imageRef': self.placeholder}})
        self._wait_for_state_change(server, 'ACTIVE')
        self.assertEqual(image, self.container(server)['Image'])
        self.assertNotEqual(image, self.container(
            self.boot(image=self.placeholder))['Image'])

    def test_its_snapshot_is_its_own(self):
        """Although it inherits the property, and user data names another."""
        self.push('team/other:1')
        server = self.boot(
            f'{base.LASTING}\nimage: {self.registry.domain}/team/other:1',
            image=self.placeholder)
        self.write(server, '/data')
        self.act(server, 'shelve', 'SHELVED_OFFLOADED')
        self.registry.stop()
        self.act(server, 'unshelve', 'ACTIVE')
        self.assertEqual('precious', self.read(server, '/data'))

    def test_what_is_refused(self):
        server = self.boot('image: evil.example.org/x', 'ERROR',
                           self.placeholder)
        self.assertIn('evil.example.org/x is not among', self.fault(server))
        server = self.boot(f'image: {self.registry.domain}/team/web:1',
                           'ERROR')
        self.assertIn('docker_image_ref', self.fault(server))
