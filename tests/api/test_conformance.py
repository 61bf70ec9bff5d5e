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

"""Nova's own tests of what every virt driver does, on the real Engine.

Images and ports are not in question here: every server runs busybox, and its
ports are not plugged.
"""

import contextlib
import os
from pathlib import Path
import tempfile
from unittest import mock
import warnings

import fixtures
from nova import exception
from nova import objects
from nova import test
from nova.tests.unit.virt import test_virt_drivers
import sqlalchemy.exc

from lab import container_images
from nova_docker_driver import devices
from nova_docker_driver import images
from nova_docker_driver import network
from tests.api import base
from tests import conservation

GET_TEST_INSTANCE = test_virt_drivers.test_utils.get_test_instance

TAG = f'conformance:{os.getpid()}'

#: Ends when it is asked to, and has a tool for passwords.
IMAGE = container_images.archive(TAG, {
    'bin/chpasswd': ('#!/bin/sh\ncat > /dev/null\n', 0o755)},
    {'Cmd': ['sh', '-c', 'trap exit TERM; sleep 600 & wait']})


class TestConformance(test_virt_drivers._VirtDriverTestCase, test.TestCase):

    driver_module = 'nova.virt.docker.DockerDriver'

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.engine = conservation.engine()
        self.addCleanup(base.remove_containers, self.engine)
        watch = conservation.Watch(Path(directory.name), base.HOST)
        self.addCleanup(lambda: self.assertEqual([], watch.end()))
        super().setUp()
        self.flags(files_path=directory.name, group='docker')
        self.flags(host=base.HOST, vif_plugging_timeout=0)
        self.flags(enabled=True, group='serial_console')
        warnings.filterwarnings(
            'ignore', category=sqlalchemy.exc.SADeprecationWarning)
        self.connection = test_virt_drivers.importutils.import_object(
            self.driver_module, test_virt_drivers.fake.FakeVirtAPI())
        for path in ('nova.context.get_admin_context',):
            self.stub_out(path, lambda: self.ctxt)
        list(self.engine.load_image(IMAGE))
        image = self.connection._engine.image(TAG)
        self.addCleanup(self.engine.remove_image, TAG, force=True)
        for target, verb, answer in (
                (images.Images, 'held', contextlib.nullcontext(image)),
                (network.Network, 'connect', None),
                (images, 'wanted', None),
                (network.Network, 'attach', None),
                (devices, 'remember', None),
                (objects.InstanceList, 'get_by_host', []),
                (network.Network, 'restore', None),
                (network.Network, 'disconnect', None)):
            patch = mock.patch.object(target, verb, return_value=answer)
            patch.start()
            self.addCleanup(patch.stop)
        self.servers = self.useFixture(fixtures.MockPatchObject(
            test_virt_drivers.test_utils, 'get_test_instance',
            side_effect=self.small_server))
        self.connection.init_host(base.HOST)
        self.addCleanup(self.connection.cleanup_host, base.HOST)

    def small_server(self, context=None, flavor=None, obj=False):
        """As Nova's, without the disks that containers do not have."""
        made = GET_TEST_INSTANCE(context, flavor, True)
        made.flavor.ephemeral_gb = 0
        made.flavor.memory_mb, made.flavor.vcpus = 64, 1
        self.addCleanup(self.connection.destroy, self.ctxt, made, None)
        return made

    def refused(self, verb, kind, *arguments):
        server, _ = self._get_running_instance()
        with self.assertRaises(kind):
            getattr(self.connection, verb)(self.ctxt, server, *arguments)

    def test_get_vnc_console(self):
        """A container has no screen: refused, with the reason Nova knows."""
        self.refused('get_vnc_console', exception.ConsoleTypeUnavailable)

    def test_get_spice_console(self):
        self.refused('get_spice_console', exception.ConsoleTypeUnavailable)

    def test_live_migration(self):
        self.refused('live_migration', NotImplementedError, 'otherhost',
                     None, None)

    def test_live_migration_force_complete(self):
        server, _ = self._get_running_instance()
        with self.assertRaises(NotImplementedError):
            self.connection.live_migration_force_complete(server)

    def test_what_is_covered(self):
        """All of Nova's tests are ours too."""
        theirs = {name for name in dir(
            test_virt_drivers._VirtDriverTestCase) if name.startswith('test')}
        self.assertGreater(len(theirs), 60)
        self.assertLessEqual(theirs, set(dir(self)))
