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

"""OS::NovaDocker::Container: a container as a Nova server."""

from __future__ import annotations

from typing import Any

from heat.common import exception
from heat.common.i18n import _
from heat.engine.clients import progress
from heat.engine import constraints
from heat.engine import properties
from heat.engine.resources.openstack.nova import server
from heat.engine import support

from heat_plugins import clients
from heat_plugins import constraints as constraints_of_ours
from heat_plugins import schemas
from heat_plugins import translate

#: Properties of a server that mean nothing to a container, or that would
#: compete with those of a container.
_HIDDEN = (
    'user_data', 'user_data_update_policy', 'admin_pass', 'admin_user',
    'personality', 'reservation_id', 'diskConfig', 'block_device_mapping',
    'block_device_mapping_v2', 'image_update_policy',
    'software_config_transport', 'deployment_swift_data')


def _hidden(schema: properties.Schema, **changes: Any) -> properties.Schema:
    return properties.Schema(
        schema.type, schema.description, implemented=False,
        default=changes.get('default', schema.default), schema=schema.schema)


def _properties_schema() -> dict[str, properties.Schema]:
    inherited = dict(server.Server.properties_schema)
    for name in _HIDDEN:
        inherited[name] = _hidden(inherited[name])
    inherited['user_data_format'] = _hidden(
        inherited['user_data_format'], default=server.Server.RAW)
    inherited['image'] = properties.Schema(
        properties.Schema.STRING,
        _('The Glance image, by name or id; its container_format is '
          'docker.'), required=True, update_allowed=True,
        constraints=[constraints.CustomConstraint('glance.image')])
    inherited['flavor_update_policy'] = properties.Schema(
        properties.Schema.STRING,
        _('How a new flavor is applied. A container cannot be resized yet.'),
        default='REPLACE', update_allowed=True,
        constraints=[constraints.AllowedValues(['REPLACE'])])
    return {**inherited, **schemas.PROPERTIES}


