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

"""A stack of one container of an old template."""

from heat.common import exception
from heat.engine import resource as heat_resource
from heat.engine import scheduler
from heat.tests import common
from heat.tests import utils
from oslo_config import cfg
from oslo_config import fixture as config_fixture

from heat_plugins import enginesconf
from heat_plugins.resources import legacy as resource
from lab import container_images
from tests import conservation
from tests.unit.heat_plugins import test_container  # noqa: F401

LASTS = ['sh', '-c', 'trap exit TERM; echo first; echo last; '
         'sleep 600 & wait']


class LegacyCase(common.HeatTestCase):
    """Nothing may be left on its Engine after each test."""

    def setUp(self):
        super().setUp()
        heat_resource._register_class(resource.TYPE, resource.Container)
        self.stacks = []
        self.engine = self.make_engine()
        self.addCleanup(self.engine.close)
        self.engine.load_image(container_images.busybox())
        self.addCleanup(self.engine.remove_image, 'busybox:lab')
        self.conf = self.useFixture(config_fixture.Config(cfg.CONF))
        self.conf.config(group='docker_container', endpoints=['local'],
                         default_endpoint='local')
        cfg.CONF.register_opts(enginesconf._ENDPOINT_OPTIONS,
                               'docker_endpoint_local')
        self.endpoint('unix:///var/run/docker.sock')
        self.before = self.containers()
        self.addCleanup(self.check_nothing_is_left)

    def make_engine(self):
        """A client of the Engine, by its socket."""
        return conservation.engine()

    def endpoint(self, url, **files):
        """Where heat.conf says that the Engine is."""
        self.conf.config(group='docker_endpoint_local', url=url, **files)

    def containers(self):
        return {one['Id'] for one in self.engine.containers(all=True)}

    def check_nothing_is_left(self):
        left = self.containers() - self.before
        for one in left:
            self.engine.remove_container(one, force=True)
        self.assertEqual(set(), left)

    def container(self, **values):
        self.stack = utils.parse_stack({
            'heat_template_version': '2021-04-16', 'resources': {'c': {
                'type': resource.TYPE, 'properties': {
                    'image': 'busybox:lab', 'cmd': LASTS,
                    'network_mode': 'none', **values}}}})
        self.stack.store()
        # A resource does not keep its stack.
        self.stacks.append(self.stack)
        return self.stack['c']

    def run_task(self, task, *arguments):
        scheduler.TaskRunner(task, *arguments)(wait_time=0.1)

    def created(self, **values):
        found = self.container(**values)
        found.validate()
        try:
            self.run_task(found.create)
        except exception.ResourceFailure:
            self.run_task(found.delete)
            raise
        self.addCleanup(self.delete, found)
        return found

    def delete(self, found):
        if found.state != (found.DELETE, found.COMPLETE):
            self.run_task(found.delete)

    def inspect(self, found):
        return self.engine.inspect_container(found.resource_id)
