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

from collections.abc import Mapping
from typing import Any

from heat.common import exception
from heat.common.i18n import _
from heat.engine.clients import progress
from heat.engine.resources.openstack.nova import server
from heat.engine import support
from oslo_config import cfg

from heat_plugins import clients
from heat_plugins import conf
from heat_plugins import pacing
from heat_plugins.resources import attributes
from heat_plugins.resources import checks
from heat_plugins import schemas
from heat_plugins import translate

CONF = cfg.CONF
conf.register(CONF)


class Container(server.Server):
    """A container that Nova runs.

    Scheduled, limited and networked like any server, and described like a
    service of Compose. A changed image or specification makes the container
    anew in place: its id, its ports and its addresses stay, what its process
    wrote is gone.
    """

    support_status = support.SupportStatus(
        version='27.0.0', status=support.SUPPORTED)

    #: A change of any of these makes the container anew.
    _REBUILDING = (server.Server.IMAGE, 'hostname',
                   *translate.SPEC_PROPERTIES)

    properties_schema = schemas.of_container(server.Server)

    attributes_schema = {**server.Server.attributes_schema,
                         **schemas.ATTRIBUTES}

    default_client_name = 'nova_docker'

    #: It is not known whether the container is what is waited for.
    _unsure = False
    #: It is known that it is not, and never will be.
    _failed = False
    #: When to look at what Nova makes or deletes.
    _pace: pacing.Pace | None = None
    _deleted_again = False

    # -- create -------------------------------------------------------------

    def validate(self) -> None:
        super().validate()
        checks.check(self)

    def handle_create(self) -> str:
        arguments = self._create_arguments()
        self._pace = None
        created = None
        try:
            created = self.client().servers.create(**arguments)
        finally:
            # At once: a cancelled thread must not lose the id.
            if created is not None:
                self.resource_id_set(created.id)
        return str(created.id)

    def _create_arguments(self) -> dict[str, Any]:
        props = self.properties
        specification = translate.specification(props)
        metadata = self.client_plugin().meta_serialize(
            props[self.METADATA] or {})
        arguments = {
            'name': self._server_name(),
            'image': self._image(props),
            'flavor': props[self.FLAVOR],
            'key_name': props[self.KEY_NAME],
            'security_groups': props[self.SECURITY_GROUPS],
            'userdata': specification,
            'meta': {**metadata, translate.RESOURCE_KEY: self.uuid,
                     translate.SPEC_KEY: translate.digest(specification)},
            'scheduler_hints': self._scheduler_hints(
                props[self.SCHEDULER_HINTS]),
            'nics': self._build_nics(
                props[self.NETWORKS],
                security_groups=props[self.SECURITY_GROUPS]),
            'availability_zone': props[self.AVAILABILITY_ZONE],
            'config_drive': self._config_drive(),
        }
        if props['hostname']:
            arguments['hostname'] = props['hostname']
        return arguments

    def _image(self, props: Mapping[str, Any]) -> str:
        """The id of the image that Nova is to be told."""
        if props[self.IMAGE]:
            return str(props[self.IMAGE])
        name = CONF.nova_docker.placeholder_image
        glance = self.client_plugin('glance')
        try:
            return str(glance.find_image_by_name_or_id(name))
        except Exception as error:
            if not glance.is_not_found(error):
                raise
            raise exception.Error(_(
                'Property image_ref: the cloud has no image %s to stand for '
                'references; name a placeholder with the property image')
                % name) from error

    def _is_to_be_looked_at(self, least: float = 1) -> bool:
        if self._pace is None:
            self._pace = pacing.Pace(least)
        return self._pace.is_due()

    def check_create_complete(self, server_id: str) -> bool:
        plugin = self.client_plugin()
        if (plugin.is_listed(server_id, status='BUILD')
                or not self._is_to_be_looked_at()):
            return False
        found = plugin.fetch_server(server_id)
        if found is None:
            return False
        if found.status == 'ERROR':
            self._raise_build_failure(found)
        if not self.client_plugin().check_container(
                found, self.properties['wait_for']):
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

    def needs_replace_with_prop_diff(self, changed_properties_set: set[str],
                                     after_props: Any, before_props: Any
                                     ) -> bool:
        if super().needs_replace_with_prop_diff(
                changed_properties_set, after_props, before_props):
            return True
        return (after_props.get('recreate_policy') == 'REPLACE'
                and bool(changed_properties_set & set(self._REBUILDING)))

    def needs_replace_failed(self) -> bool:
        """A container that came about although Heat did not see it is kept."""
        if not self.resource_id:
            orphan = self._orphan()
            if orphan is None:
                return True
            self.resource_id_set(orphan.id)
        if super().needs_replace_failed():
            return True
        # What has failed is tried again, by another one or in place.
        self._failed = self._has_failed()
        if self._failed and (
                self.properties['recreate_policy'] == 'REPLACE'):
            return True
        self._unsure = True
        return False

    def _has_failed(self) -> bool:
        found = self.client().servers.get(self.resource_id)
        return bool(translate.progress(
            found.status, found.metadata,
            self.properties['wait_for']).failure)

    def _needs_update(self, *args: Any, **kwargs: Any) -> bool:
        # What is kept after a failure has to be waited for.
        return super()._needs_update(*args, **kwargs) or self._unsure

    def _orphan(self) -> Any:
        """The server of a heat-engine that ended before it knew the id."""
        found = self.client().servers.list(search_opts={
            'name': f'^{self._server_name()}$'})
        for one in found:
            if (self.uuid and one.metadata.get(translate.RESOURCE_KEY)
                    == self.uuid):
                return one
        return None

    def handle_update(self, json_snippet: Any, tmpl_diff: Any,
                      prop_diff: dict[str, Any]) -> list[Any]:
        ours = (self.METADATA, self.IMAGE, self.FLAVOR, self.SECURITY_GROUPS)
        updaters: list[Any] = super().handle_update(
            json_snippet, tmpl_diff, {name: value for name, value
                                      in prop_diff.items()
                                      if name not in ours})
        after = json_snippet.properties(self.properties_schema, self.context)
        if self.SECURITY_GROUPS in prop_diff:
            self._update_security_groups(after)
        if self.FLAVOR in prop_diff:
            updaters += [self._progress('resize_container',
                                        after[self.FLAVOR]),
                         self._progress('verify_resize')]
        rebuilt = self._failed or (
            after['recreate_policy'] != 'IGNORE'
            and any(name in prop_diff for name in self._REBUILDING))
        if rebuilt:
            updaters += self._rebuild(after)
        if rebuilt or self.METADATA in prop_diff:
            self._update_metadata(after, rebuilt)
        return updaters

    def _progress(self, verb: str, *arguments: Any
                  ) -> progress.ServerUpdateProgress:
        return progress.ServerUpdateProgress(
            self.resource_id, verb, handler_extra={'args': arguments},
            checker_extra={'args': arguments})

    def _rebuild(self, after: Any) -> list[progress.ServerUpdateProgress]:
        """One rebuild, however many properties have changed.

        What has ended stays so through a rebuild, and is started then: its
        new process runs once.
        """
        found = self.client_plugin().get_server(self.resource_id)
        stopped = found.status == 'SHUTOFF'
        hostname = {'hostname': after['hostname']} if after['hostname'] else {}
        rebuild = progress.ServerUpdateProgress(
            self.resource_id, 'rebuild_stopped_container' if stopped
            else 'rebuild_container',
            handler_extra={'args': (self._image(after),
                                    translate.specification(after)),
                           'kwargs': hostname},
            checker_extra={'args': (after['wait_for'],)})
        return [rebuild, self._progress('start_container', after['wait_for'])
                ] if stopped else [rebuild]

    def _update_metadata(self, after: Any, rebuilt: bool) -> None:
        plugin = self.client_plugin()
        plugin.update_container_metadata(
            plugin.get_server(self.resource_id),
            after[self.METADATA] or {},
            {translate.SPEC_KEY: translate.digest(
                translate.specification(after))} if rebuilt else {})

    def _update_security_groups(self, after: Any) -> None:
        """Those of Nova's own ports; others have groups of their own."""
        neutron = self.client_plugin('neutron')
        wanted = neutron.get_secgroup_uuids(
            after[self.SECURITY_GROUPS] or ['default'])
        others = {network.get(self.NETWORK_PORT)
                  for network in after[self.NETWORKS] or ()}
        for interface in self.client().servers.get(
                self.resource_id).interface_list():
            if interface.port_id not in others:
                neutron.client().update_port(interface.port_id, {
                    'port': {'security_groups': wanted}})

    def check_update_complete(self, updaters: list[Any]) -> bool:
        if not super().check_update_complete(updaters):
            return False
        return not self._unsure or self.check_create_complete(
            self.resource_id)

    def get_live_resource_data(self) -> Any:
        found, data = super().get_live_resource_data()
        flavor = data.get(self.FLAVOR) or {}
        if 'id' not in flavor and 'original_name' in flavor:
            # The property is an id by now; a name would be a difference.
            flavor['id'] = self.client_plugin().find_flavor_by_name_or_id(
                flavor['original_name'])
        return found, data

    def parse_live_resource_data(self, resource_properties: Any,
                                 resource_data: Any) -> dict[str, Any]:
        live: dict[str, Any] = super().parse_live_resource_data(
            resource_properties, resource_data)
        live[self.METADATA] = translate.own_metadata(live[self.METADATA])
        if not resource_properties.get(self.IMAGE):
            # The server's is a placeholder that the template does not name.
            del live[self.IMAGE]
        return live

    # -- what else is asked -------------------------------------------------

    def handle_delete(self) -> Any:
        if self.resource_id is None:
            orphan = self._orphan()
            if orphan is not None:
                self.resource_id_set(orphan.id)
        self._pace = None
        return super().handle_delete()

    def check_delete_complete(self, prg: Any) -> bool:
        if (prg and prg.image_complete and not self._is_to_be_looked_at(5)
                and self.client_plugin().is_listed(
                    prg.server_id) is not False):
            return False
        try:
            return bool(super().check_delete_complete(prg))
        except exception.ResourceInError:
            if self._deleted_again:
                raise
            # A build that fails while its server is being deleted can undo
            # the deletion.
            self._deleted_again = True
            with self.client_plugin().ignore_not_found:
                self.client().servers.delete(prg.server_id)
            return False

    def handle_check(self) -> None:
        found = self.client().servers.get(self.resource_id)
        if self._has_ended(found):
            return
        self._verify_check_conditions([{
            'attr': 'status', 'expected': 'ACTIVE',
            'current': self.client_plugin().get_status(found)}])
        if (self.properties['wait_for'] == translate.HEALTHY
                and found.metadata.get(translate.HEALTH) == 'unhealthy'):
            raise exception.Error(_('The process is unhealthy'))

    def _has_ended(self, found: Any) -> bool:
        """The process has ended, as it was meant to."""
        wait_for = self.properties['wait_for']
        return found.status == 'SHUTOFF' and (
            wait_for == translate.NONE
            or (wait_for == translate.COMPLETED
                and translate.exit_code(found.metadata) == 0))

    def handle_suspend(self) -> Any:
        # There is nothing to suspend of a job that is done.
        if self.resource_id and self._has_ended(
                self.client().servers.get(self.resource_id)):
            return None
        return super().handle_suspend()

    def check_suspend_complete(self, server_id: str | None) -> bool:
        return server_id is None or super().check_suspend_complete(server_id)

    def handle_resume(self) -> Any:
        if self.resource_id and self._has_ended(
                self.client().servers.get(self.resource_id)):
            return None
        return super().handle_resume()

    def check_resume_complete(self, server_id: str | None) -> bool:
        return server_id is None or super().check_resume_complete(server_id)

    def handle_restore(self, defn: Any, restore_data: Any) -> Any:
        props = {name: translate.without_nothing(value) for name, value
                 in self.properties.data.items() if value is not None}
        props[self.IMAGE] = restore_data['resource_data'][
            'snapshot_image_id']
        # A snapshot is no placeholder, which alone a reference goes with.
        for name in ('image_ref', 'pull_policy'):
            props.pop(name, None)
        return defn.freeze(properties=props)

    def _resolve_attribute(self, name: str) -> Any:
        if self.resource_id is None or name not in schemas.ATTRIBUTES:
            return super()._resolve_attribute(name)
        if name == 'first_ip':
            return super()._resolve_attribute(self.FIRST_ADDRESS)
        with self.client_plugin().ignore_not_found:
            found = self.client().servers.get(self.resource_id)
            return attributes.live(name, found, self.client_plugin())
        return None
