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

"""References, credentials and what is pulled for whom."""

import base64
import dataclasses
import json
import os
from pathlib import Path
import tempfile
import time
import unittest
from unittest import mock

from nova_docker_driver import credentials
from nova_docker_driver import engine
from nova_docker_driver import errors
from nova_docker_driver import flights
from nova_docker_driver import imagecache
from nova_docker_driver import imagemodels
from nova_docker_driver import images
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import references
from nova_docker_driver import registry
from nova_docker_driver import servers
from tests.unit.nova_docker_driver import fakes

DIGEST = 'sha256:' + '1' * 64
OTHER = 'sha256:' + '2' * 64
NAME = 'registry.example.org/team/web'


class TestReferences(unittest.TestCase):

    def test_forms(self):
        for text, whole in (
                ('nginx', 'docker.io/library/nginx:latest'),
                ('nginx:1.27', 'docker.io/library/nginx:1.27'),
                ('team/web', 'docker.io/team/web:latest'),
                ('index.docker.io/nginx', 'docker.io/library/nginx:latest'),
                ('localhost/web', 'localhost/web:latest'),
                ('127.0.0.1:5000/web', '127.0.0.1:5000/web:latest'),
                ('[::1]:5000/web:2', '[::1]:5000/web:2'),
                (NAME + ':1', NAME + ':1'),
                (f'{NAME}@{DIGEST}', f'{NAME}@{DIGEST}'),
                (f'{NAME}:1@{DIGEST}', f'{NAME}:1@{DIGEST}')):
            self.assertEqual(whole, str(references.parse(text)), text)

    def test_what_is_none(self):
        for text in ('', ' nginx', 'nginx\n', 'NGINX', 'a//b', '/a', 'a/',
                     'a:', 'a@sha256:1', 'a:b:c', '../a', 'http://x/a',
                     'user@host/a', 'x.y:99999999/a', 'a b', 'é', 'x' * 300,
                     '-x.y/a', 'a@md5:' + '1' * 32):
            with self.assertRaises(ValueError, msg=text):
                references.parse(text)

    def test_what_patterns_admit(self):
        web = references.parse(NAME)
        for pattern, admits in (
                ('registry.example.org', True), (NAME, True),
                ('registry.example.org/*', True),
                ('registry.example.org/team/*', True),
                ('registry.example.org/other/*', False),
                ('registry.example', False), ('example.org', False),
                ('*', True), ('docker.io', False),
                ('registry.example.org/team', False)):
            self.assertEqual(admits, references.is_admitted(web, [pattern]),
                             pattern)
        self.assertFalse(references.is_admitted(web, []))


