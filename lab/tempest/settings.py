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

"""tempest.conf for the lab, and the resources of the lab that it names."""

from __future__ import annotations

import configparser
import dataclasses
from pathlib import Path
import subprocess
import sys

from lab import configuration
from lab import container_images
from lab import demo
from lab import layout as lab_layout
from lab import seed


@dataclasses.dataclass(frozen=True)
class Resources:
    """What of the lab's own the tests use, by id."""

    #: Images that one can log in to.
    images: tuple[str, str]
    flavors: tuple[str, str]
    public_network: str


def resources(layout: lab_layout.Layout) -> Resources:
    """They are there afterwards, for every project to see."""
    admin = seed.connect(layout)
    content = container_images.ssh()
    images = [demo.upload_image(admin, f'tempest-{name}', content)
              for name in ('ssh', 'ssh-alt')]
    for image in images:
        admin.image.update_image(image, visibility='public')
    flavors = [str(admin.compute.find_flavor(name).id)
               for name in ('c1.tiny', 'c1.small')]
    found = Resources((images[0], images[1]), (flavors[0], flavors[1]),
                      str(admin.network.find_network('public').id))
    admin.close()
    return found


def content(layout: lab_layout.Layout, found: Resources
            ) -> dict[str, dict[str, object]]:
    """tempest.conf for the lab."""
    keystone = layout.url('keystone') + '/v3'
    account = {'auth_url': keystone,
               'username': 'demo', 'password': lab_layout.PASSWORD,
               'project_name': 'demo', 'admin_username': 'admin',
               'admin_password': lab_layout.PASSWORD,
               'admin_project_name': 'admin', 'region': 'RegionOne',
               'user_domain_id': 'default', 'project_domain_id': 'default'}
    return {
        'DEFAULT': {'log_file': layout.logs / 'tempest.log',
                    'debug': 'true'},
        'oslo_concurrency': {'lock_path': layout.run / 'lock' / 'tempest'},
        'auth': {'admin_username': 'admin', 'admin_project_name': 'admin',
                 'admin_password': lab_layout.PASSWORD,
                 'admin_domain_name': 'Default',
                 'use_dynamic_credentials': 'true'},
        'identity': {'uri_v3': keystone, 'auth_version': 'v3',
                     'region': 'RegionOne'},
        'service_available': {'heat': 'true', 'cinder': 'false',
                              'swift': 'false', 'horizon': 'false'},
        'compute': {
            'image_ref': found.images[0], 'image_ref_alt': found.images[1],
            'flavor_ref': found.flavors[0],
            'flavor_ref_alt': found.flavors[1],
            'fixed_network_name': 'private',
            'build_interval': 1, 'build_timeout': 180,
            'max_microversion': 'latest'},
        'compute-feature-enabled': {
            **_features(layout),
            'hostname_fqdn_sanitization': 'true',
            'scheduler_enabled_filters': ','.join(configuration.FILTERS)},
        'validation': {'run_validation': 'true', 'image_ssh_user': 'root',
                       'image_alt_ssh_user': 'root',
                       'connect_method': 'floating',
                       # Not every shell has pipefail.
                       'ssh_shell_prologue':
                           'set -eu; PATH=$$PATH:/sbin:/usr/sbin;'},
        'network': {'public_network_id': found.public_network,
                    'floating_network_name': 'public'},
        'image': {'disk_formats': 'raw', 'container_formats': 'docker'},
        'heat_plugin': {
            **account, 'image_ref': 'tempest-ssh',
            'minimal_image_ref': 'tempest-ssh',
            'instance_type': 'c1.small', 'minimal_instance_type': 'c1.tiny',
            'fixed_network_name': 'private',
            'fixed_subnet_name': 'private-subnet',
            'floating_network_name': 'public', 'build_interval': 1,
            'build_timeout': 300},
    }


def _features(layout: lab_layout.Layout) -> dict[str, object]:
    """As the plug-in for DevStack has them: by the support matrix."""
    lines = subprocess.run(
        [sys.executable, str(layout.source / 'devstack/tempest_flags.py'),
         str(layout.source / 'doc/source/support-matrix.yaml')],
        capture_output=True, text=True, check=True).stdout.splitlines()
    return {option: value.lower() for group, option, value
            in map(str.split, lines) if group == 'compute-feature-enabled'}


def write(layout: lab_layout.Layout, path: Path) -> None:
    """The file is there afterwards, and what it names."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_dict({section: {key: str(value)
                                for key, value in values.items()}
                      for section, values in content(
                          layout, resources(layout)).items()})
    with path.open('w') as file:
        parser.write(file)
