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

"""The functions for DevStack, on a DevStack that only writes down."""

import os
from pathlib import Path
import socket
import subprocess
import tempfile
import unittest

from packaging import requirements
import yaml

ROOT = Path(__file__).parents[3]

#: What DevStack gives to plug-ins, as far as ours uses it. Each call is a
#: line of the file $CALLS.
STUBS = r'''
note() { echo "$*" >> "$CALLS"; }
for name in echo_summary install_package add_user_to_group setup_develop \
        start_service sudo openstack async_wait enable_service \
        disable_service; do
    eval "$name() { note $name \"\$@\"; answer $name \"\$@\"; }"
done
answer() { [[ " $FAILING " != *" $1:$2 "* ]] && echo "${ANSWERS[$1:$2]:-}"; }
declare -A ANSWERS
die() { note die "$@"; exit 1; }
is_ubuntu() { true; }
is_service_enabled() { [[ " $SERVICES " == *" $1 "* ]]; }
define_plugin() { note define_plugin "$@"; }
iniset() { note iniset "$@"; }
iniget() { echo "${ANSWERS[iniget:$3]:-}"; }
sleep() { :; }
getent() { [[ " $FAILING " != *" getent "* ]]; }
command() { [[ " $FAILING " != *" dockerd "* ]]; }
DEST=/opt/stack STACK_USER=stack NOVA_CONF=nova.conf HEAT_CONF=heat.conf
GLANCE_API_CONF=glance.conf TEMPEST_CONFIG=tempest.conf
NOVA_STATE_PATH=/opt/stack/data/nova
SERVICES="n-cpu n-api g-api h-eng tempest ovn-controller"
'''


class PluginCase(unittest.TestCase):

    def run_bash(self, script, failing=''):
        """The calls that a script makes after the settings are read."""
        with tempfile.TemporaryDirectory() as directory:
            calls = Path(directory, 'calls')
            calls.touch()
            answer = subprocess.run(
                ['bash', '-e', '-c', f'{STUBS}\nFAILING="{failing}"\n'
                 f'source {ROOT}/devstack/settings\n'
                 f'source {ROOT}/devstack/lib/nova_docker\n{script}'],
                env={**os.environ, 'CALLS': str(calls),
                     'NOVA_DOCKER_DIR': str(ROOT), 'TMPDIR': directory},
                capture_output=True, text=True, check=False)
            self.code, self.errors = answer.returncode, answer.stderr
            return calls.read_text().splitlines()

    def good(self, script, failing=''):
        calls = self.run_bash(script, failing)
        self.assertEqual(0, self.code, self.errors)
        return calls


