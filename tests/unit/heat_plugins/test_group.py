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

"""Groups of services and images, in Heat without a cloud."""

from pathlib import Path
from unittest import mock

from heat.common import exception
from heat.common import template_format
from heat.engine.clients.os import glance
from heat.engine.hot import template as hot_template
from heat.engine import properties
from heat.engine import rsrc_defn
from heat.engine import scheduler
from heat.tests import common
from heat.tests import utils

from heat_plugins.compose import documents
from heat_plugins.compose import models
from heat_plugins.compose import plans
from heat_plugins.compose import problems
from heat_plugins.compose import templates
from heat_plugins.resources import group
from heat_plugins.resources import image
from nova_docker_client import composefiles
from tests import composefiles as samples
from tests.unit.heat_plugins import test_container  # noqa: F401

EXAMPLES = Path(__file__).parents[3] / 'etc/heat/templates'

FLAVORS = (plans.Flavor('c1.tiny', 1, 64),
           plans.Flavor('c1.large', 4, 4096))


class TestTemplates(common.HeatTestCase):
    """What the files mean are resources that Heat has, rightly described."""

    def check(self, template):
        stack = utils.parse_stack(template)
        for name, resource in stack.resources.items():
            definition = template['resources'][name].get('properties', {})
            self.check_properties(resource.properties_schema, definition,
                                  name)
            inner = definition.get('resource_def')
            if inner:
                self.check_properties(
                    test_container.container.Container.properties_schema,
                    inner['properties'], name)

    def check_properties(self, schema, given, name):
        known = {key for key, entry in properties.schemata(schema).items()
                 if entry.implemented}
        self.assertEqual(set(), set(given) - known, name)
        properties.Properties(schema, given).validate(with_value=False)

    def test_all_that_is_honoured(self):
        count = 0
        for sample in samples.samples():
            document = composefiles.load(composefiles.Source(
                [str(sample.path)]))
            for publish in plans.PUBLISH:
                for volumes in plans.VOLUMES:
                    try:
                        template = templates.make(
                            documents.read(document), plans.Choices(
                                flavors=FLAVORS, public_network='public',
                                publish=publish, volumes=volumes))
                    except models.Refused:
                        continue
                    with self.subTest(sample.name):
                        self.check(template)
                        count += 1
        self.assertGreater(count, 100)


class TestExamples(TestTemplates):
    """Among them those of services that the lab does not have."""

    def test_all_that_is_honoured(self):
        count = 0
        for path in sorted(EXAMPLES.glob('*.yaml')):
            template = template_format.parse(path.read_text())
            for one in template['resources'].values():
                # A template in place of a type has its own parameters.
                if one['type'].endswith('.yaml'):
                    one['type'] = 'OS::Heat::None'
                self.without_templates(one)
            with self.subTest(path.name):
                self.check_known(template)
                count += 1
        self.assertGreater(count, 12)

    def without_templates(self, one):
        inner = one.get('properties', {}).get('resource', {})
        if inner.get('type', '').endswith('.yaml'):
            one['properties']['resource'] = {'type': 'OS::Heat::None'}

    def check_known(self, template):
        stack = utils.parse_stack(template)
        for name, resource in stack.resources.items():
            given = template['resources'][name].get('properties', {})
            known = {key for key, entry in properties.schemata(
                resource.properties_schema).items() if entry.implemented}
            if type(resource).__name__ != 'NoneResource':
                self.assertEqual(set(), set(given) - known, name)


