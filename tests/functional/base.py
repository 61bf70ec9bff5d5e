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

"""The driver's composer on a real Engine, without any OpenStack service."""

import base64
import dataclasses
import hashlib
import os
from pathlib import Path
import tempfile
import unittest
from unittest import mock
import uuid

from nova import objects

from lab import container_images
from nova_docker_driver import engine
from nova_docker_driver import errors
from nova_docker_driver import guestfiles
from nova_docker_driver import imageconfig
from nova_docker_driver import imagemodels
from nova_docker_driver import images
from nova_docker_driver import lifecycle
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import network
from nova_docker_driver import sandbox
from nova_docker_driver import snapshot
from nova_docker_driver import snapshots
from nova_docker_driver import spec
from tests import conservation

ENDPOINT = 'unix:///var/run/docker.sock'
IMAGE_ID = 'f0000000-0000-4000-8000-00000000f00d'


class Glance:
    """Two methods of Nova's image API over one archive in memory."""

    def __init__(self, content):
        self.content = content
        self.digest = hashlib.sha512(content).hexdigest()
        self.size = len(content)
        self.properties = {}
        self.container_format = 'docker'

    def put(self, content):
        """Another image under the same id."""
        self.__init__(content)

    def update(self, context, image_id, image_info, data=None,
               purge_props=False):
        """Keeps what is uploaded; the next download answers it."""
        self.content = b''
        while chunk := data.read(65536):
            self.content += chunk
        self.put(self.content)
        self.described = image_info

    def get(self, context, image_id):
        return {'name': 'image', 'container_format': self.container_format,
                'os_hash_algo': 'sha512', 'os_hash_value': self.digest,
                'size': self.size, 'properties': self.properties}

    def download(self, context, image_id, data=None, dest_path=None,
                 trusted_certs=None):
        for at in range(0, len(self.content), 65536):
            data.write(self.content[at:at + 65536])


class ContainerCase(unittest.TestCase):

    endpoint = ENDPOINT

    def setUp(self):
        super().setUp()
        self.client = conservation.engine(self.endpoint)
        self.addCleanup(self.client.close)
        self.addCleanup(conservation.remove_untagged, self.client)
        balance = conservation.Balance(self.endpoint)
        self.addCleanup(lambda: self.assertEqual([], balance.end()))
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.files = Path(directory.name)
        watch = conservation.Watch(self.files, 'functional', self.endpoint)
        self.addCleanup(lambda: self.assertEqual([], watch.end()))
        self.engine = engine.Engine(self.endpoint, 60, 60)
        self.glance = Glance(container_images.busybox())
        self.network = mock.create_autospec(network.Network, instance=True)
        self.policy = models.Policy(
            'functional', 64, spec.BASELINE_CAPS, models.MIB, 1,
            health_min_interval=models.SECOND)
        self.lifecycle = lifecycle.Lifecycle(
            self.engine, images.Images(
                self.engine, self.glance,
                imagemodels.Terms('', imageconfig.architecture(
                    os.uname().machine))),
            sandbox.Sandboxes(self.engine, ''), self.network,
            guestfiles.GuestFiles(self.files),
            snapshot.Snapshot(self.engine),
            snapshots.Snapshots(self.engine, self.glance),
            mock.Mock(side_effect=errors.SecretUnavailable))
        # There is no database to ask.
        self.enterContext(mock.patch.object(lifecycle, '_check_wanted'))
        self.made = []
        self.addCleanup(conservation.remove_images, self.client, IMAGE_ID)
        self.addCleanup(self.check_nothing_is_left)

    def policy_with(self, **changes):
        return dataclasses.replace(self.policy, **changes)

    def check_nothing_is_left(self):
        for instance in self.made:
            self.lifecycle.destroy(instance, [])
        mine = {instance.uuid for instance in self.made}
        left = [container.name for container in self.engine.containers()
                if container.labels[names.INSTANCE_LABEL] in mine]
        self.assertEqual([], left)
        self.assertEqual([], list(self.files.iterdir()))

    def instance(self, user_data='', memory=64, **extra_specs):
        instance = objects.Instance(
            uuid=str(uuid.uuid4()), hostname='web', task_state=None,
            vm_state='active', host='functional',
            metadata={}, system_metadata={}, numa_topology=None,
            user_data=base64.b64encode(
                f'#docker-config\n{user_data}'.encode()).decode(),
            flavor=objects.Flavor(
                memory_mb=memory, vcpus=1, swap=0, ephemeral_gb=0, root_gb=1,
                extra_specs={f'docker:{key}': value for key, value
                             in extra_specs.items()}))
        self.made.append(instance)
        return instance

    def spawn(self, user_data='command: sleep 600', vifs=(), **flavor):
        instance = self.instance(user_data, **flavor)
        self.spawn_instance(instance, vifs)
        for container in self.engine.containers(instance.uuid):
            self.assertEqual([], conservation.excesses(
                self.client, container.id, self.files))
        return instance

    def spawn_instance(self, instance, vifs=(), **meta):
        values = {'id': IMAGE_ID, 'container_format': 'docker', **meta}
        self.lifecycle.spawn(None, instance, objects.ImageMeta(**values),
                             list(vifs), None, self.policy)

    def run_inside(self, instance, *command):
        handle = self.client.exec_create(
            names.container(instance.uuid), list(command))
        return self.client.exec_start(handle['Id']).decode()
