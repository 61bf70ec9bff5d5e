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
from heat.engine.clients import client_exception
from heat.engine.clients.os import barbican
from heat.engine.clients.os import glance
from heat.engine.clients.os import neutron
from heat.engine.clients.os import nova
from heat.engine import resource
from heat.engine import resources
from heat.engine import rsrc_defn
from heat.engine import scheduler
from heat.tests import common
from heat.tests import utils
from keystoneauth1 import exceptions as ks_exceptions
from novaclient import exceptions as nova_exceptions
from novaclient.v2 import servers as nova_servers
from oslo_config import cfg

from heat_plugins import clients
from heat_plugins import pacing
from heat_plugins.resources import container
from heat_plugins import schemas

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


class ContainerCase(common.HeatTestCase):
    """Other services are doubles of what they are in novaclient."""

    def setUp(self):
        super().setUp()
        self.servers = mock.create_autospec(nova_servers.ServerManager,
                                            instance=True)
        self.server = mock.create_autospec(
            nova_servers.Server, instance=True, id=SERVER, status='ACTIVE',
            metadata={}, addresses={}, _info={})
        setattr(self.server, 'OS-EXT-STS:task_state', None)
        # An attribute of the class that the constructor of a server sets.
        self.server.name = 'web'
        self.servers.create.return_value = self.server
        #: What Nova lists in full, and the ids that it lists.
        self.orphans, self.listed = [], []
        self.servers.list.side_effect = (
            lambda detailed=True, **more: self.orphans if detailed
            else [mock.Mock(id=one) for one in self.listed])
        self.patchobject(clients, '_SHARED', new=pacing.Shared())
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
        found = template['resources']['web']['properties']
        found.update(properties)
        for name, value in properties.items():
            if value is None:
                del found[name]
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


