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

"""Nova's services in one process, our driver, and the real Engine.

The API, scheduler, conductor and compute service are Nova's own, and so is
placement; the message bus, Glance and Neutron are the fixtures of Nova's
functional tests. A test takes seconds, so what can be seen without a network
is tested here, and again in the lab where it needs one.
"""

import base64
import contextlib
import hashlib
import os
from pathlib import Path
import sys
import tempfile
import time
import uuid
import warnings

from nova import conf as nova_conf
from nova.tests.fixtures import glance as nova_glance
from nova.tests.functional.api import client as nova_client
from nova.tests.functional import integrated_helpers
import sqlalchemy.exc

from lab import container_images
from nova_docker_driver import conf
from nova_docker_driver import names
from tests import conservation

#: Other workers of the same run have others.
IMAGE_ID = str(uuid.uuid4())
HOST = f'inprocess-{os.getpid()}'

#: All that this process has given to its Glance.
MADE_IMAGES = {IMAGE_ID}

#: A first process that ends when it is asked to; a bare sleep would not.
LASTING = 'command: [sh, -c, "trap exit TERM; sleep 600 & wait"]'


PUBLIC_KEY = ('ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKZ1hDCYoFi7LKmiFVRB3Zy0vC'
              'B7HXHLmJ2pHPCWQoJx tests')


def encoded(text):
    """User data as Nova's API takes it."""
    return base64.b64encode(text.encode()).decode()


@contextlib.contextmanager
def older(api, microversion):
    """An API client of another microversion."""
    latest, api.microversion = api.microversion, microversion
    try:
        yield
    finally:
        api.microversion = latest


class StreamingGlance(nova_glance.GlanceFixture):
    """Nova's fixture, with images of ours and a download in chunks."""

    def __init__(self, test):
        super().__init__(test)
        self.downloads = []

    def add(self, image_id, content, **properties):
        self.create(None, {
            'id': image_id, 'name': 'busybox', 'status': 'active',
            'container_format': 'docker', 'disk_format': 'raw',
            'deleted_at': None, 'deleted': False, 'is_public': True,
            'min_disk': 0, 'min_ram': 0, 'size': len(content),
            'properties': {
                'os_hash_algo': 'sha512',
                'os_hash_value': hashlib.sha512(content).hexdigest(),
                **properties}})
        self._imagedata[image_id] = content

    def update(self, context, image_id, metadata, data=None,
               purge_props=False):
        """Nova's fixture keeps no content."""
        if data is not None:
            content = b''
            while chunk := data.read(65536):
                content += chunk
            self._imagedata[image_id] = content
            metadata = {**metadata, 'size': len(content), 'properties': {
                **metadata.get('properties', {}), 'os_hash_algo': 'sha512',
                'os_hash_value': hashlib.sha512(content).hexdigest()}}
            MADE_IMAGES.add(image_id)
        return super().update(context, image_id, metadata, None, purge_props)

    def download(self, context, image_id, data=None, dst_path=None,
                 trusted_certs=None):
        self.show(context, image_id)
        self.downloads.append(image_id)
        content = self._imagedata[image_id]
        for at in range(0, len(content), 65536):
            data.write(content[at:at + 65536])


