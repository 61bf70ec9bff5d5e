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

"""The resource inside of a real stack, with a client of Nova that notes."""

import sys
from unittest import mock

from heat.common import exception
from heat.common import template_format
from heat.engine.clients.os import glance
from heat.engine.clients.os import neutron
from heat.engine.clients.os import nova
from heat.engine import resources
from heat.engine import rsrc_defn
from heat.engine import scheduler
from heat.tests import common
from heat.tests import utils
from novaclient import exceptions as nova_exceptions
from novaclient.v2 import servers as nova_servers
from oslo_config import cfg

from heat_plugins import clients
from heat_plugins.resources import container

TEMPLATE = """
heat_template_version: 2018-08-31
resources:
  web:
    type: OS::NovaDocker::Container
    properties:
      name: web
      image: busybox
      flavor: c1.tiny
      networks: [{network: private}]
"""

SERVER = '5d5a8a2c-0f10-4c1e-9df5-2c1a1f0b8a11'


# The wheel puts these files beside the packages, where Heat's own tests do
# not look.
cfg.CONF.set_default('environment_dir',
                     f'{sys.prefix}/etc/heat/environment.d')
cfg.CONF.set_default('template_dir', f'{sys.prefix}/etc/heat/templates')
resources.initialise()


class TestContainer(common.HeatTestCase):

    def setUp(self):
        super().setUp()
        self.servers = mock.create_autospec(nova_servers.ServerManager,
                                            instance=True)
        self.server = mock.create_autospec(
            nova_servers.Server, instance=True, id=SERVER, status='ACTIVE',
            metadata={}, addresses={}, _info={})
        # An attribute of the class that the constructor of a server sets.
        self.server.name = 'web'
        self.servers.create.return_value = self.server
        self.servers.get.return_value = self.server
        for cls in (nova.NovaClientPlugin, clients.NovaDockerClientPlugin):
            self.patchobject(cls, 'client', return_value=mock.Mock(
                servers=self.servers))
        self.patchobject(glance.GlanceClientPlugin,
                         'find_image_by_name_or_id', return_value='img-1')
        self.patchobject(glance.GlanceClientPlugin, 'get_image',
                         return_value=mock.Mock(
                             status='active', min_ram=0, min_disk=0))
        self.patchobject(nova.NovaClientPlugin,
                         'find_flavor_by_name_or_id', return_value='flv-1')
        self.patchobject(nova.NovaClientPlugin, 'get_flavor',
                         return_value=mock.Mock(ram=64, disk=1))
        self.patchobject(nova.NovaClientPlugin, 'absolute_limits',
                         return_value={'maxServerMeta': 128})
        self.patchobject(neutron.NeutronClientPlugin,
                         'find_resourceid_by_name_or_id',
                         return_value='net-1')
        self.patchobject(container.Container, '_build_nics',
                         return_value=[{'net-id': 'net-1'}])
        self.patchobject(container.Container, 'store_external_ports')
        self.patchobject(container.Container, '_get_live_networks',
                         return_value=[])
        self.update_server_tags = self.patchobject(
            container.Container, '_update_server_tags', autospec=True)

    def web(self, **properties):
        template = template_format.parse(TEMPLATE)
        template['resources']['web']['properties'].update(properties)
        self.stack = utils.parse_stack(template)
        return self.stack['web']

    def run_task(self, task):
        scheduler.TaskRunner(task)()

    def created(self, **properties):
        web = self.web(**properties)
        self.run_task(web.create)
        return web

    def assertRefused(self, text, **properties):
        self.assertIn(text, str(self.assertRaises(
            exception.StackValidationFailed,
            self.web(**properties).validate)))

    # -- validation ---------------------------------------------------------

    def test_valid_properties(self):
        self.web(command=['sleep', '1'], environment={'A': 1},
                 healthcheck={'test': ['CMD', 'true']},
                 wait_for='healthy').validate()

    def test_properties_that_contradict_each_other(self):
        self.assertRefused('healthcheck', wait_for='healthy')

    def test_environments_that_cannot_be(self):
        self.assertRefused("'A=B'", environment={'A=B': 'x'})
        self.assertRefused('the value of A', environment={'A': ['x']})

    def test_metadata_of_the_driver(self):
        self.assertRefused('docker:health', metadata={'docker:health': 'x'})

    def test_more_than_nova_accepts(self):
        self.assertRefused('Nova accepts', environment={'A': 'x' * 60000})

    # -- create -------------------------------------------------------------

    def test_what_nova_is_asked_for(self):
        web = self.created(command=['sleep', '1'], metadata={'a': 'b'},
                           tags=['t'])
        self.assertEqual((web.CREATE, web.COMPLETE), web.state)
        self.assertEqual(SERVER, web.resource_id)
        asked = self.servers.create.call_args.kwargs
        self.assertEqual(('img-1', 'flv-1'),
                         (asked['image'], asked['flavor']))
        self.assertTrue(asked['userdata'].startswith('#docker-config\n'))
        self.assertEqual({'a': 'b', 'heat:resource_uuid': web.uuid},
                         asked['meta'])
        self.update_server_tags.assert_called_once_with(web, ['t'])

    def test_a_build_that_nova_gave_up_is_not_repeated(self):
        self.server.status = 'ERROR'
        self.server.fault = {
            'message': f'Build of instance {SERVER} aborted: no such program'}
        web = self.web()
        error = self.assertRaises(exception.ResourceFailure, self.run_task,
                                  web.create)
        self.assertIn('no such program', str(error))
        self.assertEqual(1, self.servers.create.call_count)

    def test_a_host_that_failed_is_a_resource_in_error(self):
        self.server.status = 'ERROR'
        self.server.fault = {'message': 'No valid host was found'}
        web = self.web()
        web.resource_id_set(SERVER)
        self.assertRaises(exception.ResourceInError,
                          web.check_create_complete, SERVER)

    def test_an_api_that_does_not_answer_is_waited_for(self):
        web = self.web()
        self.patchobject(clients.NovaDockerClientPlugin, 'fetch_server',
                         return_value=None)
        self.assertFalse(web.check_create_complete(SERVER))

    def test_a_job_is_waited_for(self):
        web = self.web(wait_for='completed')
        self.assertFalse(web.check_create_complete(SERVER))
        self.server.status = 'SHUTOFF'
        self.server.metadata = {'docker:exit_code': '0'}
        self.assertTrue(web.check_create_complete(SERVER))

    def test_an_early_end_fails_the_resource(self):
        self.server.status = 'SHUTOFF'
        self.server.metadata = {'docker:exit_code': '3'}
        self.server.get_console_output.return_value = 'last words'
        error = self.assertRaises(exception.ResourceFailure,
                                  self.run_task, self.web().create)
        self.assertIn('exit code 3', str(error))
        self.assertIn('last words', str(error))

    # -- update -------------------------------------------------------------

    def update(self, web, **properties):
        after = {**dict(web.t._properties), **properties}
        self.run_task(lambda: web.update(rsrc_defn.ResourceDefinition(
            web.name, web.type(), after)))

    def test_a_new_command_is_one_rebuild(self):
        web = self.created()
        self.update(web, command=['sleep', '2'], environment={'A': 'b'})
        self.server.rebuild.assert_called_once_with(
            'img-1', userdata=mock.ANY)
        self.assertIn('"sleep"',
                      self.server.rebuild.call_args.kwargs['userdata'])
        self.assertEqual((web.UPDATE, web.COMPLETE), web.state)

    def test_new_metadata_is_no_rebuild(self):
        web = self.created()
        self.update(web, metadata={'new': 'x'})
        self.servers.set_meta.assert_called_once_with(
            self.server, {'new': 'x'})
        self.server.rebuild.assert_not_called()

    # -- what else is asked -------------------------------------------------

    def test_check(self):
        web = self.created()
        self.run_task(web.check)
        self.assertEqual((web.CHECK, web.COMPLETE), web.state)
        self.server.status = 'SHUTOFF'
        self.assertRaises(exception.ResourceFailure, self.run_task,
                          web.check)

    def test_a_completed_job_is_well(self):
        self.server.status = 'SHUTOFF'
        self.server.metadata = {'docker:exit_code': '0'}
        web = self.created(wait_for='completed')
        self.run_task(web.check)
        self.assertEqual((web.CHECK, web.COMPLETE), web.state)

    def test_suspend_and_resume(self):
        web = self.created()
        for act, status in (('suspend', 'SUSPENDED'), ('resume', 'ACTIVE')):
            def change(status=status):
                self.server.status = status
            getattr(self.server, act).side_effect = change
            self.run_task(getattr(web, act))
            self.assertEqual((act.upper(), web.COMPLETE), web.state)

    def test_attributes(self):
        web = self.created()
        self.server.metadata = {'docker:exit_code': '4'}
        self.server.get_console_output.return_value = 'said'
        self.assertEqual(
            ['ACTIVE', 4, 'said'],
            [web._resolve_attribute(name)
             for name in ('status', 'exit_code', 'logs')])
        self.servers.get.side_effect = nova_exceptions.NotFound(404)
        self.assertIsNone(web._resolve_attribute('status'))

    def test_what_the_driver_wrote_is_not_the_templates(self):
        web = self.created()
        live = web.parse_live_resource_data(
            web.properties, (self.server, {
                'metadata': {'a': 'b', 'docker:exit_code': '0'},
                'flavor': {'id': 'flv-1'}, 'image': {'id': 'img-1'}}))
        self.assertEqual({'a': 'b'}, live['metadata'])