class TestContainer(ContainerCase):

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

    def test_what_is_not_there(self):
        self.assertRefused('image', image=None)
        self.assertRefused('pull_policy', pull_policy='always')
        self.assertRefused('Cinder', mounts=[
            {'type': 'volume', 'target': '/data', 'volume': 'v'}])
        self.assertRefused('size_mb is not for', mounts=[
            {'type': 'ephemeral', 'target': '/data', 'size_mb': 3}])

    def test_secrets_that_cannot_be_read(self):
        secret = '5d3c0b1e-8f0a-4a57-9d0e-9b8c7a6f5e4d'
        get = self.patchobject(barbican.BarbicanClientPlugin,
                               'get_secret_by_ref')
        self.web(environment_secrets={'A': secret}).validate()
        get.assert_called_once_with(secret)
        for error, reason in (
                (exception.EntityNotFound(entity='Secret', name=secret),
                 'environment_secrets: A: Error validating value'),
                (ks_exceptions.EndpointNotFound('no key manager'),
                 'environment_secrets: A: no key manager')):
            get.side_effect = error
            self.assertRefused(reason, environment_secrets={'A': secret})
        get.reset_mock()
        for wrong in ('', 'x', 7, [secret]):
            self.assertRefused('A: it is not the id of a secret',
                               environment_secrets={'A': wrong})

    def test_a_secret_that_is_yet_to_be_made_is_not_asked_for(self):
        get = self.patchobject(barbican.BarbicanClientPlugin,
                               'get_secret_by_ref')
        template = template_format.parse(TEMPLATE)
        template['resources']['key'] = {'type': 'OS::Heat::RandomString'}
        template['resources']['web']['properties']['environment_secrets'] = {
            'A': {'get_resource': 'key'}}
        self.stack = utils.parse_stack(template)
        self.stack['web'].validate()
        get.assert_not_called()

    def test_a_name_in_a_nested_stack_stands_for_a_secret_to_come(self):
        get = self.patchobject(barbican.BarbicanClientPlugin,
                               'get_secret_by_ref')
        web = self.web(environment_secrets={'A': 'key'})
        self.stack.strict_validate = False
        web.validate()
        get.assert_not_called()

    def test_values_that_cannot_be(self):
        for text, properties in (
                ('interval', {'healthcheck': {'test': ['CMD', 'a'],
                                              'interval': '3 days'}}),
                ('expose', {'expose': ['http']}),
                ('image_ref', {'image_ref': 'busybox'}),
                ('dns', {'dns': ['resolver']}),
                ('soft', {'ulimits': {'nofile': {'soft': 1}}}),
                ('ulimits', {'ulimits': {'nofile': 'many'}}),
                ('path', {'files': [{'path': 'etc', 'content': ''}]}),
                ('target', {'mounts': [{'target': '/proc/x'}]}),
                ('name', {'restart_policy': {'name': 'never'}}),
                ('privileged', {'privileged': True}),
                ('labels', {'labels': {'a': {}}})):
            with self.subTest(text):
                self.assertRefused(text, **properties)

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
        self.assertEqual({'a': 'b', 'heat:resource_uuid': web.uuid,
                          'heat:spec_digest': mock.ANY}, asked['meta'])
        self.assertNotIn('hostname', asked)
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

    def test_a_reference_goes_with_the_clouds_placeholder(self):
        reference = 'registry.example.org/team/web:1'
        self.created(image=None, image_ref=reference,
                     hostname='web-1')
        asked = self.servers.create.call_args.kwargs
        self.assertEqual(('img-1', 'web-1'),
                         (asked['image'], asked['hostname']))
        self.assertIn(f'"image": "{reference}"', asked['userdata'])

    def test_a_cloud_without_placeholder(self):
        plugin = glance.GlanceClientPlugin
        self.patchobject(plugin, 'find_image_by_name_or_id',
                         side_effect=client_exception.EntityMatchNotFound(
                             entity='image', args={'name': 'x'}))
        error = self.assertRaises(
            exception.ResourceFailure, self.run_task,
            self.web(image=None, image_ref='localhost/web').create)
        self.assertIn('registry-placeholder', str(error))
        self.servers.create.assert_not_called()

    # -- an engine that has ended meanwhile ---------------------------------

    def test_what_it_made_is_found_again(self):
        web = self.web()
        web.state_set(web.CREATE, web.FAILED)
        self.orphans = [
            mock.Mock(id='other', metadata={}), self.server]
        self.server.metadata = {'heat:resource_uuid': web.uuid}
        self.server.status = 'BUILD'
        self.assertFalse(web.needs_replace_failed())
        self.assertEqual(SERVER, web.resource_id)
        # And waited for.
        self.assertFalse(web.check_update_complete([]))
        self.server.status = 'ACTIVE'
        self.assertTrue(web.check_update_complete([]))

    def test_what_goes_on_is_waited_for_although_nothing_changed(self):
        web = self.created()
        web.state_set(web.CREATE, web.FAILED)
        waited = self.patchobject(web, 'check_create_complete',
                                  side_effect=[False, True])
        self.update(web)
        self.assertEqual(2, waited.call_count)
        self.assertEqual((web.UPDATE, web.COMPLETE), web.state)

    def test_without_anything_made_it_is_made_anew(self):
        web = self.web()
        self.orphans = [
            mock.Mock(id='other', metadata={'heat:resource_uuid': 'x'})]
        self.assertTrue(web.needs_replace_failed())
        self.run_task(web.delete)
        self.servers.delete.assert_not_called()

    def test_what_nobody_knows_of_is_deleted_with_the_resource(self):
        web = self.web()
        web.state_set(web.CREATE, web.FAILED)
        self.server.metadata = {'heat:resource_uuid': web.uuid}
        self.orphans = [self.server]
        self.servers.get.side_effect = nova_exceptions.NotFound(404)
        self.run_task(web.delete)
        self.servers.delete.assert_called_once_with(SERVER)

    def test_what_is_being_built_is_not_looked_at(self):
        web = self.web()
        self.listed = [SERVER]
        self.assertFalse(web.check_create_complete(SERVER))
        self.servers.list.assert_called_once_with(
            detailed=False, search_opts={'status': 'BUILD'})
        self.servers.get.assert_not_called()
        self.patchobject(clients, '_SHARED', new=pacing.Shared())
        self.listed = ['another']
        self.assertTrue(web.check_create_complete(SERVER))

    def test_without_a_list_the_server_itself_tells(self):
        web = self.web()
        self.servers.list.side_effect = nova_exceptions.ClientException(503)
        self.assertTrue(web.check_create_complete(SERVER))
        self.servers.get.assert_called_once_with(SERVER)
        # That there is none is shared as well.
        self.web().check_create_complete(SERVER)
        self.servers.list.assert_called_once()

    def test_a_build_that_fails_meanwhile_undoes_no_deletion(self):
        web = self.created()
        failed = mock.Mock(status='ERROR', fault={'message': 'x'})
        setattr(failed, 'OS-EXT-STS:task_state', None)
        self.servers.get.side_effect = [
            self.server, failed, nova_exceptions.NotFound(404)]
        self.run_task(web.delete)
        self.assertEqual([mock.call(SERVER)] * 2,
                         self.servers.delete.call_args_list)
        self.assertEqual((web.DELETE, web.COMPLETE), web.state)

    def test_what_cannot_be_deleted_fails(self):
        web = self.created()
        self.server.status = 'ERROR'
        self.server.fault = {'message': 'no such thing'}
        error = self.assertRaises(exception.ResourceFailure, self.run_task,
                                  web.delete)
        self.assertIn('no such thing', str(error))

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

    def test_what_has_ended_is_made_anew_and_started_then(self):
        """Or Nova would end the new process in the middle of its work."""
        for wait_for, after in (('completed', 'SHUTOFF'),
                                ('running', 'ACTIVE')):
            self.server.status = 'ACTIVE'
            if wait_for == 'completed':
                self.server.status = 'SHUTOFF'
                self.server.metadata = {'docker:exit_code': '0'}
            web = self.created(wait_for=wait_for)
            self.server.status = 'SHUTOFF'
            self.server.start.reset_mock()
            self.server.start.side_effect = (
                lambda after=after: self.change(after))
            self.servers.delete_meta.reset_mock()
            self.update(web, command=['b'])
            if wait_for == 'completed':
                self.servers.delete_meta.assert_called_once_with(
                    self.server, ['docker:exit_code'])
            self.server.rebuild.assert_called_with(
                'img-1', userdata=mock.ANY)
            self.server.start.assert_called_once_with()
            self.assertEqual((web.UPDATE, web.COMPLETE), web.state)

    def change(self, status):
        self.server.status = status

    def test_what_failed_once_is_tried_again(self):
        web = self.created()
        web.state_set(web.CREATE, web.FAILED)
        self.server.status = 'SHUTOFF'
        self.server.metadata = {'docker:exit_code': '3'}

        def start():
            self.server.status, self.server.metadata = 'ACTIVE', {}
        self.server.start.side_effect = start
        self.update(web)
        self.server.rebuild.assert_called_once_with(
            'img-1', userdata=mock.ANY)
        self.assertEqual((web.UPDATE, web.COMPLETE), web.state)
        web = self.created(recreate_policy='REPLACE')
        self.server.status = 'SHUTOFF'
        self.server.metadata = {'docker:exit_code': '3'}
        self.assertTrue(web.needs_replace_failed())

    def test_the_policies_of_a_change(self):
        web = self.created(recreate_policy='IGNORE')
        self.update(web, recreate_policy='IGNORE', command=['a'])
        self.server.rebuild.assert_not_called()
        web = self.created(recreate_policy='REPLACE')
        self.assertRaises(resource.UpdateReplace, self.update, web,
                          recreate_policy='REPLACE', command=['a'])

    def test_a_new_flavor_is_a_resize(self):
        web = self.created()
        statuses = iter([('ACTIVE', 'resize_prep'), ('RESIZE', None),
                         ('VERIFY_RESIZE', None), ('VERIFY_RESIZE', None),
                         ('ACTIVE', None)])

        def get(server_id):
            self.server.status, task = next(statuses, ('ACTIVE', None))
            setattr(self.server, 'OS-EXT-STS:task_state', task)
            return self.server
        self.server.resize.side_effect = lambda flavor: (
            self.servers.get.configure_mock(side_effect=get))
        self.patchobject(
            nova.NovaClientPlugin, 'find_flavor_by_name_or_id',
            side_effect=lambda name: {'c1.tiny': 'flv-1'}.get(name, 'flv-2'))
        self.update(web, flavor='c1.small')
        self.server.resize.assert_called_once_with('flv-2')
        self.server.confirm_resize.assert_called_once_with()

    def test_a_resize_that_nova_refuses(self):
        web = self.created()
        setattr(self.server, 'OS-EXT-STS:task_state', None)
        error = self.assertRaises(
            exception.Error, web.client_plugin().check_resize_container,
            SERVER, 'flv-2')
        self.assertIn('flavor_update_policy', str(error))

    def test_security_groups_are_changed_live(self):
        web = self.created()
        self.patchobject(neutron.NeutronClientPlugin, 'get_secgroup_uuids',
                         side_effect=lambda names: names)
        client = self.patchobject(neutron.NeutronClientPlugin, 'client')
        self.server.interface_list.return_value = [mock.Mock(port_id='p')]
        for groups, wanted in ((['web'], ['web']), ([], ['default'])):
            self.update(web, security_groups=groups)
            client.return_value.update_port.assert_called_with(
                'p', {'port': {'security_groups': wanted}})
        self.server.rebuild.assert_not_called()
        # A port of the template's own has groups of its own.
        client.return_value.update_port.reset_mock()
        web._update_security_groups({
            'security_groups': ['x'], 'networks': [{'port': 'p'}]})
        client.return_value.update_port.assert_not_called()

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

    def test_an_unhealthy_process_is_not_well(self):
        web = self.created(healthcheck={'test': ['CMD', 'true']},
                           wait_for='healthy')
        self.server.metadata = {'docker:health': 'unhealthy'}
        self.assertIn('unhealthy', str(self.assertRaises(
            exception.ResourceFailure, self.run_task, web.check)))

    def test_a_job_that_is_done_cannot_be_suspended_and_is_not(self):
        self.server.status = 'SHUTOFF'
        self.server.metadata = {'docker:exit_code': '0'}
        web = self.created(wait_for='completed')
        for act in ('suspend', 'resume'):
            self.run_task(getattr(web, act))
            self.assertEqual((act.upper(), web.COMPLETE), web.state)
        self.server.suspend.assert_not_called()
        self.server.resume.assert_not_called()

    def test_a_snapshot_is_restored(self):
        web = self.created(
            command=['a'], healthcheck={'test': ['CMD', 'true']},
            image_ref='localhost/web', restart_policy={'name': 'always'})
        definition = web.handle_restore(web.t, {
            'resource_data': {'snapshot_image_id': 'snap'}})
        found = definition.properties(web.properties_schema, web.context)
        found.validate(with_value=False)
        self.assertEqual(('snap', None, ['a']), (
            found['image'], found['image_ref'], found['command']))

    def test_a_signal_is_no_business_of_a_container(self):
        web = self.created()
        error = self.assertRaises(exception.ResourceActionNotSupported,
                                  web.signal, {})
        self.assertIn('signal', str(error).lower())

    def test_attributes(self):
        web = self.created()
        self.server.metadata = {
            'docker:exit_code': '4', 'docker:health': 'healthy',
            'docker:image_digest': 'sha256:1', 'heat:spec_digest': '2'}
        self.server.get_console_output.return_value = 'said'
        setattr(self.server, 'OS-SRV-USG:launched_at', 'then')
        self.assertEqual({
            'status': 'ACTIVE', 'exit_code': 4, 'logs': 'said',
            'logs_tail': 'said', 'health': 'healthy',
            'image_digest': 'sha256:1', 'spec_digest': '2',
            'started_at': 'then'}, {
                name: web._resolve_attribute(name)
                for name in schemas.ATTRIBUTES if name != 'first_ip'})
        self.servers.get.side_effect = nova_exceptions.NotFound(404)
        self.assertIsNone(web._resolve_attribute('status'))

    def test_what_the_driver_wrote_is_not_the_templates(self):
        web = self.created()
        live = web.parse_live_resource_data(
            web.properties, (self.server, {
                'metadata': {'a': 'b', 'docker:exit_code': '0'},
                'flavor': {'id': 'flv-1'}, 'image': {'id': 'img-1'}}))
        self.assertEqual({'a': 'b'}, live['metadata'])
        self.assertNotIn('image', web.parse_live_resource_data(
            {}, (self.server, {'metadata': {}, 'flavor': {'id': 'flv-1'},
                               'image': {'id': 'placeholder'}})))
