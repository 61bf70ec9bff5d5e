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

"""Runs Tempest against the lab: ``python -m lab.tempest REGEX``.

Tempest has an environment of its own below the lab's root, with this checkout
in it, and no requirement of the driver's.
"""

from __future__ import annotations

import configparser
import os
from pathlib import Path
import subprocess
import sys

from lab import cloud
from lab import container_images
from lab import demo
from lab import layout as lab_layout
from lab import seed

PACKAGES = ('tempest==47.0.0', 'heat-tempest-plugin==3.0.0')


def install(layout: lab_layout.Layout) -> Path:
    """The environment is there afterwards; answers its programs' place."""
    root = layout.root / 'tempest'
    marker = root / 'installed'
    wanted = ' '.join((*PACKAGES, str(layout.source)))
    if not marker.exists() or marker.read_text() != wanted:
        print('installing Tempest ...', file=sys.stderr, flush=True)
        subprocess.run([sys.executable, '-m', 'venv', str(root)], check=True)
        pip = [str(root / 'bin/pip'), 'install', '--quiet']
        subprocess.run([*pip, 'pbr', 'setuptools', 'wheel', *PACKAGES],
                       check=True)
        subprocess.run([*pip, '--no-deps', '--no-build-isolation', '-e',
                        str(layout.source)], check=True)
        marker.write_text(wanted)
    return root / 'bin'


def configuration(layout: lab_layout.Layout, image: str
                  ) -> dict[str, dict[str, object]]:
    """tempest.conf for the lab."""
    account = {'auth_url': layout.url('keystone') + '/v3',
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
                 'admin_domain_name': 'Default'},
        'identity': {'uri_v3': layout.url('keystone') + '/v3',
                     'auth_version': 'v3', 'region': 'RegionOne'},
        'service_available': {'heat': 'true', 'cinder': 'false',
                              'swift': 'false', 'horizon': 'false'},
        'heat_plugin': {
            **account, 'image_ref': image, 'minimal_image_ref': image,
            'instance_type': 'c1.small', 'minimal_instance_type': 'c1.tiny',
            'fixed_network_name': 'private',
            'fixed_subnet_name': 'private-subnet',
            'floating_network_name': 'public', 'build_interval': 1,
            'build_timeout': 300},
    }


def main(arguments: list[str]) -> int:
    layout = lab_layout.Layout.from_environment()
    cloud.Cloud(layout).up()
    binaries = install(layout)
    tenant = seed.connect(layout, 'demo')
    image = demo.upload_image(tenant, 'busybox', container_images.busybox())
    workspace = layout.root / 'tempest' / 'workspace'
    (workspace / 'etc').mkdir(parents=True, exist_ok=True)
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_dict({section: {key: str(value)
                                for key, value in values.items()}
                      for section, values in configuration(
                          layout, image).items()})
    with (workspace / 'etc/tempest.conf').open('w') as file:
        parser.write(file)
    if not (workspace / '.stestr.conf').exists():
        subprocess.run([str(binaries / 'tempest'), 'init', str(workspace)],
                       check=True, capture_output=True)
    return subprocess.run(
        [str(binaries / 'tempest'), 'run', '--serial', '--config-file',
         str(workspace / 'etc/tempest.conf'), '--regex', *arguments],
        cwd=workspace, check=False,
        env={**os.environ, 'PATH': f'{binaries}:{os.environ["PATH"]}'}
    ).returncode


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
