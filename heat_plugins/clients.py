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

"""Nova, as a container's resource needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heat.common import exception
from heat.engine.clients.os import nova
from novaclient import exceptions as nova_exceptions
from oslo_config import cfg
from oslo_log import log as logging

from heat_plugins import pacing
from heat_plugins import translate

LOG = logging.getLogger(__name__)

LOADER = str(Path(__file__).resolve().parent / 'loader')

LOG_LINES = 50

_SHARED = pacing.Shared()


def _offer_loader() -> None:
    """Makes Heat look into our loader's directory.

    Only as a default: an operator's own plugin_dirs holds, and has to name
    the directory then.
    """
    current = list(cfg.CONF.plugin_dirs)
    if LOADER not in current:
        cfg.CONF.set_default('plugin_dirs', [*current, LOADER])


cfg.CONF.import_opt('plugin_dirs', 'heat.common.config')
_offer_loader()


class NovaDockerClientPlugin(nova.NovaClientPlugin):
    """Nova's client plug-in with what containers have besides."""

    def is_listed(self, server_id: str, **search: str) -> bool | None:
        """Whether Nova lists a server among the project's; a moment old.

        :param search: what is searched for, such as the status
        :returns: None if that is not known; beyond a thousand servers, what
            is said not to be listed may be
        """
        question = (self.context.project_id, self._get_region_name(),
                    *sorted(search.items()))
        found = _SHARED.ids(question, lambda: self._listed(search))
        return None if found is None else server_id in found

    def _listed(self, search: dict[str, str]) -> list[str] | None:
        try:
            return [server.id for server in self.client().servers.list(
                detailed=False, search_opts=search)]
        except nova_exceptions.ClientException as error:
            # The single server will tell, and fail if it has to.
            LOG.warning('Nova does not list servers: %s', error)
            return None

    def rebuild_container(self, server_id: str, image: str, user_data: str,
                          **more: str) -> bool:
        """Begins to make a container anew; id, ports and volumes stay."""
        server = self.fetch_server(server_id)
        if server is None:
            return False
        if server.status == 'SHUTOFF' and (
                translate.EXIT_CODE in server.metadata):
            # It is not that of the process to come.
            self.client().servers.delete_meta(server, [translate.EXIT_CODE])
        server.rebuild(image, userdata=user_data, **more)
        return True

    def resize_container(self, server_id: str, flavor: str) -> bool:
        """Begins to give a container another flavor."""
        server = self.fetch_server(server_id)
        if server is None:
            return False
        server.resize(flavor)
        return True

    def check_resize_container(self, server_id: str, flavor: str) -> bool:
        """Whether the resize waits for its confirmation.

        :raises Error: if Nova gave up; the container is as it was then
        """
        server = self.fetch_server(server_id)
        if server is None or task_of(server):
            return False
        if server.status == 'RESIZE':
            return False
        if server.status == 'VERIFY_RESIZE':
            return True
        raise exception.Error(
            f'Nova cannot resize container {server.name} (it is '
            f'{server.status}, as it was): its driver or the hosts allow '
            'none; set flavor_update_policy to REPLACE for another one')

    def check_rebuild_container(self, server_id: str, wait_for: str) -> bool:
        """Whether the new process is what is waited for.

        :raises Error: if it will never be
        """
        server = self._rebuilt(server_id)
        return server is not None and self.check_container(server, wait_for)

    def _rebuilt(self, server_id: str) -> Any:
        """The server, once Nova has done what it was asked for.

        :raises Error: if it could not
        """
        server = self.fetch_server(server_id)
        if server is None or server.status == 'REBUILD' or task_of(server):
            return None
        if server.status == 'ERROR':
            raise exception.Error('The container could not be rebuilt: '
                                  + fault_of(server))
        return server

    #: What it is waited for afterwards is another thing.
    rebuild_stopped_container = rebuild_container

    def check_rebuild_stopped_container(self, server_id: str, wait_for: str
                                        ) -> bool:
        """Whether it can be started: Nova leaves it stopped."""
        return self._rebuilt(server_id) is not None

    def start_container(self, server_id: str, wait_for: str) -> bool:
        """Starts it, unless it runs."""
        server = self.fetch_server(server_id)
        if server is None:
            return False
        if server.status == 'SHUTOFF':
            server.start()
        return True

    def check_start_container(self, server_id: str, wait_for: str) -> bool:
        """Whether the process is what is waited for.

        :raises Error: if it will never be
        """
        return self.check_rebuild_container(server_id, wait_for)

    def check_container(self, server: Any, wait_for: str) -> bool:
        """Whether the process is what is waited for.

        :raises Error: if it will never be, with the last lines of its log
        """
        progress = translate.progress(
            self.get_status(server), server.metadata, wait_for)
        if progress.failure:
            raise exception.Error(
                f'Container {server.name}: {progress.failure}; its last '
                f'lines: {self.logs(server, 5)[-200:]}')
        return progress.done

    def logs(self, server: Any, lines: int = LOG_LINES) -> str:
        """The last lines that the process wrote."""
        output: str = server.get_console_output(length=lines)
        return output

    def update_container_metadata(self, server: Any,
                                  metadata: dict[str, Any],
                                  ours: dict[str, str]) -> None:
        """Sets a template's metadata; what the driver wrote stays.

        :param ours: reserved keys to set besides
        """
        wanted, stale = translate.merged_metadata(
            server.metadata, self.meta_serialize(metadata))
        wanted |= ours
        servers = self.client().servers
        if stale:
            servers.delete_meta(server, stale)
        if wanted:
            servers.set_meta(server, wanted)


def task_of(server: Any) -> str | None:
    """What Nova is doing with a server."""
    return getattr(server, 'OS-EXT-STS:task_state', None)


def fault_of(server: Any) -> str:
    """Nova's words for why a server is in ERROR."""
    return str(getattr(server, 'fault', {}).get('message', 'unknown'))
