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

"""Removes what killed steps have left, when the service starts.

A server that Nova has on this host keeps all it has: Nova itself asks for the
rest of a half-made one to be removed. What is looked for here belongs to
servers of which Nova does not know that they were ever here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from oslo_log import log as logging

from nova_docker_driver import engine
from nova_docker_driver import errors
from nova_docker_driver import guestfiles
from nova_docker_driver import names
from nova_docker_driver import netns
from nova_docker_driver import switch

LOG = logging.getLogger(__name__)


class Leftovers:
    """Of one host."""

    def __init__(self, engine_port: engine.Engine,
                 files: guestfiles.GuestFiles) -> None:
        self._engine = engine_port
        self._files = files

    def remove(self, known: Collection[str],
               is_anywhere: Callable[[str], bool]) -> None:
        """Only known servers, and those with a container, have anything.

        What cannot be removed now stays for the next start.

        :param known: uuids of the servers that Nova has on this host
        :param is_anywhere: whether Nova has a server on any host. The switch
            may be another hypervisor's, too, and the server with it.
        """
        try:
            kept = {*known, *(container.labels[names.INSTANCE_LABEL]
                              for container in self._engine.containers())}
        except errors.EngineError as error:
            LOG.warning('Leftovers are not looked for: %s', error)
            return
        for server in self._files.instance_uuids() - kept:
            LOG.info('Removing files that server %s has left', server)
            try:
                self._files.remove(server)
            except OSError as error:
                LOG.warning('Files of server %s stay: %s', server, error)
        self._remove_ports(kept, is_anywhere)

    def _remove_ports(self, kept: Collection[str],
                      is_anywhere: Callable[[str], bool]) -> None:
        if not switch.is_there():
            return
        try:
            for device, server in switch.ports().items():
                if server not in kept and not is_anywhere(server):
                    LOG.info('Removing port %s that server %s has left',
                             device, server)
                    switch.remove(device)
                    netns.delete(device)
        except Exception as error:
            # A host may have a switch that nobody has started.
            LOG.warning('The switch is not looked through: %s', error)