class Container(server.Server):
    """A container that Nova runs.

    Scheduled, limited and networked like any server, and described like a
    service of Compose. A changed image or specification makes the container
    anew in place: its id, its ports and its addresses stay, what its process
    wrote is gone.
    """

    support_status = support.SupportStatus(
        version='27.0.0', status=support.SUPPORTED)

    PROPERTIES = (
        COMMAND, ENTRYPOINT, ENVIRONMENT, WORKING_DIR, USER, HEALTHCHECK,
        WAIT_FOR, WAIT_TIMEOUT,
    ) = tuple(schemas.PROPERTIES)

    ATTRIBUTES = (
        FIRST_IP, STATUS, EXIT_CODE, LOGS,
    ) = tuple(schemas.ATTRIBUTES)

    #: A change of any of these makes the container anew.
    _REBUILDING = (server.Server.IMAGE, *translate.SPEC_PROPERTIES)

    properties_schema = _properties_schema()

    attributes_schema = {**server.Server.attributes_schema,
                         **schemas.ATTRIBUTES}

    default_client_name = 'nova_docker'

    # -- create -------------------------------------------------------------

    def validate(self) -> None:
        super().validate()
        props = self.properties
        if (props[self.WAIT_FOR] == translate.HEALTHY
                and props[self.HEALTHCHECK] is None):
            raise exception.StackValidationFailed(message=_(
                'wait_for: healthy needs the property healthcheck'))
        names = constraints_of_ours.EnvironmentNameConstraint()
        for name, value in (props[self.ENVIRONMENT] or {}).items():
            if not names.validate(name, self.context):
                raise exception.StackValidationFailed(
                    message=f'environment: {name!r} is {names.message}')
            if not isinstance(value, str | int | float | bool | None):
                raise exception.StackValidationFailed(message=_(
                    'environment: the value of %s is neither a string nor a '
                    'number nor a boolean') % name)
        for name in props[self.METADATA] or {}:
            if translate.is_reserved(name):
                raise exception.StackValidationFailed(message=_(
                    'metadata: %s is written by the driver') % name)
        size = len(translate.specification(props).encode())
        if size > translate.MAXIMUM_SIZE:
            raise exception.StackValidationFailed(message=_(
                'command, environment and the like take %(size)d bytes; '
                'Nova accepts %(most)d') % {
                    'size': size, 'most': translate.MAXIMUM_SIZE})

    def handle_create(self) -> str:
        created = None
        try:
            created = self.client().servers.create(**self._create_arguments())
        finally:
            # At once: a cancelled thread must not lose the id.
            if created is not None:
                self.resource_id_set(created.id)
        return str(created.id)

    def _create_arguments(self) -> dict[str, Any]:
        props = self.properties
        metadata = self.client_plugin().meta_serialize(
            props[self.METADATA] or {})
        return {
            'name': self._server_name(),
            'image': props[self.IMAGE],
            'flavor': props[self.FLAVOR],
            'key_name': props[self.KEY_NAME],
            'security_groups': props[self.SECURITY_GROUPS],
            'userdata': translate.specification(props),
            'meta': {**metadata, translate.RESOURCE_KEY: self.uuid},
            'scheduler_hints': self._scheduler_hints(
                props[self.SCHEDULER_HINTS]),
            'nics': self._build_nics(
                props[self.NETWORKS],
                security_groups=props[self.SECURITY_GROUPS]),
            'availability_zone': props[self.AVAILABILITY_ZONE],
            'config_drive': self._config_drive(),
        }

    def check_create_complete(self, server_id: str) -> bool:
        found = self.client_plugin().fetch_server(server_id)
        if found is None:
            return False
        if found.status == 'ERROR':
            self._raise_build_failure(found)
        if not self.client_plugin().check_container(
                found, self.properties[self.WAIT_FOR]):
            return False
        if self.properties[self.TAGS]:
            self._update_server_tags(self.properties[self.TAGS])
        self.store_external_ports()
        return True

    def _raise_build_failure(self, found: Any) -> None:
        fault = clients.fault_of(found)
        if translate.is_final(fault, found.id):
            # Heat would retry what it takes for a passing error.
            raise exception.Error(fault)
        raise exception.ResourceInError(resource_status='ERROR',
                                        status_reason=fault)

    # -- update -------------------------------------------------------------

    def handle_update(self, json_snippet: Any, tmpl_diff: Any,
                      prop_diff: dict[str, Any]) -> list[Any]:
        inherited = {name: value for name, value in prop_diff.items()
                     if name not in (self.METADATA, self.IMAGE)}
        updaters: list[Any] = super().handle_update(
            json_snippet, tmpl_diff, inherited)
        after = json_snippet.properties(self.properties_schema, self.context)
        if self.METADATA in prop_diff:
            plugin = self.client_plugin()
            plugin.update_container_metadata(
                plugin.get_server(self.resource_id),
                after[self.METADATA] or {})
        if any(name in prop_diff for name in self._REBUILDING):
            updaters.append(self._rebuild(after))
        return updaters

    def _rebuild(self, after: Any) -> progress.ServerUpdateProgress:
        """One rebuild, however many properties have changed."""
        return progress.ServerUpdateProgress(
            self.resource_id, 'rebuild_container',
            handler_extra={'args': (after[self.IMAGE],
                                    translate.specification(after))},
            checker_extra={'args': (after[self.WAIT_FOR],)})

    def parse_live_resource_data(self, resource_properties: Any,
                                 resource_data: Any) -> dict[str, Any]:
        live: dict[str, Any] = super().parse_live_resource_data(
            resource_properties, resource_data)
        live[self.METADATA] = translate.own_metadata(live[self.METADATA])
        return live

    # -- what else is asked -------------------------------------------------

    def handle_check(self) -> None:
        found = self.client().servers.get(self.resource_id)
        if (self.properties[self.WAIT_FOR] == translate.COMPLETED
                and found.status == 'SHUTOFF'
                and translate.exit_code(found.metadata) == 0):
            return
        self._verify_check_conditions([{
            'attr': 'status', 'expected': 'ACTIVE',
            'current': self.client_plugin().get_status(found)}])

    def _resolve_attribute(self, name: str) -> Any:
        if self.resource_id is None or name not in schemas.ATTRIBUTES:
            return super()._resolve_attribute(name)
        if name == self.FIRST_IP:
            return super()._resolve_attribute(self.FIRST_ADDRESS)
        with self.client_plugin().ignore_not_found:
            found = self.client().servers.get(self.resource_id)
            return {
                self.STATUS: lambda: found.status,
                self.EXIT_CODE: lambda: translate.exit_code(found.metadata),
                self.LOGS: lambda: self.client_plugin().logs(found),
            }[name]()
        return None
