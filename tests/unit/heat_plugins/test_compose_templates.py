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

"""The template that a Compose file means."""

import json

from heat_plugins.compose import documents
from heat_plugins.compose import models
from tests.unit.heat_plugins import compose_case

service = compose_case.service
template = compose_case.template


class TestTemplate(compose_case.ComposeCase):

    def test_equal_documents_give_equal_templates(self):
        document = {'services': {
            'web': {'image': 'w', 'depends_on': ['db']},
            'db': {'image': 'd', 'expose': ['1']}}}
        self.assertEqual(json.dumps(template(document)),
                         json.dumps(template(document)))

    def test_the_smallest_flavor_that_fits(self):
        for keys, expected in (
                ({}, 'tiny'), ({'mem_limit': '65m'}, 'small'),
                ({'cpus': 1.5}, 'large'), ({'mem_limit': '256m'}, 'small'),
                ({'x-nova': {'flavor': 'mine'}}, 'mine'),
                ({'deploy': {'resources': {'limits': {
                    'memory': '300m', 'cpus': '0.1'}}}}, 'large')):
            self.assertEqual(expected, template(service(**keys))[
                'resources']['web']['properties']['flavor'])
        self.assertRefused('services.web.deploy.resources',
                           service(mem_limit='1t'))

    def test_secrets_of_the_cloud(self):
        secret = '5d3c0b1e-8f0a-4a57-9d0e-9b8c7a6f5e4d'
        found = template(service(**{
            'x-nova': {'environment_secrets': {'PASSWORD': secret}}}))
        self.assertEqual(
            {'PASSWORD': secret}, found['resources']['web']['properties'][
                'environment_secrets'])

    def test_what_is_waited_for(self):
        found = template({'services': {
            'job': {'image': 'j'},
            'db': {'image': 'd', 'healthcheck': {'test': ['CMD', 'a']}},
            'web': {'image': 'w', 'depends_on': {
                'job': {'condition': 'service_completed_successfully'},
                'db': {'condition': 'service_healthy'}}},
            'other': {'image': 'o', 'depends_on': ['db']}}})['resources']
        self.assertEqual(
            ['completed', 'healthy', None], [
                found[name]['properties'].get('wait_for')
                for name in ('job', 'db', 'web')])
        self.assertLess({'job', 'db'}, set(found['web']['depends_on']))

    def rules(self, document, **choices):
        return {name for name, one in template(
            document, **choices)['resources'].items()
            if one['type'] == 'OS::Neutron::SecurityGroupRule'}

    def test_who_may_talk_to_whom(self):
        """Exactly what the document implies, and nothing else."""
        document = {'services': {
            'web': {'image': 'w', 'depends_on': ['api'], 'ports': [
                {'target': 80, 'published': '80', 'protocol': 'tcp'}],
                'networks': {'front': None}},
            'api': {'image': 'a', 'networks': {'front': None, 'back': None},
                    'depends_on': {'migrate': {
                        'condition': 'service_completed_successfully'}}},
            'migrate': {'image': 'm', 'networks': {'back': None}},
            'db': {'image': 'd', 'expose': ['5432', '53/udp'],
                   'networks': {'back': None}},
            'lone': {'image': 'l', 'network_mode': 'none'}}}
        self.assertEqual({
            'rule:web:members:front:tcp:80-80', 'rule:web:world:tcp:80-80',
            'rule:api:web:all', 'rule:db:members:back:tcp:5432-5432',
            'rule:db:members:back:udp:53-53'}, self.rules(document))

    def test_published_ports(self):
        def document(published, **more):
            return service(ports=[{'target': 80, 'published': published,
                                   'protocol': 'tcp'}], **more)
        found = template(document('80'), public_network='public')
        self.assertEqual({'get_resource': 'port:web:default'}, found[
            'resources']['address:web']['properties']['port_id'])
        self.assertEqual({'web': {'get_attr': [
            'address:web', 'floating_ip_address']}},
            found['outputs']['published']['value'])
        self.assertRefused('services.web.ports', document('8080'),
                           public_network='public')
        self.assertRefused('services.web.ports', document(
            '80', scale=2), public_network='public')
        found = template(document('8080'), public_network='public',
                         publish='port_forwarding')['resources']
        self.assertEqual(8080, found['forward:web:tcp:8080']['properties'][
            'external_port'])
        found = template(document('8080', scale=2), publish='load_balancer',
                         public_network='public')['resources']
        self.assertEqual({'get_attr': ['web', 'resource.1.first_ip']}, found[
            'member:web:tcp:8080:1']['properties']['address'])
        balancer = found['balancer:web']['properties']
        self.assertNotIn('provider', balancer)
        self.assertEqual('ROUND_ROBIN', found['pool:web:tcp:8080'][
            'properties']['lb_algorithm'])
        found = template(document('8080', scale=2), publish='load_balancer',
                         public_network='public', lb_provider='ovn',
                         lb_algorithm='SOURCE_IP_PORT')['resources']
        self.assertEqual({**balancer, 'provider': 'ovn'},
                         found['balancer:web']['properties'])
        self.assertEqual('SOURCE_IP_PORT', found['pool:web:tcp:8080'][
            'properties']['lb_algorithm'])
        # On nothing but its own network.
        self.assertNotIn('address:web', template(document('8080'))[
            'resources'])

    def test_names_that_neutron_does_not_know(self):
        document = {'services': {
            'my_db': {'image': 'd', 'container_name': 'main', 'networks': {
                'default': {'aliases': ['database']}}},
            'web': {'image': 'w', 'links': ['my_db:sql'],
                    'networks': {'default': None}}}}
        properties = template(
            document)['resources']['web']['properties']
        self.assertEqual({'my_db', 'main', 'database', 'sql'},
                         set(properties['extra_hosts']))
        document['services']['db'] = document['services'].pop('my_db')
        document['services']['web']['links'] = ['db']
        for resolution, expected in (
                ('dns', {'main', 'database'}),
                ('hosts', {'main', 'database', 'db'})):
            self.assertEqual(expected, set(template(
                document, resolution=resolution)['resources']['web'][
                    'properties']['extra_hosts']))

    def test_replicas(self):
        found = template(service(
            ports=[{'target': 80, 'published': '80'}],
            deploy={'replicas': 4, 'update_config': {
                'parallelism': 2, 'delay': '1m'}}))['resources']
        self.assertEqual({'rolling_update': {
            'max_batch_size': 2, 'min_in_service': 2, 'pause_time': 60}},
            found['web']['update_policy'])
        self.assertEqual(4, found['web']['properties']['count'])
        self.assertEqual(['soft-anti-affinity'], found['placement:web'][
            'properties']['policies'])
        # Another number changes nothing but the number.
        more = template(service(
            ports=[{'target': 80, 'published': '80'}],
            deploy={'replicas': 5, 'update_config': {
                'parallelism': 2, 'delay': '1m'}}))['resources']
        self.assertEqual(
            {name: one for name, one in found.items() if name != 'web'},
            {name: one for name, one in more.items() if name != 'web'})

    def test_a_changed_service_changes_its_own_resources(self):
        def resources(command):
            return template({'services': {
                'db': {'image': 'd', 'expose': ['1']},
                'web': {'image': 'w', 'depends_on': ['db'],
                        'command': [command]}}})['resources']
        before, after = resources('a'), resources('b')
        self.assertEqual({'web'}, {name for name in before
                                   if before[name] != after[name]})

    def test_another_network_leaves_the_others_as_they_are(self):
        def subnets(*names):
            return {name: one['properties']['cidr'] for name, one
                    in template(service(networks=dict.fromkeys(names)))[
                        'resources'].items() if name.startswith('subnet')}
        few, more = subnets('back', 'web'), subnets('admin', 'back', 'web')
        self.assertEqual(few, {name: more[name] for name in few})
        self.assertEqual(3, len(set(more.values())))
        many = subnets(*(f'n{number}' for number in range(250)))
        self.assertEqual(250, len(set(many.values())))

    def test_the_world_is_let_in_where_there_is_a_way(self):
        document = {**service(networks={'a': None, 'z': None}, ports=[
            {'target': 80, 'published': '80'}]),
            'networks': {'a': {'internal': True}}}
        found = template(
            document, public_network='public')['resources']
        self.assertEqual({'get_resource': 'port:web:z'}, found[
            'address:web']['properties']['port_id'])
        document['networks']['z'] = {'internal': True}
        self.assertRefused('services.web.ports', document,
                           public_network='public')

    def test_a_group_of_one_that_is_published(self):
        found = template(service(ports=[
            {'target': 80, 'published': '80'}], deploy={'replicas': 1}),
            public_network='public')['resources']
        self.assertEqual('OS::NovaDocker::Container', found['web']['type'])
        self.assertIn('port:web:default', found)

    def test_addresses_on_the_network_that_is_shared(self):
        found = template({'services': {
            'db': {'image': 'd', 'networks': {
                'a': {'aliases': ['sql', 'data']}, 'b': None}},
            'web': {'image': 'w', 'networks': {'a': None},
                    'depends_on': ['db']}}})['resources']
        self.assertEqual({'get_attr': [
            'db', 'networks', {'get_attr': ['network:a', 'name']}, 0]},
            found['web']['properties']['extra_hosts']['sql'])

    def test_none_of_a_service(self):
        found = template({'services': {
            'w': {'image': 'w', 'scale': 0},
            'c': {'image': 'c', 'depends_on': ['w']}}})['resources']
        self.assertNotIn('extra_hosts', found['c']['properties'])

    def test_both_versions_of_ip(self):
        rules = self.rules({**service(expose=['80'], networks={'n': None}),
                            'networks': {'n': {'ipam': {'config': [
                                {'subnet': 'fd00::/64'},
                                {'subnet': '10.0.0.0/24'}]}}}})
        self.assertEqual({'rule:web:members:n:tcp:80-80',
                          'rule:web:members:n:v6:tcp:80-80'}, rules)

    def test_what_is_deep_inside_is_refused_too(self):
        for where, keys in (
                ('deploy.resources.limits.pids',
                 {'deploy': {'resources': {'limits': {'pids': 5}}}}),
                ('deploy.restart_policy.window',
                 {'deploy': {'restart_policy': {'window': '5s'}}}),
                ('healthcheck.start_interval',
                 {'healthcheck': {'test': 'a', 'start_interval': '1s'}}),
                ('volumes./x.volume.nocopy', {'volumes': [
                    {'type': 'volume', 'target': '/x',
                     'volume': {'nocopy': True}}]}),
                ('ports', {'ports': [{'target': 1, 'host_ip': '10.1.2.3'}]}),
                ('volumes./x', {'volumes': [
                    {'type': 'tmpfs', 'source': 'a', 'target': '/x'}]}),
                ('logging.options.compress', {'logging': {
                    'options': {'compress': 'true'}}}),
                ('extra_hosts', {'extra_hosts': ['a=host-gateway']})):
            self.assertRefused(
                f'services.web.{where}', service(**keys))

    def test_volumes_that_would_not_be_what_they_are(self):
        mount = [{'type': 'volume', 'source': 'v', 'target': '/x'}]
        self.assertRefused('services.web.volumes./x', {
            **service(volumes=mount), 'volumes': {'v': {'external': True}}},
            volumes='ephemeral')
        self.assertRefused('services.web.volumes./x', {'services': {
            name: {'image': 'i', 'volumes': mount}
            for name in ('web', 'other')}}, volumes='ephemeral')

    def test_what_heat_would_take_for_something_else(self):
        self.assertRefused('services.web.environment.digest',
                           service(environment={'digest': 'abc'}))
        properties = template(service(
            environment={'digest': 'abc', 'A': 'b'}, pull_policy='always',
            hostname='x' * 57 + '.y'))['resources']['web']['properties']
        self.assertNotIn('pull_policy', properties)
        self.assertRegex(properties['hostname'], '^x+$')

    def test_more_than_anybody_works_through(self):
        many = {'services': {'web': {'image': 'w'}}, 'networks': {
            f'n{number}': {} for number in range(20_000)}}
        for document in (many, {'services': {
                f's{number}': {'image': 'i'} for number in range(501)}}):
            with self.assertRaises(models.Refused):
                documents.read(document, ignore=True)

    def test_networks_of_the_cloud_may_have_both_versions_of_ip(self):
        document = service(expose=['80'])
        self.assertEqual(1, len(self.rules(document)))
        self.assertEqual(2, len(self.rules(document, networks={
            'default': 'there'})))

    def test_odd_documents(self):
        deep = {}
        for _ in range(900):
            deep = {'a': deep}
        chain = {f's{number}': {'image': 'i', 'depends_on': [
            f's{number - 1}'] if number else []} for number in range(500)}
        documents.read({'services': chain})
        for document in (service(x=deep), service(mem_limit='9' * 400)):
            with self.assertRaises(models.Refused):
                documents.read(document)
        documents.read(service(configs=[{'target': '/x', 'content': '',
                                         'uid': '\u00b2'}]))

    def test_secrets_of_like_names(self):
        document = {**service(secrets=['db-pw', 'db_pw']), 'secrets': {
            'db-pw': {'content': 'ONE'}, 'db_pw': {'content': 'TWO'}}}
        self.assertEqual({'secret_db-pw': 'ONE', 'secret_db_pw': 'TWO'},
                         documents.read(document).secrets)

    def test_volumes(self):
        document = {**service(volumes=[
            {'type': 'volume', 'source': 'data', 'target': '/data'}]),
            'volumes': {'data': {'driver_opts': {'size': '3g'}}}}
        self.assertRefused('services.web.volumes./data', document)
        self.assertEqual([{'type': 'ephemeral', 'target': '/data'}], template(
            document, volumes='ephemeral')['resources']['web']['properties'][
                'mounts'])
        found = template(document, volumes='cinder')['resources']
        self.assertEqual(3, found['volume:data']['properties']['size'])
        self.assertEqual({'get_resource': 'volume:data'}, found['web'][
            'properties']['mounts'][0]['volume'])

    def test_networks(self):
        found = template({**service(networks={
            'lan': {'ipv4_address': '10.9.0.5'}, 'shared': None,
            'inner': None}), 'networks': {
                'lan': {'ipam': {'config': [{'subnet': '10.9.0.0/24',
                                             'gateway': '10.9.0.1'}]}},
                'shared': {'external': True, 'name': 'there'},
                'inner': {'internal': True}}})['resources']
        self.assertEqual(
            [{'network': {'get_resource': 'network:lan'},
              'fixed_ip': '10.9.0.5'}, {'network': 'there'},
             {'network': {'get_resource': 'network:inner'}}],
            found['web']['properties']['networks'])
        self.assertNotIn('network:shared', found)
        # No way out of it, but a router for Neutron's DNS.
        self.assertNotIn('properties', found['router:inner'])
        self.assertRefused('networks.n.driver', {
            **service(), 'networks': {'n': {'driver': 'macvlan'}}})

    def test_secrets_are_not_in_the_template(self):
        document = {**service(secrets=['pw']),
                    'secrets': {'pw': {'content': 'hush'}}}
        found = template(document)
        self.assertNotIn('hush', json.dumps(found))
        self.assertTrue(found['parameters']['secret_pw']['hidden'])
        self.assertEqual({'secret_pw': 'hush'},
                         documents.read(document).secrets)

    def test_images(self):
        for image, expected in (
                ('nginx:1', {'image': 'nginx:1'}),
                ('prom/alert:1', {'image': 'prom/alert:1'}),
                ('registry.example.org/a:1',
                 {'image_ref': 'registry.example.org/a:1'}),
                ('localhost:5000/a', {'image_ref': 'localhost:5000/a'})):
            made = template(service(image=image))[
                'resources']['web']
            self.assertLessEqual(expected.items(),
                                 made['properties'].items())
        self.assertRefused('services.web.image', {'services': {'web': {}}})
        self.assertRefused('services.web.build', {'services': {'web': {
            'build': {'context': '.'}}}})
