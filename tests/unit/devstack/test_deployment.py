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

"""The snippets for deployment tools name options that there are."""

import configparser
from pathlib import Path
import unittest

import nova.conf
from oslo_config import cfg
from vif_plug_ovs import ovs
import yaml

from nova_docker_driver import conf

SNIPPETS = Path(__file__).parents[3] / 'etc/deployment'


class TestSnippets(unittest.TestCase):

    def known(self):
        """Options that nova-compute reads, by group."""
        options = cfg.ConfigOpts()
        conf.register_opts(options)
        options.register_opts(ovs.OvsPlugin.CONFIG_OPTS, 'os_vif_ovs')
        found = {group: set(options[group])
                 for group in ('docker', 'os_vif_ovs')}
        return {**found, 'DEFAULT': set(nova.conf.CONF)}

    def check(self, sections):
        known = self.known()
        for section, values in sections.items():
            self.assertLessEqual(set(values), known[section])
        self.assertEqual('docker.DockerDriver',
                         sections['DEFAULT']['compute_driver'])

    def test_kolla_ansible(self):
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(SNIPPETS / 'kolla-ansible/nova.conf')
        sections = {name: dict(parser[name]) for name in parser}
        for name in parser.sections():
            # A parser's own idea of defaults.
            for option in parser.defaults():
                sections[name].pop(option)
        self.check(sections)
        volumes = yaml.safe_load((
            SNIPPETS / 'kolla-ansible/globals.yml').read_text())
        path = sections['docker']['files_path']
        self.assertEqual([f'{path}:{path}'],
                         volumes['nova_compute_extra_volumes'])

    def test_openstack_ansible(self):
        found = yaml.safe_load((
            SNIPPETS / 'openstack-ansible/user_variables.yml').read_text())
        self.check(found['nova_nova_conf_overrides'])
        self.assertEqual(['nova-docker-driver'],
                         found['nova_user_pip_packages'])