class TestFunctions(PluginCase):

    def test_settings(self):
        calls = self.good('note $VIRT_DRIVER $DOCKER_GROUP "[$IMAGE_URLS]" '
                          '$DEFAULT_IMAGE_NAME $DEFAULT_INSTANCE_TYPE')
        self.assertEqual(['define_plugin nova-docker-driver',
                          'disable_service n-novnc',
                          'enable_service n-sproxy',
                          'docker docker [] busybox c1.tiny'], calls)

    def test_a_compute_host_has_no_proxy(self):
        calls = self.good('SERVICES=n-cpu\nnote again\n'
                          f'source {ROOT}/devstack/settings')
        self.assertNotIn('enable_service n-sproxy',
                         calls[calls.index('again'):])

    def test_an_engine_is_installed_where_there_is_none(self):
        calls = self.good('install_docker_engine', 'dockerd getent')
        self.assertIn('install_package docker.io', calls)
        self.assertIn('sudo groupadd --system docker', calls)
        self.assertIn('add_user_to_group stack docker', calls)
        calls = self.good('install_docker_engine')
        self.assertNotIn('install_package docker.io', calls)
        self.assertIn('install_package busybox-static', calls)

    def test_the_checkout_is_installed(self):
        self.assertIn(f'setup_develop {ROOT}',
                      self.good('install_nova_docker'))

    def test_an_engine_that_runs_is_left_alone(self):
        self.assertNotIn('start_service docker',
                         self.good('start_docker_engine'))

    def test_an_engine_that_does_not_answer(self):
        calls = self.run_bash('start_docker_engine', 'sudo:docker')
        self.assertIn('start_service docker', calls)
        self.assertEqual(1, self.code)
        self.assertTrue(calls[-1].startswith('die '))

    def test_nova(self):
        calls = self.good('NOVA_DOCKER_ALLOWED_REGISTRIES=r.example.org/x\n'
                          'configure_nova_docker')
        for line in (
                'DEFAULT compute_driver docker.DockerDriver',
                'docker allowed_registries r.example.org/x',
                'docker files_path /opt/stack/data/nova/docker',
                'vnc enabled false', 'serial_console enabled true',
                'os_vif_ovs ovsdb_connection '
                'unix:/var/run/openvswitch/db.sock'):
            self.assertIn(f'iniset nova.conf {line}', calls)
        self.assertTrue(any('docker.filters' in call for call in calls))

    def test_glance_keeps_what_it_had(self):
        for had, wanted in (('bare', 'bare,docker'),
                            ('bare,docker', 'bare,docker')):
            self.assertIn(
                f'iniset glance.conf image_format container_formats {wanted}',
                self.good(f'ANSWERS[iniget:container_formats]={had}\n'
                          'configure_glance_for_docker'))

    def test_heat_keeps_what_it_had(self):
        loader = ROOT / 'heat_plugins/loader'
        for had, wanted in (('/mine', f'/mine,{loader}'),
                            (f'/mine,{loader}', f'/mine,{loader}')):
            self.assertIn(f'iniset heat.conf DEFAULT plugin_dirs {wanted}',
                          self.good(f'ANSWERS[iniget:plugin_dirs]={had}\n'
                                    'configure_heat_for_docker'))
        self.assertTrue((loader / 'nova_docker.py').is_file())

    def test_flavors_once(self):
        calls = self.good('create_docker_flavors')
        self.assertFalse([call for call in calls if 'create' in call])
        # The first argument says which cloud; all of its shows fail.
        calls = self.good(
            'openstack() { note openstack "$@"; '
            '[[ "$*" != *" show "* ]]; }\ncreate_docker_flavors')
        self.assertIn('openstack --os-cloud devstack-admin flavor create '
                      '--ram 64 --disk 1 --vcpus 1 c1.tiny', calls)
        self.assertEqual(3, sum('create' in call for call in calls))

    def test_images_once_and_without_a_registry(self):
        calls = self.good(
            'openstack() { note openstack "$@"; '
            '[[ "$*" != *" show "* ]]; }\n'
            'python3() { note python3 "$@"; }\nupload_docker_image')
        for content in ('busybox', 'web', 'db'):
            self.assertIn(f'python3 -m lab.container_images {content}', calls)
        made = [call for call in calls if 'image create' in call]
        self.assertEqual(4, len(made))
        self.assertTrue(made[1].endswith(' busybox-web'), made)
        self.assertTrue(all('hypervisor_type=docker' in call
                            for call in made))
        self.assertFalse([call for call in self.good('upload_docker_image')
                          if 'create' in call])

    def test_tempest_knows_what_the_driver_can_do(self):
        calls = self.good('configure_tempest_for_docker')
        for line in ('pause True', 'resize False', 'live_migration False',
                     'snapshot True', 'vnc_console False',
                     'serial_console True', 'interface_attach True'):
            self.assertIn(f'iniset tempest.conf compute-feature-enabled '
                          f'{line}', calls)

    def test_tempest_has_images_whose_processes_last(self):
        calls = self.good(
            'openstack() { [[ "$*" == *" image show "* ]] '
            '&& echo "id-of-${*: -1}"; }\nconfigure_tempest_for_docker')
        for line in ('compute image_ref id-of-busybox-web',
                     'compute image_ref_alt id-of-busybox-db',
                     'heat_plugin image_ref busybox-web',
                     'heat_plugin minimal_image_ref busybox-web',
                     'heat_plugin instance_type c1.tiny',
                     'heat_plugin minimal_instance_type c1.tiny'):
            self.assertIn(f'iniset tempest.conf {line}', calls)

    def test_the_flags_are_of_features_that_there_are(self):
        import sys
        sys.path.insert(0, str(ROOT / 'devstack'))
        self.addCleanup(sys.path.remove, str(ROOT / 'devstack'))
        import tempest_flags
        matrix = yaml.safe_load(
            (ROOT / 'doc/source/support-matrix.yaml').read_text())
        known = {row['feature'] for row in matrix}
        self.assertLessEqual(set(tempest_flags.FEATURES.values()), known)

    def test_only_containers_of_servers_go(self):
        calls = self.good('ANSWERS[sudo:docker]="c1 c2"\n'
                          'remove_nova_docker_containers')
        self.assertIn('sudo docker rm --force --volumes c1 c2', calls)
        for label in ('instance', f'host={socket.gethostname()}'):
            self.assertIn(f'label=org.openstack.nova-docker.{label}',
                          ' '.join(calls))
        calls = self.good('ANSWERS[iniget:nova.conf]=h1\n'
                          'iniget() { answer iniget "$@"; }\n'
                          'remove_nova_docker_containers')
        self.assertIn('nova-docker.host=h1', ' '.join(calls))
        calls = self.good('remove_nova_docker_containers')
        self.assertFalse([call for call in calls if ' rm ' in call])

    def test_the_switch_forgets_the_ports_of_servers(self):
        calls = self.good(
            'sudo() { note sudo "$@"; case "$*" in *" ps "*) echo c1 c2;; '
            '*inspect*) printf "u1\\nu1\\n";; *vm-uuid=u1) echo tap1;; esac; }'
            '\nremove_nova_docker_containers')
        self.assertEqual(1, sum('find Interface' in call for call in calls))
        self.assertLess(
            calls.index('sudo ovs-vsctl --timeout=5 --if-exists del-port '
                        'tap1'),
            calls.index('sudo docker rm --force --volumes c1 c2'))

    def test_a_users_data_stays(self):
        calls = self.good('ANSWERS[sudo:docker]="nova-docker/x:1"\n'
                          'cleanup_nova_docker')
        self.assertIn('sudo docker rmi nova-docker/x:1', calls)
        for call in calls:
            self.assertNotRegex(call, 'prune|/var/lib/docker|purge|remove ')


