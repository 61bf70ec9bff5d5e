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

"""Builders of Nova's objects, and an Engine that only remembers."""

import base64
import itertools

from nova.network import model as network_model
from nova import objects

from nova_docker_driver import errors
from nova_docker_driver import hostmodels
from nova_docker_driver import models
from nova_docker_driver import names

UUID = '3f8a2e64-0b57-4c8e-9d5c-6f1b2a7c9e10'
IMAGE_ID = '7a1d0c52-6f0e-4d0b-8c3e-2b9f4f5a6d71'
HOST = 'c1'


def policy(**changes):
    values = dict(host=HOST, pids_limit=512, allowed_caps=('CHOWN', 'KILL'),
                  max_ulimits={'nofile': 1024},
                  log_max_size=models.MIB, log_max_files=2)
    return models.Policy(**{**values, **changes})


def instance(user_data='', **changes):
    values = dict(
        uuid=UUID, hostname='web', host=HOST, task_state=None,
        vm_state='active', metadata={},
        system_metadata={}, numa_topology=None,
        user_data=base64.b64encode(user_data.encode()).decode(),
        flavor=objects.Flavor(memory_mb=64, vcpus=1, swap=0, ephemeral_gb=0,
                              root_gb=1, extra_specs={}))
    return objects.Instance(**{**values, **changes})


def image_meta(**changes):
    values = dict(id=IMAGE_ID, container_format='docker', disk_format='raw')
    return objects.ImageMeta(**{**values, **changes})


def vif(number=1, active=False, **changes):
    subnet = network_model.Subnet(
        cidr='10.0.0.0/24', version=4,
        gateway=network_model.IP('10.0.0.1'),
        dns=[network_model.IP('10.0.0.2')],
        ips=[network_model.FixedIP(address=f'10.0.0.{10 + number}')],
        routes=[])
    network = network_model.Network(id='net', bridge='br-int', label='net',
                                    subnets=[subnet], mtu=1442)
    values = dict(
        id=f'{number:08d}-0000-4000-8000-000000000000',
        address=f'fa:16:3e:00:00:{number:02x}', network=network, type='ovs',
        devname=f'tap{number:08d}-00', active=active,
        details={'datapath_type': 'netdev'}, delegate_create=True)
    return network_model.VIF(**{**values, **changes})


class Glance:
    """Says that each image is there, and has no data of any."""

    def get(self, context, image_id):
        return {'container_format': 'docker'}

    def download(self, context, image_id, data=None, dest_path=None,
                 trusted_certs=None):
        raise AssertionError(image_id)


class Engine:
    """The Engine's port in memory; ``calls`` is what was asked of it."""

    def __init__(self):
        self.calls = []
        self.specs = {}
        self.states = {}
        self.failures = {}
        self.after_start = {}
        self.log = b''
        self.signals = []
        self.code = 0
        self.root = models.RootFs('overlay2', {
            'LowerDir': '/l', 'UpperDir': '/u', 'WorkDir': '/w'})
        self.known_images = {}
        self.stored = []
        self._ids = itertools.count(1)

    def _called(self, verb):
        self.calls.append(verb)
        if self.failures.get(verb):
            # None stands for a call that succeeds.
            failure = self.failures[verb].pop(0)
            if failure is not None:
                raise failure

    def _id(self, reference):
        for container_id, spec in self.specs.items():
            if reference in (container_id, spec.name):
                return container_id
        raise errors.NotFound(f'no container {reference}')

    def _container(self, container_id):
        spec = self.specs[container_id]
        return models.Container(
            id=container_id, name=spec.name, labels=spec.labels,
            image=spec.image, namespace=f'/netns/{container_id}',
            root=self.root,
            **self.states[container_id])

    def facts(self):
        self._called('facts')
        return hostmodels.EngineFacts('20.10.24+dfsg1', '/', 'x86_64', 2,
                                      4096 * models.MIB)

    def containers(self, instance_uuid=None, host=None):
        self._called('containers')
        found = map(self._container, self.specs)
        return [container for container in found
                if names.owner(container.name, container.labels)
                and instance_uuid in (
                    None, container.labels[names.INSTANCE_LABEL])]

    def inspect(self, reference):
        self._called('inspect')
        return self._container(self._id(reference))

    def create(self, spec):
        self._called('create')
        if any(spec.name == other.name for other in self.specs.values()):
            raise errors.NameConflict(spec.name)
        container_id = f'id{next(self._ids)}'
        self.specs[container_id] = spec
        self.states[container_id] = {'status': 'created'}
        return container_id

    def start(self, container_id):
        self._called('start')
        container_id = self._id(container_id)
        self.states[container_id] = {'status': 'running'}
        if self.specs[container_id].labels.get(
                names.ROLE_LABEL) == names.ROLE_SERVER:
            self.states[container_id].update(self.after_start)

    def stop(self, container_id, timeout):
        self._called('stop')
        container_id = self._id(container_id)
        self.states[container_id] = {'status': 'exited'}

    def kill(self, container_id, signal='SIGKILL'):
        self._called('kill')
        self.signals.append(signal)
        container_id = self._id(container_id)
        if signal == 'SIGKILL':
            self.states[container_id] = {'status': 'exited',
                                         'exit_code': 137}

    def run(self, container_id, command, user, given):
        self._called('run')
        self.given = (command, user, given)
        return self.code

    def pause(self, container_id):
        self._called('pause')
        container_id = self._id(container_id)
        self.states[container_id] = {'status': 'paused'}

    def unpause(self, container_id):
        self._called('unpause')
        container_id = self._id(container_id)
        self.states[container_id] = {'status': 'running'}

    def remove(self, container_id):
        self._called('remove')
        try:
            container_id = self._id(container_id)
        except errors.NotFound:
            return
        del self.specs[container_id], self.states[container_id]

    def logs(self, container_id, lines, size):
        self._called('logs')
        return self.log[-size:]

    def image(self, reference):
        self._called('image')
        try:
            return self.known_images[reference]
        except KeyError:
            raise errors.NotFound(reference) from None

    def load(self, archive):
        self._called('load')
        self.loaded = b''.join(archive)

    def stored_images(self):
        self._called('stored_images')
        return self.stored

    def images_in_use(self):
        self._called('images_in_use')
        return self.in_use

    def image_loaded_at(self, tag):
        self._called('image_loaded_at')
        return self.loaded_at[tag]

    def image_settings(self, reference):
        self._called('image_settings')
        return self.settings

    def distribution(self, reference, authorization):
        self._called('distribution')
        self.authorizations.append(authorization)
        return self.distributions[reference]

    def pull(self, reference, authorization, timeout, stall):
        self._called('pull')
        self.authorizations.append(authorization)
        yield from self.progress
        self.known_images[reference] = models.EngineImage(
            'sha256:pulled', size=7, layers=('1', '2'))

    def tag(self, reference, tag):
        self._called('tag')
        self.known_images[tag] = self.known_images[reference]

    def remove_image(self, reference):
        self._called('remove_image')
        self.known_images.pop(reference, None)
