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

"""OS::NovaDocker::Image: an image of a registry or a URL, in Glance."""

from __future__ import annotations

import io
from typing import Any

from heat.common import exception
from heat.common.i18n import _
from heat.engine import attributes
from heat.engine import constraints
from heat.engine import properties
from heat.engine import resource
from heat.engine import support

_S = properties.Schema

#: Glance wants some data for an image that is a mere reference.
_NOTHING = b'\n'

REFERENCE_PROPERTY = 'docker_image_ref'


class Image(resource.Resource):
    """An image that containers can be made of.

    With a reference it is a placeholder: hosts pull the image from its
    registry, if the operator allows that one. With a URL, Glance itself
    fetches the archive that ``docker save`` wrote; heat-engine opens no
    connection.
    """

    support_status = support.SupportStatus(
        version='27.0.0', status=support.SUPPORTED)

    properties_schema = {
        'name': _S(_S.STRING, _('The name in Glance.'), update_allowed=True),
        'reference': _S(
            _S.STRING, _('A reference to an image in a registry.'),
            constraints=[constraints.CustomConstraint(
                'nova_docker.image_ref')]),
        'url': _S(
            _S.STRING, _('Where Glance finds the archive of an image.'),
            constraints=[constraints.AllowedPattern('^https?://[^\\s]+$')]),
        'registry_secret': _S(
            _S.STRING, _('The Barbican secret with the user and password '
                         'for the registry, by its id.')),
        'architecture': _S(
            _S.STRING, _('Of the hosts that can run it, such as x86_64.'),
            constraints=[constraints.AllowedPattern('^[a-z0-9_]{1,32}$')]),
        'min_ram': _S(_S.INTEGER, _('MiB that a flavor needs for it.'),
                      default=0, update_allowed=True,
                      constraints=[constraints.Range(min=0)]),
        'min_disk': _S(_S.INTEGER, _('GiB that a flavor needs for it.'),
                       default=0, update_allowed=True,
                       constraints=[constraints.Range(min=0)]),
        'visibility': _S(
            _S.STRING, _('Who can see it.'), default='private',
            update_allowed=True, constraints=[constraints.AllowedValues(
                ['public', 'private', 'community', 'shared'])]),
        'tags': _S(_S.LIST, _('Tags of the image.'), update_allowed=True,
                   schema=_S(_S.STRING)),
        'extra_properties': _S(
            _S.MAP, _('Further properties, such as docker_command.'),
            default={}),
    }

    attributes_schema = {
        'status': attributes.Schema(
            _('The status in Glance.'),
            cache_mode=attributes.Schema.CACHE_NONE,
            type=attributes.Schema.STRING),
        'reference': attributes.Schema(
            _('The reference that containers are pulled by.'),
            type=attributes.Schema.STRING),
        'checksum': attributes.Schema(
            _('The digest of the data in Glance.'),
            type=attributes.Schema.STRING),
    }

    default_client_name = 'glance'
    entity = 'images'

    def validate(self) -> None:
        super().validate()
        props = self.properties
        if bool(props['reference']) == bool(props['url']):
            raise exception.StackValidationFailed(message=_(
                'Property reference: either this or url is needed'))
        if props['registry_secret'] and not props['reference']:
            raise exception.StackValidationFailed(message=_(
                'Property registry_secret: it is for reference'))
        for name, value in (props['extra_properties'] or {}).items():
            if not isinstance(value, str | int | float | bool):
                raise exception.StackValidationFailed(message=_(
                    'Property extra_properties: %s is no text') % name)

    def handle_create(self) -> None:
        images = self.client().images
        made = images.create(**self._arguments())
        self.resource_id_set(made.id)
        if self.properties['url']:
            images.image_import(made.id, method='web-download',
                                uri=self.properties['url'])
        else:
            images.upload(made.id, io.BytesIO(_NOTHING))

    def _arguments(self) -> dict[str, Any]:
        props = self.properties
        found = {
            'name': props['name'] or self.physical_resource_name(),
            'container_format': 'docker', 'disk_format': 'raw',
            'visibility': props['visibility'], 'min_ram': props['min_ram'],
            'min_disk': props['min_disk'], 'tags': props['tags'] or []}
        for key, value in (
                (REFERENCE_PROPERTY, props['reference']),
                ('docker_registry_secret', props['registry_secret']),
                ('architecture', props['architecture'])):
            if value:
                found[key] = value
        # A host of virtual machines could not run it.
        return {'hypervisor_type': 'docker',
                **{name: str(value) for name, value in (
                    props['extra_properties'] or {}).items()}, **found}

    def check_create_complete(self, token: Any) -> bool:
        found = self.client().images.get(self.resource_id)
        if found.status in ('killed', 'deleted'):
            raise exception.Error(_('Glance could not fetch the image'))
        failed = getattr(found, 'os_glance_failed_import', '')
        if failed:
            raise exception.Error(_(
                'Glance could not fetch the image (%s)') % failed)
        return bool(found.status == 'active')

    def handle_update(self, json_snippet: Any, tmpl_diff: Any,
                      prop_diff: dict[str, Any]) -> None:
        changes = dict(prop_diff)
        if 'tags' in changes:
            self._update_tags(set(changes.pop('tags') or ()))
        if 'name' in changes and not changes['name']:
            changes['name'] = self.physical_resource_name()
        if changes:
            self.client().images.update(self.resource_id, **changes)

    def _update_tags(self, wanted: set[str]) -> None:
        current = set(self.client().images.get(self.resource_id).tags)
        for tag in wanted - current:
            self.client().image_tags.update(self.resource_id, tag)
        for tag in current - wanted:
            with self.client_plugin().ignore_not_found:
                self.client().image_tags.delete(self.resource_id, tag)

    def handle_check(self) -> None:
        found = self.client().images.get(self.resource_id)
        self._verify_check_conditions([{
            'attr': 'status', 'expected': 'active',
            'current': found.status}])

    def needs_replace_failed(self) -> bool:
        if not self.resource_id:
            return True
        with self.client_plugin().ignore_not_found:
            return bool(self.client().images.get(
                self.resource_id).status != 'active')
        return True

    def _show_resource(self) -> dict[str, Any]:
        return dict(self.client().images.get(self.resource_id))

    def _resolve_attribute(self, name: str) -> Any:
        if self.resource_id is None:
            return None
        found = self.client().images.get(self.resource_id)
        return {'status': found.status,
                'reference': getattr(found, REFERENCE_PROPERTY, None),
                'checksum': getattr(found, 'os_hash_value', None)}[name]

    def parse_live_resource_data(self, resource_properties: Any,
                                 resource_data: Any) -> dict[str, Any]:
        live = {name: resource_data.get(name) for name in (
            'min_ram', 'min_disk', 'visibility', 'tags')}
        if resource_properties.get('name'):
            live['name'] = resource_data.get('name')
        return live
