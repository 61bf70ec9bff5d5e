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

"""A Compose file in its normalised form, read into values."""

import os
from pathlib import Path
import subprocess
import sys
import unittest

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies

from heat_plugins.compose import documents
from heat_plugins.compose import models
from heat_plugins.compose import templates
from heat_plugins.compose import texts
from tests.unit.heat_plugins import compose_case

EXAMPLES = int(os.environ.get('NOVA_DOCKER_EXAMPLES', '2000')) // 4

service = compose_case.service
web = compose_case.web


class TestPurity(unittest.TestCase):

    def test_reading_needs_nothing_of_heat(self):
        code = ('import sys, heat_plugins.compose.templates, '
                'heat_plugins.compose.texts; print([name for name '
                'in sys.modules if name.split(".")[0] in '
                '("heat", "nova", "docker", "oslo_config")])')
        self.assertEqual('[]', subprocess.run(
            [sys.executable, '-c', code], capture_output=True, text=True,
            check=True, cwd=Path(models.__file__).parents[2]
        ).stdout.strip())


class TestRead(compose_case.ComposeCase):

    def test_what_a_service_says_about_its_process(self):
        found = web(
            command='a "b c"', entrypoint=['x'], user=1000, working_dir='/w',
            environment=['A=1', 'B=x=y', 'UNSET'], labels=['a=b'],
            restart='on-failure:3', shm_size='64000000', tmpfs='/run:size=4m',
            healthcheck={'test': 'true', 'interval': '5s'},
            extra_hosts=['a=192.0.2.1', 'b:192.0.2.2'],
            ulimits={'nofile': {'soft': 1, 'hard': 2},
                     'nproc': {'single': 3}},
            logging={'options': {'max-size': '10m', 'max-file': '3'}},
            mem_reservation='64m', cap_drop=['ALL'], group_add=['a', 1],
            stop_grace_period='1m30s', init=True, expose=['80'],
            configs=[{'target': '/x', 'content': 'y', 'mode': '0400',
                      'uid': '5'}])
        self.assertEqual({
            'command': ['a', 'b c'], 'entrypoint': ['x'], 'user': '1000',
            'working_dir': '/w', 'environment': {'A': '1', 'B': 'x=y'},
            'labels': {'a': 'b'}, 'shm_size_mb': 62,
            'restart_policy': {'name': 'on-failure', 'max_retries': 3},
            'mounts': [{'type': 'tmpfs', 'target': '/run', 'size_mb': 4}],
            'healthcheck': {'test': ['CMD-SHELL', 'true'],
                            'interval': '5s'},
            'extra_hosts': {'a': '192.0.2.1', 'b': '192.0.2.2'},
            'ulimits': {'nofile': {'soft': 1, 'hard': 2}, 'nproc': 3},
            'log_options': {'max_size_mb': 10, 'max_files': 3},
            'mem_reservation_mb': 64, 'cap_drop': ['ALL'],
            'group_add': ['a', '1'], 'stop_grace_period': '1m30s',
            'init': True, 'expose': ['80'],
            'files': [{'path': '/x', 'content': 'y', 'mode': '0400',
                       'uid': 5}]}, dict(found.properties))

    def test_dollars(self):
        self.assertEqual(['$x'], web(
            command=['$$x']).properties['command'])
        self.assertEqual(['$$x', '$y'], web(
            escaped=False, command=['$$x', '$y']).properties['command'])
        for text in ('$HOME', '${HOME}', 'a$b'):
            self.assertRefused('services.web.command',
                               service(command=[text]))

    def test_keys_by_their_name(self):
        for key, value in (('privileged', True), ('pid', 'host'),
                           ('devices', ['/dev/kvm']), ('env_file', ['x']),
                           ('extends', {'service': 'a'}), ('runtime', 'x'),
                           ('prvileged', True), ('userns_mode', 'host'),
                           ('security_opt', ['seccomp:unconfined'])):
            self.assertRefused(f'services.web.{key}',
                               service(**{key: value}))
        # What is off asks for nothing.
        web(privileged=False, devices=[], pid='')

    def test_what_only_a_machine_has(self):
        self.assertRefused(
            'include', {**service(), 'include': ['x']})
        self.assertRefused('configs.c', {
            **service(configs=[{'source': 'c'}]),
            'configs': {'c': {'file': '/etc/shadow'}}})
        self.assertRefused('secrets.s', {
            **service(secrets=['s']),
            'secrets': {'s': {'environment': 'HOME'}}})
        for kind in ('bind', 'npipe', 'image'):
            self.assertRefused('services.web.volumes./x', service(volumes=[
                {'type': kind, 'source': '/etc', 'target': '/x'}]))

    def test_forms_that_are_not_normalised(self):
        for key, value in (('ports', ['80:80']), ('volumes', ['/a:/b'])):
            self.assertRefused(f'services.web.{key}',
                               service(**{key: value}))
        self.assertRefused('services.web', {'services': {'web': 'x'}})
        self.assertRefused('services', {'services': {}})

    def test_circles_and_strangers(self):
        self.assertRefused('services.a.depends_on', {'services': {
            'a': {'image': 'a', 'depends_on': ['b']},
            'b': {'image': 'b', 'depends_on': ['a']}}})
        self.assertRefused('services.web.depends_on.db',
                           service(depends_on=['db']))
        restarted = {'services': {
            'db': {'image': 'db'}, 'web': {'image': 'w', 'depends_on': {
                'db': {'condition': 'service_started', 'restart': True}}}}}
        self.assertRefused('services.web.depends_on.db.restart', restarted)
        restarted['services']['web']['links'] = ['db']
        compose_case.template(restarted)
        self.assertRefused('services.web.depends_on.db', {'services': {
            'db': {'image': 'db'}, 'web': {'image': 'w', 'depends_on': {
                'db': {'condition': 'service_healthy'}}}}})
        # One that is not required and not there.
        web(depends_on={'db': {'condition': 'service_started',
                                            'required': False}})

    def test_texts(self):
        for text in ('[1', '- a', 'a: &x 1\nb: *x', 'x' * 2 ** 21, '!!int a',
                     '[' * 2000):
            with self.assertRaises(models.Refused):
                texts.load(text)
        self.assertEqual({'services': {}}, texts.load('services: {}'))

    def test_warnings_in_place_of_refusals(self):
        found = documents.read(service(privileged=True, init=True),
                               ignore=True)
        self.assertEqual(['services.web.privileged'],
                         [problem.where for problem in found.warnings])
        self.assertEqual({'init': True},
                         dict(found.services['web'].properties))

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(strategies.recursive(
        strategies.none() | strategies.booleans() | strategies.integers()
        | strategies.text(max_size=8), lambda inner: strategies.lists(
            inner, max_size=3) | strategies.dictionaries(
                strategies.sampled_from([
                    'services', 'web', 'image', 'deploy', 'ports', 'target',
                    'healthcheck', 'networks', 'volumes', 'depends_on', 'db',
                    'ulimits', 'resources', 'limits', 'configs', 'x-nova',
                    'update_config', 'placement', 'logging', 'ipam']),
                inner, max_size=4), max_leaves=20))
    def test_anything_is_read_or_refused(self, value):
        try:
            templates.make(documents.read(
                {'services': {'web': value}, 'networks': value}),
                compose_case.CHOICES)
        except models.Refused as error:
            self.assertTrue(error.problems)
