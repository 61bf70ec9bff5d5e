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

"""Translation between Heat's words and Nova's, and the resource's schema."""

import ast
import json
from pathlib import Path
import unittest
from unittest import mock

from heat.common import exception
from heat.engine import properties
from hypothesis import given
from hypothesis import strategies

import heat_plugins
from heat_plugins import clients
from heat_plugins import constraints
from heat_plugins.loader import nova_docker
from heat_plugins.resources import container
from heat_plugins import schemas
from heat_plugins import translate

PROPERTIES = {'wait_for': 'running', 'wait_timeout': 300}


class TestLayering(unittest.TestCase):
    """Heat's side stands on its own: its hosts have no driver."""

    def imports(self, path):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from (f'{node.module}.{alias.name}'
                            for alias in node.names)

    def test_it_knows_neither_driver_nor_nova(self):
        root = Path(heat_plugins.__file__).parent
        modules = sorted(root.rglob('*.py'))
        self.assertGreater(len(modules), 6)
        for path in modules:
            packages = {name.split('.')[0] for name in self.imports(path)}
            self.assertFalse(packages & {'nova_docker_driver', 'nova'}, path)
            # One module alone talks to Engines, for old templates.
            self.assertEqual(path.name == 'engines.py', 'docker' in packages,
                             path)

    def test_translation_is_pure(self):
        packages = {name.split('.')[0] for name in self.imports(
            Path(translate.__file__))}
        self.assertFalse(packages & {'heat', 'oslo_config', 'novaclient',
                                     'os', 'time', 'requests'})


class TestTranslate(unittest.TestCase):

    def document(self, **properties_):
        text = translate.specification({**PROPERTIES, **properties_})
        header, _, rest = text.partition('\n')
        self.assertEqual('#docker-config', header)
        return json.loads(rest)

    def test_what_is_not_given_is_not_sent(self):
        self.assertEqual(
            {'x-nova': {'wait_for': 'running', 'wait_timeout': 300}},
            self.document(command=None, healthcheck=None))
        self.assertEqual(
            {'test': ['CMD', 'x']},
            self.document(healthcheck={'test': ['CMD', 'x'],
                                       'retries': None})['healthcheck'])

    def test_what_is_given_keeps_its_name(self):
        given_ = {'command': ['a'], 'entrypoint': ['b'], 'user': 'c',
                  'environment': {'D': 1}, 'working_dir': '/e'}
        found = self.document(**given_)
        del found['x-nova']
        self.assertEqual(given_, found)

    def test_secrets_go_by_their_ids(self):
        secret = '5d3c0b1e-8f0a-4a57-9d0e-9b8c7a6f5e4d'
        self.assertEqual(
            {'A': secret, 'B': secret},
            self.document(environment_secrets={
                'A': secret, 'B': f'http://keys.example.org/v1/{secret}',
                'C': None})['x-nova']['environment_secrets'])
        self.assertTrue(translate.is_secret(secret))
        self.assertFalse(translate.is_secret(f'{secret}\n'))
        self.assertEqual([], list(translate.problems(
            {**PROPERTIES, 'environment_secrets': {'A': secret}})))
        for secrets, more, reason in (
                ({'A=': secret}, {}, 'not a name'),
                ({'A': secret}, {'environment': {'A': 1}}, 'too')):
            (name, found), = translate.problems(
                {**PROPERTIES, 'environment_secrets': secrets, **more})
            self.assertEqual('environment_secrets', name)
            self.assertIn(reason, found)

    @given(strategies.dictionaries(strategies.text(), strategies.text()))
    def test_equal_properties_give_equal_text(self, environment):
        one = translate.specification(
            {**PROPERTIES, 'environment': environment})
        two = translate.specification(
            {'environment': dict(reversed(environment.items())),
             **PROPERTIES})
        self.assertEqual(translate.digest(one), translate.digest(two))

    def test_progress(self):
        for status, code, wait_for, done, failure in (
                ('BUILD', None, 'running', False, ''),
                ('ACTIVE', None, 'running', True, ''),
                ('ACTIVE', None, 'healthy', True, ''),
                ('ACTIVE', None, 'completed', False, ''),
                ('SHUTOFF', '0', 'completed', True, ''),
                ('SHUTOFF', '2', 'completed', False, 'exit code 2'),
                ('SHUTOFF', '0', 'running', False, 'exit code 0'),
                ('SHUTOFF', None, 'running', False, 'stopped'),
                ('SHUTOFF', '9', 'none', True, '')):
            metadata = {} if code is None else {'docker:exit_code': code}
            found = translate.progress(status, metadata, wait_for)
            self.assertEqual(done, found.done, (status, code, wait_for))
            self.assertIn(failure, found.failure)
            self.assertEqual(bool(failure), bool(found.failure))
        self.assertIsNone(translate.exit_code({'docker:exit_code': 'x'}))

    def test_metadata_of_the_driver_stays(self):
        current = {'docker:exit_code': '0', 'heat:resource_uuid': 'u',
                   'old': '1', 'kept': '1'}
        self.assertEqual(({'kept': '2'}, ['old']),
                         translate.merged_metadata(current, {'kept': '2'}))
        self.assertEqual({'old': '1', 'kept': '1'},
                         translate.own_metadata(current))

    def test_an_aborted_build_is_final(self):
        self.assertTrue(translate.is_final(
            'Build of instance abc aborted: no such command', 'abc'))
        self.assertFalse(translate.is_final('No valid host', 'abc'))


