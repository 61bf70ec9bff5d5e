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

"""DockerInc::Docker::Container: for templates of the plug-in that Heat had.

Off unless an operator switches it on, and for administrators only: Heat
itself asks an Engine for the container, past Nova's scheduler and quotas.
New templates are for ``OS::NovaDocker::Container``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import contextlib
import time
from typing import Any

from heat.common import exception
from heat.common.i18n import _
from heat.engine import resource
from heat.engine import support
from heat.policies import base as policies
from heat.policies import resource_types
from oslo_config import cfg
from oslo_policy import policy

from heat_plugins import engines
from heat_plugins import enginesconf
from heat_plugins import legacy
from heat_plugins import legacyschemas

TYPE = 'DockerInc::Docker::Container'

CONF = cfg.CONF
enginesconf.register(CONF)


def restrict() -> None:
    """Only administrators may use the type, unless a policy file says else.

    A rule that nobody has registered is one that Heat never asks for.
    """
    name = resource_types.POLICY_ROOT % TYPE
    known = resource_types.resource_types_policies
    if name not in {rule.name for rule in known}:
        known.append(policy.RuleDefault(
            name=name, check_str=policies.RULE_PROJECT_ADMIN,
            scope_types=['project']))


restrict()


class Container(resource.Resource):
    """A container of an Engine that heat.conf names.

    Kept for old templates; see OS::NovaDocker::Container for new ones.
    """

    support_status = support.SupportStatus(
        status=support.UNSUPPORTED,
        message=_('For old templates only; use OS::NovaDocker::Container.'))

    properties_schema = legacyschemas.PROPERTIES

    attributes_schema = legacyschemas.ATTRIBUTES

    # -- before anything is made --------------------------------------------

    def validate(self) -> None:
        """Opens no connection, whatever the properties say."""
        super().validate()
        try:
            enginesconf.endpoint(CONF, self._alias())
        except ValueError as error:
            raise exception.StackValidationFailed(
                message=f'Property docker_endpoint: {error}') from error
        for name, reason in legacy.problems(self.properties, self._grants()):
            raise exception.StackValidationFailed(
                message=f'Property {name}: {reason}')

    def _alias(self) -> str:
        return str(self.properties['docker_endpoint']
                   or CONF.docker_container.default_endpoint)

    def _grants(self) -> legacy.Grants:
        allowed = CONF.docker_container
        return legacy.Grants(allowed.allow_privileged,
                             allowed.allow_bind_mounts,
                             allowed.allow_devices,
                             tuple(allowed.allowed_caps))

    @contextlib.contextmanager
    def _engine(self) -> Iterator[Any]:
        try:
            with engines.connected(CONF, self._alias()) as client:
                yield client
        except engines.EngineError as error:
            if engines.status_of(error) in (404, 409):
                raise
            raise exception.Error(f'The Engine {self._alias()}: {error}'
                                  ) from error
        except ValueError as error:
            raise exception.Error(
                f'Property docker_endpoint: {error}') from error

    # -- create -------------------------------------------------------------

    def handle_create(self) -> dict[str, Any]:
        # The configuration may have changed since the template was checked.
        for name, reason in legacy.problems(self.properties, self._grants()):
            raise exception.Error(f'Property {name}: {reason}')
        token: dict[str, Any] = {'pull': None}
        if self._has_to_pull():
            token['pull'] = engines.Pull(CONF, self._alias(),
                                         self.properties['image'])
        else:
            self._make()
        return token

    def _has_to_pull(self) -> bool:
        when = self.properties['pull_policy']
        if when != 'missing':
            return bool(when == 'always')
        with self._engine() as client:
            try:
                client.inspect_image(self.properties['image'])
            except engines.NotFound:
                return True
        return False

    def _make(self) -> None:
        """The container is there, once, and has been started."""
        with self._engine() as client:
            found = self._made_before(client)
            if found is None:
                found = client.create_container(
                    name=self._container_name(),
                    host_config=client.create_host_config(
                        **legacy.host(self.properties)),
                    **legacy.configuration(self.properties, self._labels()))
            self.resource_id_set(found['Id'])
            client.start(found['Id'])

    def _container_name(self) -> str:
        return str(self.properties['name'] or self.physical_resource_name())

    def _labels(self) -> dict[str, str]:
        return {legacy.STACK_LABEL: str(self.stack.id),
                legacy.RESOURCE_LABEL: str(self.uuid)}

    def _made_before(self, client: Any) -> Any:
        """The container of a create whose answer was lost."""
        for one in client.containers(all=True, filters={'label': [
                f'{legacy.RESOURCE_LABEL}={self.uuid}']}):
            return one
        return None

    def check_create_complete(self, token: dict[str, Any]) -> bool:
        pull = token['pull']
        if pull is not None:
            if not pull.done:
                return False
            if pull.error:
                raise exception.Error(
                    f'Property image: the Engine {self._alias()} cannot '
                    f'pull {self.properties["image"]}: {pull.error}')
            token['pull'] = None
            self._make()
        return self._is_what_is_waited_for()

    def handle_create_cancel(self, token: dict[str, Any] | None) -> None:
        if token and token['pull'] is not None:
            token['pull'].cancel()

    def _is_what_is_waited_for(self) -> bool:
        with self._engine() as client:
            found = client.inspect_container(self.resource_id)
            progress = legacy.progress(found['State'],
                                       self.properties['wait_for'])
            if progress.failure:
                tail = engines.logs(client, self.resource_id, 5)[-200:]
                raise exception.Error(f'{progress.failure}; its last lines: '
                                      f'{tail}')
            return progress.done

    # -- update -------------------------------------------------------------

    def handle_update(self, json_snippet: Any, tmpl_diff: Any,
                      prop_diff: dict[str, Any]) -> None:
        after = json_snippet.properties(self.properties_schema, self.context)
        changes = legacy.live(after, set(prop_diff))
        with self._engine() as client:
            if 'name' in prop_diff:
                client.rename(self.resource_id, after['name']
                              or self.physical_resource_name())
            if changes:
                client.update_container(self.resource_id, **changes)

    def needs_replace_failed(self) -> bool:
        """What runs although Heat did not see it is kept."""
        with self._engine() as client:
            if not self.resource_id:
                found = self._made_before(client)
                if found is None:
                    return True
                self.resource_id_set(found['Id'])
            try:
                state = client.inspect_container(self.resource_id)['State']
            except engines.NotFound:
                return True
            return bool(legacy.progress(
                state, self.properties['wait_for']).failure)

    def prepare_for_replace(self) -> None:
        """Leaves its name and ports to the one that replaces it."""
        if self.resource_id is None:
            return
        with contextlib.suppress(engines.NotFound), self._engine() as client:
            client.stop(self.resource_id,
                        timeout=self.properties['stop_timeout'])
            client.rename(self.resource_id,
                          f'replaced-{self.resource_id[:12]}')

    def restore_prev_rsrc(self, convergence: bool = False) -> None:
        """Takes its name back, and goes on."""
        if self.resource_id is None:
            return
        with contextlib.suppress(engines.NotFound), self._engine() as client:
            client.rename(self.resource_id, self._container_name())
            client.start(self.resource_id)

    # -- delete -------------------------------------------------------------

    def handle_delete(self) -> dict[str, Any] | None:
        if self.resource_id is None:
            if not self.uuid:
                return None
            with self._engine() as client:
                found = self._made_before(client)
            if found is None:
                return None
            self.resource_id_set(found['Id'])
        self._signal(None)
        return {'until': time.monotonic() + self.properties['stop_timeout']}

    def _signal(self, name: str | None) -> None:
        """Asks the process to end; there may be none any more."""
        with self._engine() as client:
            try:
                if name is None:
                    config = client.inspect_container(
                        self.resource_id)['Config']
                    name = config.get('StopSignal') or 'SIGTERM'
                # A policy must not start it again meanwhile.
                client.update_container(self.resource_id, restart_policy={
                    'Name': 'no', 'MaximumRetryCount': 0})
                client.kill(self.resource_id, signal=name)
            except engines.EngineError as error:
                if engines.status_of(error) not in (404, 409):
                    raise

    def check_delete_complete(self, token: dict[str, Any] | None) -> bool:
        if token is None:
            return True
        try:
            with self._engine() as client:
                state = client.inspect_container(self.resource_id)['State']
                if state['Running'] and time.monotonic() < token['until']:
                    return False
                client.remove_container(
                    self.resource_id, force=True,
                    v=self.properties['remove_volumes'])
        except engines.EngineError as error:
            if engines.status_of(error) == 404:
                return True
            # Another removal goes on.
            if engines.status_of(error) != 409:
                raise
        return False

    # -- what else is asked -------------------------------------------------

    def handle_suspend(self) -> None:
        with self._engine() as client:
            client.stop(self.resource_id,
                        timeout=self.properties['stop_timeout'])

    def check_suspend_complete(self, token: Any) -> bool:
        with self._engine() as client:
            return not client.inspect_container(
                self.resource_id)['State']['Running']

    def handle_resume(self) -> None:
        with self._engine() as client:
            client.start(self.resource_id)

    def check_resume_complete(self, token: Any) -> bool:
        return self._is_what_is_waited_for()

    def handle_check(self) -> None:
        with self._engine() as client:
            state = client.inspect_container(self.resource_id)['State']
        progress = legacy.progress(state, self.properties['wait_for'])
        if not progress.done:
            raise exception.Error(progress.failure
                                  or f'It is {state["Status"]}')

    def get_live_state(self, resource_properties: Any) -> dict[str, Any]:
        try:
            with self._engine() as client:
                found = client.inspect_container(self.resource_id)
        except engines.NotFound as error:
            raise exception.EntityNotFound(entity='Resource',
                                           name=self.name) from error
        host = found['HostConfig']
        live = {'memory': host['Memory'] or None,
                'cpu_shares': host['CpuShares'],
                'cpu_set': host['CpusetCpus'] or None}
        if resource_properties.get('name'):
            live['name'] = found['Name'].lstrip('/')
        return live

    def _show_resource(self) -> dict[str, Any]:
        with self._engine() as client:
            return legacy.info(client.inspect_container(self.resource_id))

    def _resolve_attribute(self, name: str) -> Any:
        if not self.resource_id:
            return None
        try:
            with self._engine() as client:
                return self._attribute(name, client)
        except engines.NotFound:
            return None

    def _attribute(self, name: str, client: Any) -> Any:
        match name:
            case 'logs':
                return engines.logs(client, self.resource_id)
            case 'logs_head':
                return engines.first_line(client, self.resource_id)
            case 'logs_tail':
                return engines.logs(client, self.resource_id, 1).rstrip('\n')
        found: Mapping[str, Any] = client.inspect_container(self.resource_id)
        state = found['State']
        match name:
            case 'info':
                return legacy.info(found)
            case 'exit_code':
                return (state['ExitCode'] if state['Status'] == 'exited'
                        else None)
            case 'health':
                return (state.get('Health') or {}).get('Status')
        settings = legacy.network(found)
        return settings if name == 'network_info' else settings[{
            'network_ip': 'IPAddress', 'network_gateway': 'Gateway',
            'network_tcp_ports': 'TcpPorts',
            'network_udp_ports': 'UdpPorts'}[name]]
