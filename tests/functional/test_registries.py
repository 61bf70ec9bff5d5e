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

"""Images of registries: Debian's docker-registry on loopback."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import threading
import unittest
from unittest import mock
import uuid

from nova.compute import utils as compute_utils
from nova import exception
from nova import objects

from lab import container_images
from nova_docker_driver import engine
from nova_docker_driver import errors
from nova_docker_driver import flights
from nova_docker_driver import imagemodels
from nova_docker_driver import images
from nova_docker_driver import names
from nova_docker_driver import registry
from tests import archives
from tests import conservation
from tests.functional import base
from tests import private_engine
from tests import registries


class RegistryCase(base.ContainerCase):

    authenticated = False

    def setUp(self):
        # Last of all: also containers are gone by then.
        own = conservation.engine()
        self.addCleanup(own.close)
        self.known = self.all(own)
        self.addCleanup(lambda: self.assertEqual(self.known, self.all(own)))
        self.addCleanup(self.remove_pulled, own)
        super().setUp()
        # There is no database here.
        self.enterContext(mock.patch.object(objects.Instance, 'save'))
        self.enterContext(mock.patch.object(compute_utils, 'EventReporter',
                                            mock.MagicMock()))
        self.registry = registries.Registry(authenticated=self.authenticated)
        self.addCleanup(self.registry.stop)
        self.registry.start()
        self.reference = f'{self.registry.domain}/team/web:1'
        self.push('team/web:1')
        # A placeholder: it has no data that would be fetched.
        self.glance.put(b'-')
        self.glance.properties = {'docker_image_ref': self.reference}
        self.use(allowed=(self.registry.domain,))

    def rebuild(self, instance):
        self.lifecycle.rebuild(None, instance, objects.ImageMeta(
            id=base.IMAGE_ID), [], None, self.policy)

    def push(self, repository, **settings):
        self.registry.push(self.client, container_images.archive(
            f'local-{uuid.uuid4().hex[:8]}:1', config=settings), repository,
            self.authenticated)

    def use(self, **rules):
        terms = imagemodels.Terms('', 'amd64')
        self.pulls = registry.Registry(
            self.engine, terms, imagemodels.RegistryRules(**rules), None)
        self.lifecycle._images = images.Images(
            self.engine, self.glance, terms, 5, self.pulls)

    def all(self, client):
        """Each image and its names."""
        return {image['Id']: sorted(image['RepoTags'] or ())
                for image in client.images(all=True)}

    def remove_pulled(self, client):
        for image in client.images(f'{names.IMAGE_NAMESPACE}/reference'):
            for tag in image['RepoTags']:
                if tag.startswith(f'{names.IMAGE_NAMESPACE}/reference:'):
                    client.remove_image(tag)

    def refused(self, reason, user_data='',
                kind=exception.InvalidInput):
        instance = self.instance(user_data)
        with self.assertRaisesRegex(kind, reason):
            self.spawn_instance(instance)


class TestRegistry(RegistryCase):

    def test_a_server_runs_what_its_image_names(self):
        instance = self.spawn()
        found = self.lifecycle.inspect(instance)
        self.assertEqual('running', found.status)
        image = self.client.inspect_image(found.image)
        self.assertEqual([], image['RepoDigests'])
        self.assertTrue([tag for tag in image['RepoTags'] if tag.startswith(
            'nova-docker/reference:')])
        self.assertTrue(instance.system_metadata[
            'docker_image_digest'].startswith('sha256:'))

    def test_a_rebuild_runs_the_same_bytes(self):
        """Whatever its tag has become in the registry."""
        instance = self.spawn()
        before = self.lifecycle.inspect(instance).image
        self.push('team/web:1', Env=['NEW=1'])
        self.rebuild(instance)
        self.assertEqual(before, self.lifecycle.inspect(instance).image)
        instance.user_data = base64.b64encode(
            b'#docker-config\ncommand: sleep 600\npull_policy: always'
        ).decode()
        self.rebuild(instance)
        self.assertNotEqual(before, self.lifecycle.inspect(instance).image)

    def test_the_specification_names_another_one(self):
        self.push('team/other:2', Env=['OTHER=1'])
        instance = self.spawn(
            f'image: {self.registry.domain}/team/other:2\n'
            'command: sleep 600')
        self.assertIn('OTHER=1', self.run_inside(instance, 'env'))

    def test_what_is_refused(self):
        self.refused('not among', 'image: evil.example.org/x')
        self.refused('does not give',
                     f'image: {self.registry.domain}/team/absent')
        self.refused('never', 'pull_policy: never')
        self.use(allowed=())
        self.refused('not among')
        self.glance.properties = {}
        self.refused('docker_image_ref', f'image: {self.reference}')

    def test_images_that_are_not_to_be_run(self):
        for settings, reason in (
                ({'Labels': {names.ROLE_LABEL: 'server'}}, 'reserved label'),
                ({'WorkingDir': '/proc/self/fd/7'}, 'working directory')):
            self.push('team/web:1', **settings)
            self.refused(reason)

    def test_one_pull_for_all(self):
        before = threading.active_count()
        instances = [self.instance('command: sleep 600') for _ in range(8)]
        pulls, pull = [], self.engine.pull

        def counted(*arguments):
            pulls.append(arguments)
            return pull(*arguments)
        self.engine.pull = counted
        threads = [threading.Thread(target=self.spawn_instance,
                                    args=(instance,))
                   for instance in instances]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(1, len(pulls))
        self.assertEqual(before, threading.active_count())

    def test_a_registry_that_is_away(self):
        self.registry.stop()
        self.refused('does not answer',
                     kind=exception.ComputeResourcesUnavailable)

    def test_a_pull_that_stalls_or_takes_too_long(self):
        layer = archives.layer({'x': os.urandom(300_000)})
        hanging = registries.HangingRegistry(archives.config([layer]), layer)
        self.addCleanup(hanging.stop)
        self.glance.properties = {'docker_image_ref': f'{hanging.domain}/x'}
        self.use(allowed=(hanging.domain,), stall_timeout=1)
        self.refused('does not arrive',
                     kind=exception.ComputeResourcesUnavailable)


class TestAuthentication(RegistryCase):

    authenticated = True

    def credentials(self, **values):
        return imagemodels.Credential(
            **{'references': (f'{self.registry.domain}/team/*',),
               'projects': ('friend',), 'username': registries.USER,
               'password': registries.PASSWORD, **values})

    def test_whom_the_credentials_serve(self):
        self.use(allowed=(self.registry.domain,),
                 credentials=(self.credentials(),))
        request = imagemodels.Request('x', 'image', reference=self.reference,
                                      project='friend')
        with self.lifecycle._images.held(request):
            pass
        # It is on the host now, and still not a stranger's.
        stranger = imagemodels.Request(
            'x', 'image', reference=self.reference, project='stranger')
        with self.assertRaisesRegex(errors.InvalidImage, 'does not give'):
            with self.lifecycle._images.held(stranger):
                self.fail('it is not for strangers')

    def test_credentials_in_a_file(self):
        path = self.files / 'config.json'
        auth = base64.b64encode(
            f'{registries.USER}:{registries.PASSWORD}'.encode()).decode()
        path.write_text(json.dumps(
            {'auths': {self.registry.domain: {'auth': auth}}}))
        self.addCleanup(path.unlink, missing_ok=True)
        self.use(allowed=(self.registry.domain,), credentials=(
            self.credentials(config_file=str(path), projects=('*',)),))
        self.spawn()

    def test_what_the_user_of_the_process_has_is_not_used(self):
        """The SDK would show it to every registry that asks."""
        self.use(allowed=(self.registry.domain,))
        with self.engine._call() as client:
            client._auth_configs.add_auth(self.registry.domain, {
                'username': registries.USER,
                'password': registries.PASSWORD})
        self.refused('does not give')


class TestCertificates(unittest.TestCase):
    """TLS, and an authority of the operator's own."""

    ADDRESS = '192.0.2.77'

    def setUp(self):
        super().setUp()
        self.private = private_engine.PrivateEngine()
        self.addCleanup(self.private.remove)
        self.private.start()
        inside = ('nsenter', f'--net=/proc/{self.private.pid}/ns/net')
        for command in (('ip', 'link', 'set', 'lo', 'up'),
                        ('ip', 'address', 'add', f'{self.ADDRESS}/32', 'dev',
                         'lo')):
            subprocess.run([*inside, *command], check=True)
        self.registry = registries.Registry(self.ADDRESS, tls=True,
                                            inside=inside)
        self.addCleanup(self.registry.stop)
        self.registry.start()
        self.trusted = registries.CERTIFICATES / self.registry.domain
        self.addCleanup(shutil.rmtree, self.trusted, ignore_errors=True)

    def trust(self):
        self.trusted.mkdir(parents=True)
        (self.trusted / 'ca.crt').write_bytes(self.registry.authority)

    def test_the_authority_decides(self):
        port = engine.Engine(self.private.endpoint, 60, 60)
        with contextlib.closing(self.private.client()) as client:
            self.trust()
            self.registry.push(client, archives.tar(archives.saved(
                [container_images._layer({})])), 'web:1')
            shutil.rmtree(self.trusted)
            pulls = registry.Registry(
                port, imagemodels.Terms('', 'amd64'),
                imagemodels.RegistryRules((self.registry.domain,)), None)
            request = imagemodels.Request(
                'x', 'image', reference=f'{self.registry.domain}/web:1')
            with self.assertRaisesRegex(errors.TransferFailed,
                                        'certificate|x509'):
                pulls.resolve(request)
            self.trust()
            pinned = pulls.resolve(request)
            image = pulls.pull(pinned, flights.Flight())
            self.assertEqual([pinned.tag], client.inspect_image(
                image.id)['RepoTags'])