class ApiCase(integrated_helpers._IntegratedTestBase):
    """A tenant of the in-process cloud; nothing is left after each test."""

    REQUIRES_LOCKING = False
    CAST_AS_CALL = False
    ADMIN_API = True
    #: Of an Engine of the test's own; None is this machine's.
    endpoint = None
    api_major_version = 'v2.1'
    microversion = 'latest'

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.files = Path(directory.name)
        self.engine = conservation.engine(self.endpoint)
        self.addCleanup(finish_images, self.endpoint)
        # Nova's base class has dropped our attributes when these run. The
        # last one keeps a test that failed from failing all that follow.
        self.addCleanup(remove_containers, self.engine)
        self.watch_containers()
        self.addCleanup(self.check_nothing_is_left, self.engine, self.files)
        self.addCleanup(remove_images, self.engine)
        super().setUp()
        # What a failed test leaves ends before the services do.
        self.addCleanup(self.delete_all, self.api)
        self.glance.add(IMAGE_ID, busybox())

    def watch_containers(self):
        watch = conservation.Watch(self.files, HOST)
        self.addCleanup(lambda: self.assertEqual([], watch.end()))

    # -- the cloud ----------------------------------------------------------

    def useFixture(self, fixture):
        if type(fixture) is nova_glance.GlanceFixture:
            fixture = StreamingGlance(self)
        return super().useFixture(fixture)

    def _setup_compute_service(self):
        self.flags(compute_driver='docker.DockerDriver')
        self.flags(files_path=str(self.files), group='docker')
        if self.endpoint:
            self.flags(endpoint=self.endpoint, group='docker')
        self.flags(disk_poll_interval=1, group='docker')
        self.flags(health_min_interval=1, group='docker')
        self.flags(shutdown_timeout=10)
        return self._start_compute(HOST)

    def _setup_services(self):
        self.flags(api_paste_config=f'{sys.prefix}/etc/nova/api-paste.ini',
                   group='wsgi')
        # Nova makes warnings errors; this one is about its own queries.
        warnings.filterwarnings(
            'ignore', category=sqlalchemy.exc.SADeprecationWarning)
        conf.register_opts(nova_conf.CONF)
        super()._setup_services()

    # -- acting -------------------------------------------------------------

    def image(self, content):
        """Another image; answers its id."""
        image_id = str(uuid.uuid4())
        MADE_IMAGES.add(image_id)
        self.glance.add(image_id, content)
        return image_id

    def boot(self, spec=LASTING, expected='ACTIVE', image=IMAGE_ID,
             flavor=None, raw=None, hints=None, **more):
        """A server; the specification goes into its user data."""
        text = f'#docker-config\n{spec}\n'.encode() if raw is None else raw
        body = self._build_server(
            image_uuid=image, networks='none',
            flavor_id=flavor or self.flavor())
        body['user_data'] = base64.b64encode(text).decode()
        server = self.api.post_server({
            'server': {**body, **more}, 'os:scheduler_hints': hints or {}})
        return self._wait_for_state_change(server, expected)

    def flavor(self, memory=64, vcpus=1, disk=1, swap=0, **extra_specs):
        made = self.admin_api.post_flavor({'flavor': {
            'name': str(uuid.uuid4()), 'ram': memory, 'vcpus': vcpus,
            'disk': disk, 'swap': swap}})
        if extra_specs:
            self.admin_api.post_extra_spec(
                made['id'], {'extra_specs': extra_specs})
        return made['id']

    def container(self, server):
        return self.engine.inspect_container(names.container(server['id']))

    def inside(self, server, *command):
        handle = self.engine.exec_create(
            names.container(server['id']), list(command))
        return self.engine.exec_start(handle['Id']).decode()

    def until(self, check, patience=30):
        deadline = time.monotonic() + patience
        while not check():
            self.assertLess(time.monotonic(), deadline, 'it does not come')
            time.sleep(0.1)

    # -- checks -------------------------------------------------------------

    def delete_all(self, api):
        for server in api.get_servers(detail=False):
            api.delete_server(server['id'])
            self._wait_until_gone(api, server['id'])

    def _wait_until_gone(self, api, server):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                api.get_server(server)
            except nova_client.OpenStackApiNotFoundException:
                return
            time.sleep(0.1)
        self.fail(f'server {server} is still there')

    def check_nothing_is_left(self, engine, files):
        self.assertEqual([], engine.containers(
            all=True, filters={'label': f'{names.HOST_LABEL}={HOST}'}))
        self.assertEqual([], list(files.iterdir()))


def busybox(name='busybox:lab', config=None):
    """An archive of this process alone.

    Workers share the Engine: what one has done with, another may use.
    """
    return container_images.archive(
        name, {'worker': (str(os.getpid()), 0o644)}, config)


def remove_images(engine):
    for image_id in MADE_IMAGES:
        conservation.remove_images(engine, image_id)


def finish_images(endpoint):
    client = conservation.engine(endpoint)
    conservation.remove_untagged(client)
    client.close()


def remove_containers(engine):
    for entry in engine.containers(
            all=True, filters={'label': f'{names.HOST_LABEL}={HOST}'}):
        engine.remove_container(entry['Id'], v=True, force=True)
    engine.close()