class TestPhases(PluginCase):

    PHASES = (('stack pre-install', 'install_docker_engine'),
              ('stack install', 'install_nova_docker'),
              ('stack post-config', 'start_docker_engine '
               'configure_nova_docker configure_glance_for_docker '
               'configure_heat_for_docker'),
              ('stack extra', 'create_docker_flavors upload_docker_image'),
              ('stack test-config', 'configure_tempest_for_docker'),
              ('unstack', 'remove_nova_docker_containers'),
              ('clean', 'remove_nova_docker_containers cleanup_nova_docker'))

    def called(self, phase, services=None):
        names = ' '.join(functions for _, functions in self.PHASES).split()
        stubs = ''.join(f'{name}() {{ note called {name}; }}\n'
                        for name in names)
        # The library is read again by the plug-in; so are the stubs.
        script = (f'source() {{ builtin source "$@"; {stubs} }}\n'
                  + (f'SERVICES="{services}"\n' if services is not None
                     else '')
                  + f'set -- {phase}\nsource {ROOT}/devstack/plugin.sh '
                  f'{phase}')
        return [call.removeprefix('called ') for call in self.good(script)
                if call.startswith('called ')]

    def test_what_each_phase_calls(self):
        for phase, functions in self.PHASES:
            self.assertEqual(functions.split(), self.called(phase), phase)

    def test_nova_is_configured_once_neutron_has_done_it(self):
        calls = self.good(
            f'set -- stack post-config\n'
            f'source {ROOT}/devstack/plugin.sh stack post-config')
        self.assertLess(
            calls.index('async_wait configure_neutron_nova'),
            min(number for number, call in enumerate(calls)
                if call.startswith('iniset nova.conf ')))

    def test_services_that_are_not_there(self):
        self.assertEqual(['start_docker_engine'],
                         self.called('stack post-config', ''))
        self.assertEqual([], self.called('stack test-config', ''))


class TestRequirements(unittest.TestCase):
    """DevStack installs the checkout under OpenStack's upper constraints."""

    #: Those of 2026.2 that a lower bound of ours could exclude.
    CONSTRAINTS = {'castellan': '5.8.0', 'cryptography': '43.0.3',
                   'docker': '7.2.0', 'oslo.config': '10.7.0',
                   'os-vif': '5.2.0', 'pbr': '7.0.3', 'psutil': '7.2.2',
                   'pyroute2': '0.8.1', 'PyYAML': '6.0.3',
                   'tenacity': '9.1.4', 'urllib3': '2.7.0'}

    def test_they_are_met_by_the_constraints(self):
        lines = [requirements.Requirement(line) for line in
                 (ROOT / 'requirements.txt').read_text().splitlines()
                 if line and not line.startswith('#')]
        bounds = {line.name: line.specifier for line in lines}
        for name, version in self.CONSTRAINTS.items():
            self.assertIn(version, bounds[name], name)
