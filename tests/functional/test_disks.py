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

"""A root disk that the Engine bounds, on a private one with btrfs."""

import subprocess
import tempfile

from nova_docker_driver import hostinfo
from nova_docker_driver import inventory
from tests.functional import base
from tests import private_engine

_MIB = 1024 ** 2


class QuotaTest(base.ContainerCase):

    def setUp(self):
        self.private = private_engine.PrivateEngine(
            '--storage-driver=btrfs')
        self.addCleanup(self.private.remove)
        self._mount_btrfs(self.private.root)
        self.private.start()
        self.endpoint = self.private.endpoint
        super().setUp()

    def _mount_btrfs(self, directory):
        file = tempfile.NamedTemporaryFile(prefix='btrfs-')
        self.addCleanup(file.close)
        file.truncate(3000 * _MIB)
        directory.mkdir()
        subprocess.run(['mkfs.btrfs', '-q', file.name], check=True)
        subprocess.run(['mount', '-o', 'loop', file.name, str(directory)],
                       check=True)
        self.addCleanup(subprocess.run, ['umount', '--lazy', str(directory)],
                        check=True)

    def test_the_flavors_disk_holds(self):
        facts = hostinfo.HostInfo(self.engine).engine_facts()
        self.assertEqual(('btrfs', True),
                         (facts.storage_driver, facts.disk_quota))
        self.assertIn('CUSTOM_DOCKER_DISK_QUOTA', inventory.traits(
            hostinfo.HostInfo(self.engine).read('c1'), facts))
        self.policy = self.policy_with(disk_quota=facts.disk_quota)
        instance = self.spawn()
        said = self.run_inside(
            instance, 'dd', 'if=/dev/zero', 'of=/big', 'bs=1M', 'count=1200')
        self.assertRegex(said, 'Disk quota exceeded|No space left')
        size = int(self.run_inside(instance, 'stat', '-c', '%s', '/big'))
        self.assertLess(900 * _MIB, size)
        self.assertLess(size, 1024 * _MIB)
        # The others still can write.
        self.assertEqual('', self.run_inside(
            self.spawn(), 'sh', '-c', 'echo x > /small'))
