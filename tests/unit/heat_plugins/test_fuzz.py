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

"""Whatever a template says, it is valid or refused by name."""

import os
import socket
from unittest import mock

from heat.common import exception
from heat.engine import resource as heat_resource
from heat.engine import stack as heat_stack
from heat.engine import template as heat_template
from heat.tests import utils
import hypothesis
from hypothesis import strategies
from oslo_config import cfg
from oslo_config import fixture as config_fixture

from heat_plugins.resources import group
from heat_plugins.resources import image
from heat_plugins.resources import legacy
from heat_plugins import schemas
from tests.unit.heat_plugins import test_container

EXAMPLES = int(os.environ.get('NOVA_DOCKER_EXAMPLES', '2000'))

_SCALARS = strategies.one_of(
    strategies.none(), strategies.booleans(),
    strategies.integers(-2, 2 ** 40), strategies.floats(),
    strategies.text(max_size=12), strategies.sampled_from([
        '/x', '10s', '64m', '80/tcp', 'localhost/a:1', '\0', '../..',
        'unix:///var/run/docker.sock', 'http://169.254.169.254/',
        'always', 'healthy', '-1', '${x}', 'a=b', '0777']))
_VALUES = strategies.recursive(_SCALARS, lambda inner: strategies.one_of(
    strategies.lists(inner, max_size=3), strategies.dictionaries(
        strategies.sampled_from([
            'name', 'test', 'type', 'target', 'path', 'content', 'mode',
            'interval', 'nofile', 'soft', 'hard', 'size_mb', 'Name',
            'path_on_host', 'web', 'image', 'command', 'ports', 'A=B', '']),
        inner, max_size=4)), max_leaves=8)


def sets(schema, **always):
    """Some properties of a resource, with any values."""
    names = sorted({*schema, 'no_such_property'})
    return strategies.dictionaries(
        strategies.sampled_from(names), _VALUES, max_size=4).map(
            lambda given: {**always, **given})


class TestFuzz(test_container.ContainerCase):
    """The mocks are the container's; sockets are refused on top."""

    def setUp(self):
        super().setUp()
        conf = self.useFixture(config_fixture.Config(cfg.CONF))
        conf.config(group='docker_container', endpoints=['one'])
        heat_resource._register_class(legacy.TYPE, legacy.Container)
        flavor = mock.Mock(vcpus=1, ram=64)
        flavor.name = 'c1.tiny'
        client = mock.Mock()
        client.flavors.list.return_value = [flavor]
        self.patchobject(group.ContainerGroup, 'client', return_value=client)
        self.patchobject(socket, 'socket',
                         side_effect=AssertionError('a socket is opened'))

    def judge(self, kind, schema, **always):
        seen = {'valid': 0, 'refused': 0}

        @hypothesis.settings(
            max_examples=EXAMPLES // 4, deadline=None, database=None,
            suppress_health_check=list(hypothesis.HealthCheck))
        @hypothesis.given(sets(schema, **always))
        def check(given):
            try:
                stack = heat_stack.Stack(
                    utils.dummy_context(), 'fuzz', heat_template.Template({
                        'heat_template_version': '2021-04-16',
                        'resources': {'r': {'type': kind,
                                            'properties': given}}}))
                found = stack['r']
                found.validate()
                seen['valid'] += 1
            except exception.StackValidationFailed as error:
                self.assertTrue(str(error).strip())
                seen['refused'] += 1
        check()
        return seen

    def test_containers(self):
        seen = self.judge('OS::NovaDocker::Container', schemas.PROPERTIES,
                          image='busybox', flavor='c1.tiny',
                          networks=[{'network': 'private'}])
        self.assertGreater(seen['valid'], 5)
        self.assertGreater(seen['refused'], 100)

    def test_groups(self):
        # What is in the group is judged by itself above.
        self.patchobject(
            group.ContainerGroup, 'validate_nested_stack', autospec=True,
            side_effect=lambda made: made.child_template())
        seen = self.judge('OS::NovaDocker::ContainerGroup',
                          group.ContainerGroup.properties_schema)
        self.assertGreater(seen['refused'], 100)

    def test_images(self):
        seen = self.judge('OS::NovaDocker::Image',
                          image.Image.properties_schema,
                          reference='localhost/a')
        self.assertGreater(seen['valid'], 5)

    def test_old_containers(self):
        seen = self.judge(legacy.TYPE, legacy.Container.properties_schema,
                          image='busybox')
        self.assertGreater(seen['refused'], 100)