class TestConstraints(unittest.TestCase):

    def test_durations(self):
        constraint = constraints.DurationConstraint()
        for value in ('1s', '1m30s', '500ms', '1h', '1.5s'):
            self.assertTrue(constraint.validate(value, None), value)
        for value in ('', '1', 's', 'fast', '1s1h'):
            self.assertFalse(constraint.validate(value, None), value)

    def test_names_of_variables(self):
        constraint = constraints.EnvironmentNameConstraint()
        self.assertTrue(constraint.validate('A_b.c', None))
        self.assertFalse(constraint.validate('A=b', None))


class TestResource(unittest.TestCase):

    def test_heat_finds_it(self):
        mapping = nova_docker.available_resource_mapping()
        self.assertEqual(
            {f'OS::NovaDocker::{name}'
             for name in ('Container', 'ContainerGroup', 'Image')},
            set(mapping))
        self.assertIs(container.Container,
                      mapping['OS::NovaDocker::Container'])

    def test_the_schema(self):
        schema = properties.schemata(container.Container.properties_schema)
        for name in schemas.PROPERTIES:
            self.assertTrue(schema[name].update_allowed, name)
        for name in schemas.HIDDEN:
            self.assertFalse(schema[name].implemented, name)
        self.assertTrue(schema['image'].update_allowed)
        self.assertEqual('RAW', schema['user_data_format'].default)
        self.assertLess(set(schemas.ATTRIBUTES),
                        set(container.Container.attributes_schema))


class TestClient(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.plugin = clients.NovaDockerClientPlugin.__new__(
            clients.NovaDockerClientPlugin)
        self.server = mock.Mock(status='ACTIVE', metadata={}, **{
            'OS-EXT-STS:task_state': None})
        patch = mock.patch.multiple(
            clients.NovaDockerClientPlugin,
            fetch_server=mock.Mock(return_value=self.server),
            client=mock.Mock())
        patch.start()
        self.addCleanup(patch.stop)

    def test_rebuild(self):
        self.assertTrue(self.plugin.rebuild_container('id', 'img', 'spec'))
        self.server.rebuild.assert_called_once_with('img', userdata='spec')
        self.assertTrue(self.plugin.check_rebuild_container('id', 'running'))
        self.server.status = 'REBUILD'
        self.assertFalse(self.plugin.check_rebuild_container('id', 'running'))
        self.server.status, self.server.fault = 'ERROR', {'message': 'why'}
        with self.assertRaisesRegex(exception.Error, 'why'):
            self.plugin.check_rebuild_container('id', 'running')

    def test_nova_does_not_answer_for_a_moment(self):
        self.plugin.fetch_server.return_value = None
        self.assertFalse(self.plugin.rebuild_container('id', 'img', 'spec'))
        self.assertFalse(self.plugin.check_rebuild_container('id', 'running'))

    def test_an_early_end_has_last_words(self):
        self.server.status = 'SHUTOFF'
        self.server.metadata = {'docker:exit_code': '3'}
        self.server.get_console_output.return_value = 'last words'
        with self.assertRaisesRegex(exception.Error, 'code 3.*last words'):
            self.plugin.check_container(self.server, 'running')

    def test_metadata(self):
        self.server.metadata = {'old': '1', 'docker:exit_code': '0'}
        self.plugin.update_container_metadata(self.server, {'new': 2},
                                              {'heat:x': 'y'})
        servers = self.plugin.client.return_value.servers
        servers.delete_meta.assert_called_once_with(self.server, ['old'])
        servers.set_meta.assert_called_once_with(
            self.server, {'new': '2', 'heat:x': 'y'})