class TestGroup(common.HeatTestCase):

    def setUp(self):
        super().setUp()
        flavors = []
        for name, vcpus, ram in (('c1.tiny', 1, 64), ('c1.small', 1, 256)):
            flavors.append(mock.Mock(vcpus=vcpus, ram=ram))
            flavors[-1].name = name
        client = mock.Mock()
        client.flavors.list.return_value = flavors
        self.patchobject(group.ContainerGroup, 'client', return_value=client)

    def group(self, **values):
        self.stack = utils.parse_stack({
            'heat_template_version': '2021-04-16', 'resources': {'g': {
                'type': 'OS::NovaDocker::ContainerGroup',
                'properties': values}}})
        return self.stack['g']

    def refused(self, **values):
        return str(self.assertRaises(exception.StackValidationFailed,
                                     self.group(**values).child_template))

    def test_services(self):
        found = self.group(services={
            'web': {'image': 'w', 'mem_limit': '100m',
                    'command': ['echo', '$HOME']}}).child_template()
        web = found['resources']['web']['properties']
        self.assertEqual(('c1.small', ['echo', '$HOME']),
                         (web['flavor'], web['command']))

    def test_how_load_is_balanced(self):
        services = {'web': {'image': 'w', 'ports': [
            {'target': 80, 'published': '8080', 'protocol': 'tcp'}]}}
        published = {'services': services, 'public_network': 'public',
                     'publish': 'load_balancer'}
        found = self.group(
            **published, lb_provider='ovn',
            lb_algorithm='SOURCE_IP_PORT').child_template()['resources']
        self.assertEqual(('ovn', 'SOURCE_IP_PORT'), (
            found['balancer:web']['properties']['provider'],
            found['pool:web:tcp:8080']['properties']['lb_algorithm']))
        found = self.group(**published).child_template()['resources']
        self.assertNotIn('provider', found['balancer:web']['properties'])

    def test_a_compose_file(self):
        made = self.group(
            compose='services: {web: {image: w, command: [$$x], '
                    'secrets: [pw]}}', secrets={'pw': 'hu$h$$'},
            images={'web': 'mine'}, networks={'default': 'private'},
            flavor='c1.tiny')
        found = made.child_template()['resources']
        self.assertEqual(('mine', ['$x'], [{'network': 'private'}]), tuple(
            found['web']['properties'][name]
            for name in ('image', 'command', 'networks')))
        self.assertNotIn('network:default', found)
        # What comes beside the file is as it is.
        self.assertEqual({'secret_pw': 'hu$h$$'}, made.child_params())

    def test_what_is_refused_is_named(self):
        self.assertIn('Property compose: services.web.privileged',
                      self.refused(compose='services: {web: {image: w, '
                                           'privileged: true}}'))
        self.assertIn('Property services: services.web.env_file',
                      self.refused(services={'web': {
                          'image': 'w', 'env_file': ['/etc/passwd']}}))
        self.assertIn('include', self.refused(compose='include: [x]'))
        self.assertIn('is no YAML', self.refused(compose='{'))
        self.assertIn('configs', self.refused(
            configs={'y': 'z'},
            compose='{configs: [x], services: {web: {image: w}}}'))
        for values in ({}, {'services': {'a': {}}, 'compose': 'x'}):
            self.assertIn('compose', str(self.assertRaises(
                exception.StackValidationFailed,
                self.group(**values).validate)))
        self.group(services={'web': {'image': 'w', 'privileged': True}},
                   ignore_unsupported=True).child_template()

    def test_attributes(self):
        made = self.group(services={'web': {'image': 'w'}})
        services = {'web': {'ids': ['1', '2'], 'ips': ['192.0.2.1', None]}}
        self.patchobject(made, 'get_output', side_effect={
            'services': services, 'published': {'web': '203.0.113.1'}}.get)
        self.assertEqual(['1', '2'], made.get_attribute('refs'))
        self.assertEqual('192.0.2.1', made.get_attribute(
            'services', 'web', 'ips', 0))
        self.assertEqual('203.0.113.1', made.get_attribute('published',
                                                           'web'))


class TestFunctions(common.HeatTestCase):

    def test_all_that_heat_has_are_known(self):
        functions = {name for name in
                     hot_template.HOTemplate20210416.functions
                     if not name.startswith('Fn::')}
        self.assertEqual(set(), functions - problems.FUNCTIONS)


