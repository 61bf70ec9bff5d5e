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

"""nova-compute loads the driver however nova and we are installed."""

import os
from pathlib import Path
import re
import subprocess
import sys
import tempfile
import time
import unittest

from lab import cloud
from lab import layout as lab_layout
from lab import seed
from lab import services

SOURCE = Path(__file__).resolve().parents[2]
NOVA = 'nova==34.0.0'

#: What a shared dependency environment must not bring along.
_SUBJECTS = ('nova-34', 'nova_docker_driver', 'heat_plugins', '__editable__')


def run(*command, **options):
    answer = subprocess.run([str(part) for part in command],
                            capture_output=True, text=True, **options)
    if answer.returncode:
        raise AssertionError(f'{command}: {answer.stdout}{answer.stderr}')
    return answer.stdout


class LoadingCase(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.layout = lab_layout.Layout.from_environment()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)
        self.environment = services.python_environment(self.layout)

    def dependencies(self):
        """The lab's packages without nova and without ours."""
        target = self.root / 'dependencies'
        target.mkdir()
        version = f'python{sys.version_info[0]}.{sys.version_info[1]}'
        packages = self.layout.venv / 'lib' / version / 'site-packages'
        for path in packages.iterdir():
            if path.name != 'nova' and not path.name.startswith(_SUBJECTS):
                (target / path.name).symlink_to(path)
        return target

    def nova_source(self):
        run(self.layout.bin / 'pip', 'download', '--no-deps', '--no-binary',
            ':all:', '--no-build-isolation', '-d', self.root, NOVA)
        archive = next(self.root.glob('nova-*.tar.gz'))
        run('tar', 'xzf', archive, '-C', self.root)
        return self.root / archive.name.removesuffix('.tar.gz')

    def install(self, name, dependencies, *packages):
        """A new environment over the shared dependencies."""
        venv = self.root / name
        run(self.layout.bin / 'python', '-m', 'venv', '--without-pip', venv)
        site = next(venv.glob('lib/python*/site-packages'))
        (site / 'dependencies.pth').write_text(f'{dependencies}\n')
        for package in packages:
            run(self.layout.bin / 'pip', '--python', venv / 'bin/python',
                'install', '--no-deps', '--no-build-isolation', *package)
        return venv


class TestCompute(LoadingCase):

    def setUp(self):
        super().setUp()
        cloud.Cloud(self.layout).up()
        self.admin = seed.connect(self.layout)
        self.addCleanup(self.forget_hosts)

    def forget_hosts(self):
        for service in self.admin.compute.services(binary='nova-compute'):
            if service.host.startswith('loading-'):
                self.admin.compute.delete_service(service)

    def compute(self, venv, name):
        """What the environment's nova-compute logs until it is ready."""
        config = self.root / f'{name}.conf'
        config.write_text(f'[DEFAULT]\ncompute_driver = docker.DockerDriver\n'
                          f'host = {name}\nstate_path = {self.root}/{name}\n')
        (self.root / name / 'instances').mkdir(parents=True)
        log = self.root / f'{name}.log'
        with log.open('wb') as output:
            process = subprocess.Popen(
                [venv / 'bin/nova-compute', '--config-file',
                 self.layout.etc / 'nova/nova.conf', '--config-file', config],
                env={**os.environ, **self.environment}, cwd=SOURCE,
                stdout=output, stderr=output)
            try:
                deadline = time.monotonic() + 60
                while (process.poll() is None
                       and time.monotonic() < deadline
                       and b'Join ServiceGroup' not in log.read_bytes()):
                    time.sleep(0.2)
            finally:
                process.kill()
                process.wait()
        return log.read_text(errors='replace')

    def test_four_ways_to_install(self):
        dependencies, nova = self.dependencies(), self.nova_source()
        for number, (theirs, ours) in enumerate((
                ((NOVA,), (SOURCE,)), ((NOVA,), ('-e', SOURCE)),
                (('-e', nova), (SOURCE,)), (('-e', nova), ('-e', SOURCE)))):
            with self.subTest(nova=theirs, ours=ours):
                name = f'loading-{number}'
                venv = self.install(f'venv{number}', dependencies, theirs,
                                    ours)
                log = self.compute(venv, name)
                self.assertIn('Docker Engine', log, log[-2000:])
                self.assertIn('Join ServiceGroup', log, log[-2000:])


class TestOthers(LoadingCase):

    def test_nova_api_loads_the_validators_only(self):
        found = run(self.layout.bin / 'python', '-c', '''
import sys
from nova import monkey_patch
monkey_patch.patch(backend='threading')
from nova.api.openstack.compute import routes
from nova.api.validation.extra_specs import validators
validators.load_validators()
print(sorted(name for name in sys.modules
             if name.startswith(('nova_docker', 'heat_plugins'))))
''', cwd='/', env={**os.environ, **self.environment})
        self.assertEqual("['nova_docker_driver', "
                         "'nova_docker_driver.extra_specs']", found.strip())

    def test_conductor_and_scheduler_load_nothing(self):
        cloud.Cloud(self.layout).up()
        etc = self.layout.etc
        for name in ('nova-conductor', 'nova-scheduler'):
            log = self.root / f'{name}.imports'
            with log.open('wb') as output:
                process = subprocess.Popen(
                    [self.layout.bin / name, '--config-file',
                     etc / 'nova/nova.conf', '--config-file',
                     etc / 'nova/nova-db.conf'], cwd='/',
                    env={**os.environ, **self.environment,
                         'PYTHONPROFILEIMPORTTIME': '1'},
                    stdout=output, stderr=output)
            try:
                self._wait_for(log, b'Join ServiceGroup', process)
            finally:
                process.kill()
                process.wait()
            imported = set(re.findall(r'\| +([a-z_]+)', log.read_text(
                errors='replace')))
            self.assertIn('nova', imported)
            self.assertFalse(
                {'nova_docker_driver', 'heat_plugins'} & imported, name)

    def _wait_for(self, log, text, process):
        deadline = time.monotonic() + 60
        while text not in log.read_bytes():
            self.assertIsNone(process.poll(), 'it has ended')
            self.assertLess(time.monotonic(), deadline, f'no {text}')
            time.sleep(0.2)
