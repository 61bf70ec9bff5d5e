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

"""Tempest's feature flags by the support matrix: GROUP OPTION VALUE lines.

Run as ``tempest_flags.py support-matrix.yaml``.
"""

import sys

import yaml

#: Option of ``[compute-feature-enabled]`` to the feature of the matrix.
FEATURES = {
    'attach_encrypted_volume': 'storage.block',
    'change_password': 'operation.set-admin-password',
    # The same call of the driver.
    'cold_migration': 'operation.resize',
    'config_drive': 'guest.setup.configdrive',
    'console_output': 'console.serial.log',
    'interface_attach': 'operation.attach-interface',
    'live_migration': 'operation.live-migrate',
    'pause': 'operation.pause',
    'rescue': 'operation.rescue',
    'resize': 'operation.resize',
    'serial_console': 'console.serial.interactive',
    # It is a snapshot.
    'shelve': 'operation.snapshot',
    'snapshot': 'operation.snapshot',
    'suspend': 'operation.suspend',
    'swap_volume': 'operation.swap-volume',
    'vnc_console': 'console.vnc',
    'volume_multiattach': 'operation.multiattach-volume',
}


def flags(matrix):
    """Option to whether the driver can do it; pure."""
    status = {row['feature']: row['status'] for row in matrix}
    return {option: status.get(feature) in ('complete', 'partial')
            for option, feature in FEATURES.items()}


def main(path):
    """Prints the lines for DevStack."""
    with open(path) as file:
        found = flags(yaml.safe_load(file))
    for option, enabled in sorted(found.items()):
        print('compute-feature-enabled', option, enabled)
    # Nothing answers to ssh in a container that nobody has put it in.
    print('validation', 'run_validation', False)


if __name__ == '__main__':
    main(sys.argv[1])