class TestImage(common.HeatTestCase):

    def setUp(self):
        super().setUp()
        self.images = mock.Mock()
        self.made = mock.Mock(id='img-1', status='active', tags=['a'],
                              os_glance_failed_import='')
        self.images.images.create.return_value = self.made
        self.images.images.get.return_value = self.made
        self.patchobject(glance.GlanceClientPlugin, 'client',
                         return_value=self.images)
        self.patchobject(image.Image, 'client', return_value=self.images)

    def image(self, **values):
        # A resource does not keep its stack.
        self.stack = utils.parse_stack({
            'heat_template_version': '2021-04-16', 'resources': {'i': {
                'type': 'OS::NovaDocker::Image', 'properties': values}}})
        return self.stack['i']

    def created(self, **values):
        found = self.image(**values)
        scheduler.TaskRunner(found.create)()
        return found

    def test_a_reference(self):
        found = self.created(reference='localhost/web:1', name='web',
                             tags=['t'], architecture='x86_64',
                             extra_properties={'docker_user': 5})
        self.assertEqual((found.CREATE, found.COMPLETE), found.state)
        asked = self.images.images.create.call_args.kwargs
        self.assertEqual(
            ('docker', 'raw', 'docker', 'localhost/web:1', '5', ['t'],
             'x86_64'),
            tuple(asked[key] for key in (
                'container_format', 'disk_format', 'hypervisor_type',
                'docker_image_ref', 'docker_user', 'tags', 'architecture')))
        self.images.images.upload.assert_called_once_with('img-1', mock.ANY)
        self.images.images.image_import.assert_not_called()

    def test_a_url_is_glances_business(self):
        self.created(url='https://images.example.org/web.tar')
        self.images.images.image_import.assert_called_once_with(
            'img-1', method='web-download',
            uri='https://images.example.org/web.tar')
        self.images.images.upload.assert_not_called()

    def test_what_cannot_be_fetched(self):
        self.made.status = 'queued'
        self.made.os_glance_failed_import = 'file'
        error = self.assertRaises(exception.ResourceFailure, self.created,
                                  url='http://192.0.2.1/x')
        self.assertIn('could not fetch', str(error))

    def test_what_cannot_be_meant(self):
        for text, values in (
                ('url', {}),
                ('url', {'url': 'http://a/b', 'reference': 'localhost/a'}),
                ('url', {'url': 'file:///etc/passwd'}),
                ('reference', {'reference': 'busybox'}),
                ('registry_secret', {'url': 'http://a/b',
                                     'registry_secret': 's'}),
                ('extra_properties', {'url': 'http://a/b',
                                      'extra_properties': {'a': []}})):
            self.assertIn(text, str(self.assertRaises(
                exception.StackValidationFailed,
                self.image(**values).validate)))

    def test_updates(self):
        found = self.created(reference='localhost/a', tags=['a'], name='x')
        after = {'reference': 'localhost/a', 'tags': ['b'], 'name': 'y'}
        scheduler.TaskRunner(found.update, rsrc_defn.ResourceDefinition(
            found.name, found.type(), after))()
        self.images.images.update.assert_called_once_with('img-1', name='y')
        self.images.image_tags.update.assert_called_once_with('img-1', 'b')
        self.images.image_tags.delete.assert_called_once_with('img-1', 'a')

    def test_attributes_and_checks(self):
        found = self.created(reference='localhost/a')
        self.made.docker_image_ref = 'localhost/a'
        self.made.os_hash_value = 'digest'
        self.assertEqual(['active', 'localhost/a', 'digest'], [
            found._resolve_attribute(name)
            for name in ('status', 'reference', 'checksum')])
        scheduler.TaskRunner(found.check)()
        self.assertFalse(found.needs_replace_failed())
        self.made.status = 'deactivated'
        self.assertRaises(exception.ResourceFailure,
                          scheduler.TaskRunner(found.check))
        self.assertTrue(found.needs_replace_failed())
