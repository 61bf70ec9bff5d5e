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

"""OS::NovaDocker::ContainerGroup: a Compose file as a nested stack."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
from typing import Any

from heat.common import exception
from heat.common.i18n import _
from heat.engine import attributes
from heat.engine import constraints
from heat.engine import properties
from heat.engine.resources import stack_resource
from heat.engine import support

from heat_plugins.compose import documents
from heat_plugins.compose import models
from heat_plugins.compose import plans
from heat_plugins.compose import templates
from heat_plugins.compose import texts

_S = properties.Schema


class ContainerGroup(stack_resource.StackResource):
    """Services that belong together, described as in a Compose file.

    Each service becomes a container, or a group of them, of a nested stack,
    with networks, security groups and whatever else the description implies.
    A changed service changes its own resources only.
    """

    support_status = support.SupportStatus(
        version='27.0.0', status=support.SUPPORTED)

    properties_schema = {
        'services': _S(
            _S.MAP, _('The services by name; the keys are those of a Compose '
                      'service in the normalised form.'),
            update_allowed=True),
        'compose': _S(
            _S.STRING, _('A Compose file in the normalised form, as docker '
                         'compose config prints it.'), update_allowed=True),
        'configs': _S(
            _S.MAP, _('The content of configs that the services refer to, '
                      'by name.'), default={}, update_allowed=True),
        'secrets': _S(
            _S.MAP, _('The content of secrets that the services refer to, '
                      'by name.'), default={}, update_allowed=True),
        'images': _S(
            _S.MAP, _('Images in Glance, by service, in place of those that '
                      'the services name.'), default={},
            update_allowed=True),
        'networks': _S(
            _S.MAP, _('Networks that are there already, by the name that the '
                      'services use; the name of one that they do not name '
                      'is default.'), default={}, update_allowed=True),
        'public_network': _S(
            _S.STRING, _('The network on which published ports are '
                         'published; without, they are on none.'),
            update_allowed=True, constraints=[
                constraints.CustomConstraint('neutron.network')]),
        'publish': _S(
            _S.STRING, _('How ports are published: a floating IP for each '
                         'service, one for all that forwards ports, or a '
                         'load balancer of Octavia.'),
            default=plans.FLOATING_IP, update_allowed=True,
            constraints=[constraints.AllowedValues(list(
                plans.PUBLISH))]),
        'lb_provider': _S(
            _S.STRING, _('Who balances load, of those that Octavia knows; '
                         'its own choice if not given.'),
            update_allowed=True),
        'lb_algorithm': _S(
            _S.STRING, _('How load is balanced. The provider ovn takes '
                         'SOURCE_IP_PORT alone.'),
            default=plans.ALGORITHMS[0], update_allowed=True,
            constraints=[constraints.AllowedValues(list(
                plans.ALGORITHMS))]),
        'volumes': _S(
            _S.STRING, _('What a named volume is: refused, a directory that '
                         'ends with its container, or a volume of Cinder, '
                         'which containers refuse so far.'),
            default=plans.REFUSE, update_allowed=True,
            constraints=[constraints.AllowedValues(list(
                plans.VOLUMES))]),
        'name_resolution': _S(
            _S.STRING, _('How services find each other by name: Neutron\'s '
                         'DNS, or lines of /etc/hosts for those that they '
                         'depend on.'), default=plans.DNS,
            update_allowed=True, constraints=[constraints.AllowedValues(
                list(plans.RESOLUTION))]),
        'flavor': _S(
            _S.STRING, _('The flavor of services that ask for no resources; '
                         'the smallest if not given.'), update_allowed=True,
            constraints=[constraints.CustomConstraint('nova.flavor')]),
        'ignore_unsupported': _S(
            _S.BOOLEAN, _('Leave out what cannot be honoured, in place of '
                          'refusing it.'), default=False,
            update_allowed=True),
    }

    attributes_schema = {
        'services': attributes.Schema(
            _('Ids and addresses of containers, by service.'),
            cache_mode=attributes.Schema.CACHE_NONE,
            type=attributes.Schema.MAP),
        'published': attributes.Schema(
            _('Public addresses, by service; all is that of all services, '
              'where ports are forwarded.'),
            cache_mode=attributes.Schema.CACHE_NONE,
            type=attributes.Schema.MAP),
        'refs': attributes.Schema(
            _('The ids of all containers.'),
            cache_mode=attributes.Schema.CACHE_NONE,
            type=attributes.Schema.LIST),
    }

    def child_template(self) -> dict[str, Any]:
        """The template that the description means.

        :raises StackValidationFailed: naming what cannot be honoured
        """
        props = self.properties
        if bool(props['services']) == bool(props['compose']):
            raise exception.StackValidationFailed(message=_(
                'Property services: either this or compose is needed'))
        with self._refusals():
            return templates.make(self._document(), self._choices())

    def child_params(self) -> dict[str, Any]:
        """The secrets, which are not in the template."""
        with self._refusals():
            return dict(self._document().secrets)

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        """What cannot be honoured is a mistake in a property."""
        which = 'compose' if self.properties['compose'] else 'services'
        try:
            yield
        except models.Refused as error:
            raise exception.StackValidationFailed(
                message=f'Property {which}: {error}') from error

    def _document(self) -> models.Document:
        props = self.properties
        if not props['compose']:
            return documents.read(
                {'services': props['services'], **{
                    kind: texts.contents(props[kind] or {})
                    for kind in ('configs', 'secrets')}},
                escaped=False, ignore=props['ignore_unsupported'])
        return documents.read(
            texts.completed(texts.load(props['compose']), {
                kind: props[kind] or {} for kind in ('configs', 'secrets')}),
            ignore=props['ignore_unsupported'])

    def _choices(self) -> plans.Choices:
        props = self.properties
        return plans.Choices(
            flavors=tuple(plans.Flavor(one.name, one.vcpus, one.ram)
                          for one in self.client('nova').flavors.list()),
            flavor=props['flavor'] or '', images=props['images'] or {},
            networks=props['networks'] or {},
            public_network=props['public_network'] or '',
            publish=props['publish'],
            lb_provider=props['lb_provider'] or '',
            lb_algorithm=props['lb_algorithm'], volumes=props['volumes'],
            resolution=props['name_resolution'])

    def handle_create(self) -> Any:
        return self.create_with_template(self.child_template())

    def handle_adopt(self, resource_data: dict[str, Any] | None = None
                     ) -> Any:
        return self.create_with_template(self.child_template(),
                                         adopt_data=resource_data)

    def handle_update(self, json_snippet: Any, tmpl_diff: Any,
                      prop_diff: dict[str, Any]) -> Any:
        self.properties = json_snippet.properties(self.properties_schema,
                                                  self.context)
        return self.update_with_template(self.child_template())

    def get_attribute(self, key: str, *path: Any) -> Any:
        if key == 'refs':
            found = self.get_output('services')
            value: Any = [one for service in found.values()
                          for one in service['ids']]
        else:
            value = self.get_output(key)
        return attributes.select_from_attribute(value, path)