class TestCredentials(unittest.TestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.path = self.directory / 'config.json'

    def read(self, config, domain='registry.example.org'):
        self.path.write_text(json.dumps(config))
        return credentials.read(str(self.path), domain)

    def test_a_file(self):
        auth = base64.b64encode(b'me:canary').decode()
        config = {'auths': {'registry.example.org': {'auth': auth}}}
        self.assertEqual(('me', 'canary'), (
            self.read(config)['username'], self.read(config)['password']))
        self.assertEqual({}, self.read(config, 'other.example.org'))
        self.assertEqual({}, self.read(config, 'docker.io'))

    def test_a_helper(self):
        helper = self.directory / 'docker-credential-x'
        helper.write_text('#!/bin/sh\nread server\necho "{\\"Username\\": '
                          '\\"me\\", \\"Secret\\": \\"$server\\"}"\n')
        helper.chmod(0o755)
        self.enterContext(mock.patch.dict(os.environ, {
            'PATH': f'{self.directory}:{os.environ["PATH"]}'}))
        found = self.read({'credHelpers': {'registry.example.org': 'x'}})
        self.assertEqual(('me', 'registry.example.org'), (
            found['Username'], found['Password']) if 'Username' in found
            else (found['username'], found['password']))

    def test_a_file_that_is_not_there_or_empty(self):
        """The SDK would take what the user of the process has."""
        home = self.directory / 'home'
        (home / '.docker').mkdir(parents=True)
        (home / '.docker/config.json').write_text(json.dumps({'auths': {
            'registry.example.org': {'auth': base64.b64encode(
                b'admin:canary').decode()}}}))
        self.enterContext(mock.patch.dict(os.environ, {'HOME': str(home)}))
        with self.assertRaises(errors.CredentialsUnavailable):
            credentials.read('/nowhere/config.json', 'registry.example.org')
        self.assertEqual({}, self.read({}))

    def test_a_helper_that_is_not_there(self):
        with self.assertRaisesRegex(errors.CredentialsUnavailable,
                                    'registry.example.org'):
            self.read({'credHelpers': {'registry.example.org': 'absent'}})


class RegistryCase(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.engine = fakes.Engine()
        self.engine.authorizations = []
        self.engine.settings = {}
        self.engine.progress = [('a', 5), ('b', 2)]
        self.engine.distributions = {
            NAME + ':1': (DIGEST, frozenset({'amd64', 'arm64'})),
            f'{NAME}@{DIGEST}': (DIGEST, frozenset({'amd64'}))}
        self.secrets = mock.Mock(return_value=json.dumps(
            {'username': 'mine', 'password': 'canary'}).encode())
        self.rules = imagemodels.RegistryRules(
            ('registry.example.org',), (
                imagemodels.Credential(('registry.example.org/team/*',),
                                       ('p1',), username='operator',
                                       password='canary'),))
        self.pins = {}
        self.bounds = imagemodels.ImageBounds()

    @property
    def registry(self):
        return registry.Registry(
            self.engine, imagemodels.Terms('', 'amd64', self.bounds),
            self.rules, self.secrets)

    def request(self, **values):
        return imagemodels.Request(
            'context', 'image', **{'reference': NAME + ':1', **values},
            pin=lambda reference, digest: self.pins.update(
                {reference: digest}))


class TestResolve(RegistryCase):

    def refused(self, reason, error=errors.InvalidImage, secret='',
                **values):
        with self.assertRaisesRegex(error, reason):
            self.registry.resolve(self.request(**values), secret)

    def test_a_tag_becomes_a_digest(self):
        found = self.registry.resolve(self.request())
        self.assertEqual(f'{NAME}@{DIGEST}', found.reference)
        self.assertEqual({NAME + ':1': DIGEST}, self.pins)
        self.assertTrue(names.is_cached(found.tag))

    def test_the_server_keeps_its_digest(self):
        self.engine.distributions[NAME + ':1'] = (OTHER, frozenset())
        pinned = {NAME + ':1': DIGEST}
        self.assertEqual(f'{NAME}@{DIGEST}', self.registry.resolve(
            self.request(pinned=pinned)).reference)
        self.assertEqual(f'{NAME}@{OTHER}', self.registry.resolve(
            self.request(pinned=pinned, pull_policy='always')).reference)

    def test_what_is_not_allowed(self):
        self.refused('not among', reference='evil.example.org/web')
        self.refused('not an image reference', reference='http://x')
        self.rules = imagemodels.RegistryRules()
        self.refused('not among')
        self.assertEqual([], self.engine.calls)

    def test_whom_the_operators_credentials_serve(self):
        self.registry.resolve(self.request(project='p1'))
        self.registry.resolve(self.request(project='p2'))
        self.assertEqual([{'username': 'operator', 'password': 'canary'}, {}],
                         self.engine.authorizations)
        self.engine.distributions['registry.example.org/other:latest'] = (
            DIGEST, frozenset())
        self.registry.resolve(self.request(
            project='p1', reference='registry.example.org/other'))
        self.assertEqual({}, self.engine.authorizations[2])

    def test_credentials_in_a_file(self):
        self.rules = dataclasses.replace(self.rules, credentials=(
            imagemodels.Credential(('registry.example.org',), ('*',),
                                   config_file='/x'),))
        with mock.patch.object(credentials, 'read',
                               return_value={'username': 'u'}) as read:
            self.registry.resolve(self.request(project='any'))
        read.assert_called_once_with('/x', 'registry.example.org')
        self.assertEqual([{'username': 'u'}], self.engine.authorizations)

    def test_a_secret_of_the_tenants(self):
        self.registry.resolve(self.request(project='p1'), 'secret')
        self.secrets.assert_called_once_with('context', 'secret')
        self.assertEqual([{'username': 'mine', 'password': 'canary'}],
                         self.engine.authorizations)
        for content in (b'x', b'[]', b'{}', b'[' * 100_000):
            self.secrets.return_value = content
            self.refused('secret is not', secret='secret')
        self.secrets.side_effect = errors.SecretUnavailable('Forbidden')
        self.refused('secret: Forbidden', secret='secret')

    def test_nothing_secret_is_shown(self):
        found = self.registry.resolve(self.request(project='p1'))
        self.assertNotIn('canary', repr(found) + repr(self.rules))

    def test_answers_of_the_registry(self):
        for problem, error, reason in (
                (errors.NotFound('x'), errors.InvalidImage, 'does not give'),
                (errors.NotAuthorized('x'), errors.InvalidImage,
                 'does not give'),
                (errors.EngineUnavailable('x'), errors.EngineUnavailable, ''),
                (errors.EngineError('x'), errors.TransferFailed,
                 'does not answer')):
            self.engine.failures = {'distribution': [problem]}
            self.refused(reason, error)

    def test_another_architecture(self):
        self.engine.distributions[NAME + ':1'] = (DIGEST,
                                                  frozenset({'arm64'}))
        self.refused('is for arm64; this host is amd64')


class TestPull(RegistryCase):

    def setUp(self):
        super().setUp()
        self.pinned = self.registry.resolve(self.request())

    def pull(self):
        return self.registry.pull(self.pinned, flights.Flight())

    def refused(self, reason, error=errors.InvalidImage):
        with self.assertRaisesRegex(error, reason):
            self.pull()
        self.assertEqual({}, self.engine.known_images)

    def test_only_our_tag_is_left(self):
        self.assertEqual('sha256:pulled', self.pull().id)
        self.assertEqual({self.pinned.tag}, set(self.engine.known_images))

    def test_what_was_there_stays(self):
        self.engine.known_images[self.pinned.reference] = 'an operator\'s'
        self.pull()
        self.assertEqual({self.pinned.tag, self.pinned.reference},
                         set(self.engine.known_images))

    def test_what_is_not_to_be_run(self):
        for settings, reason in (
                ({'Labels': {names.ROLE_LABEL: 'server'}}, 'reserved'),
                ({'WorkingDir': '/proc/self/fd/8'}, 'working directory'),
                ({'Volumes': {'/': {}}}, 'volume')):
            self.engine.settings = settings
            self.refused(reason)

    def test_too_large(self):
        for bounds, progress, reason in (
                (dict(size=6), [('a', 5), ('b', 2)], 'larger than 6'),
                (dict(size=6), [], 'larger than 6'),
                (dict(layers=1), [], '2 layers')):
            self.bounds = imagemodels.ImageBounds(**bounds)
            self.engine.progress = progress
            self.refused(reason)

    def test_what_goes_wrong(self):
        for problem, error in (
                (errors.NotFound('x'), errors.InvalidImage),
                (errors.NotAuthorized('x'), errors.InvalidImage),
                (errors.EngineTimeout('x'), errors.TransferFailed),
                (errors.EngineUnavailable('x'), errors.EngineUnavailable),
                (errors.EngineError('x'), errors.TransferFailed)):
            self.engine.failures = {'pull': [problem]}
            self.refused('', error)

    def test_words_of_registries(self):
        for message, error in (
                ('unauthorized: authentication required',
                 errors.NotAuthorized),
                ('denied: no', errors.NotAuthorized),
                ('manifest unknown', errors.NotFound),
                ('net/http: TLS handshake timeout', errors.EngineError)):
            self.assertIs(error, type(engine._registry_error(message)))


class TestPlaceholders(RegistryCase):
    """Glance images that only name one of a registry."""

    def setUp(self):
        super().setUp()
        self.service = mock.Mock()
        self.properties(docker_image_ref=NAME + ':1')
        self.events = []

    def properties(self, **properties):
        self.service.get.return_value = {
            'container_format': 'docker', 'properties': properties}

    def held(self, reference='', with_registry=True, **values):
        store = images.Images(
            self.engine, self.service, imagemodels.Terms('', 'amd64'), 5,
            self.registry if with_registry else None)

        def event(name):
            self.events.append(name)
            return mock.MagicMock()
        with store.held(self.request(reference=reference, event=event,
                                     **values)) as image:
            return image

    def test_the_image_names_one(self):
        self.assertEqual('sha256:pulled', self.held().id)
        self.assertEqual(['docker_resolve_image', 'docker_pull_image'],
                         self.events)
        self.service.download.assert_not_called()
        # The next one finds it here, once the registry has been asked.
        self.held()
        self.assertEqual(1, self.engine.calls.count('pull'))
        self.assertEqual(2, self.engine.calls.count('distribution'))

    def test_only_what_is_here(self):
        with self.assertRaisesRegex(errors.InvalidImage, 'is never'):
            self.held(pull_policy='never')
        self.held()
        self.held(pull_policy='never')

    def test_the_specification_names_one(self):
        self.engine.distributions[NAME + ':2'] = (OTHER, frozenset())
        self.held(NAME + ':2')
        self.assertEqual({NAME + ':2': OTHER}, self.pins)

    def test_only_a_placeholder_gives_way(self):
        self.properties()
        with self.assertRaisesRegex(errors.InvalidImage, 'docker_image_ref'):
            self.held(NAME + ':1')

    def test_a_host_without_registries(self):
        with self.assertRaisesRegex(errors.InvalidImage, 'no images of'):
            self.held(with_registry=False)

    def test_what_a_server_keeps(self):
        instance = fakes.instance()
        self.assertEqual({}, servers.pinned(instance))
        with mock.patch.object(type(instance), 'save') as save:
            servers.pin(instance, 'a:1', DIGEST)
            servers.pin(instance, 'a:1', DIGEST)
        save.assert_called_once_with()
        self.assertEqual({'a:1': DIGEST}, servers.pinned(instance))


class TestCache(unittest.TestCase):
    """What is removed, and what is not."""

    AGE = 100

    def setUp(self):
        super().setUp()
        self.engine = fakes.Engine()
        self.engine.in_use = set()
        self.store = mock.create_autospec(images.Images, instance=True)
        self.store.evict.return_value = True
        self.cache = imagecache.ImageCache(self.engine, self.store)
        self.ids = [f'{number:08d}-0000-4000-8000-000000000000'
                    for number in range(3)]
        self.tags = [names.image_tag(image_id, 'abc')
                     for image_id in self.ids]
        self.engine.stored = [
            models.StoredImage(tag, f'sha256:{number}', 600 * models.MIB)
            for number, tag in enumerate(self.tags)]
        self.engine.stored.append(models.StoredImage(
            names.image_tag('sandbox'), 'sha256:s', 1))
        self.engine.loaded_at = {tag: 0.0 for tag in self.tags}

    def prune(self, needed=()):
        return self.cache.prune(set(needed), self.AGE)

    def test_what_nobody_uses(self):
        self.engine.in_use = {'sha256:1'}
        self.assertEqual([self.tags[2]], self.prune({self.ids[0]}))
        self.store.evict.assert_called_once_with(self.tags[2])

    def test_what_was_used_lately(self):
        self.engine.loaded_at[self.tags[2]] = time.time()
        self.prune(self.ids[:2])
        self.assertEqual([], self.prune())
        self.assertEqual(sorted(self.tags[:2]),
                         sorted(imagecache.ImageCache(
                             self.engine, self.store).prune(set(), 50)))

    def test_what_cannot_be_removed(self):
        self.store.evict.side_effect = [False, errors.NameConflict('x'), True]
        self.assertEqual([self.tags[2]], self.prune())

    def test_what_vanishes_meanwhile(self):
        self.engine.failures = {'image_loaded_at': [errors.NotFound('x')] * 3}
        self.assertEqual([], self.prune())

    def test_the_size(self):
        self.engine.stored.append(dataclasses.replace(
            self.engine.stored[0], tag='nova-docker/reference:1'))
        self.assertEqual(2, self.cache.size_gib())
        self.engine.stored = []
        self.assertEqual(0, self.cache.size_gib())
