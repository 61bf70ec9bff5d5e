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

"""Keeps the scheduler away from this host while its Engine is away.

One daemon thread asks the Engine for a sign of life. While there is none, the
record of the compute service is disabled with a reason, as if an operator had
done it, and calls that would only wait are refused at once. What an operator
disabled stays so.
"""

from __future__ import annotations

from collections.abc import Callable
import threading
from typing import Any

from nova import context as nova_context
from nova import exception
from nova import objects
from oslo_log import log as logging

from nova_docker_driver import engine
from nova_docker_driver import errors

LOG = logging.getLogger(__name__)

#: What Nova's own drivers begin such a reason with: the mark by which a
#: driver knows that it may enable the service again.
AUTOMATIC = 'AUTO: '

#: Told whether this host can be used, and why not.
Tell = Callable[[bool, str], None]


class Watchdog:
    """Looks after one Engine; tells only when something has changed."""

    def __init__(self, engine_port: engine.Engine, tell: Tell,
                 interval: float) -> None:
        """Does nothing before ``start``.

        :param interval: seconds between two looks
        """
        self._engine = engine_port
        self._tell = tell
        self._interval = interval
        #: What Nova was told last; None before the first time.
        self._told: bool | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name='docker-watchdog', daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Tells nothing afterwards."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.look()
            self._stopping.wait(self._interval)

    def look(self) -> None:
        """Asks once, and tells Nova if the answer is a new one."""
        reason = ''
        try:
            self._engine.ping()
        except errors.EngineError as error:
            reason = str(error)
        alive = not reason
        if alive == self._told or self._stopping.is_set():
            return
        if not alive:
            LOG.warning('The Docker Engine is away: %s', reason)
        elif self._told is False:
            LOG.info('The Docker Engine is back')
        try:
            self._tell(alive, reason)
        except Exception:
            # Nova's own services may be away as well; the next look tries
            # again.
            LOG.exception('The state of the compute service cannot be set')
        else:
            self._told = alive


class Service:
    """The record of this host's compute service."""

    def __init__(self, host: str, virtapi: Any) -> None:
        """:param virtapi: has ``update_compute_provider_status``"""
        self._host = host
        self._virtapi = virtapi

    def set_enabled(self, enabled: bool, reason: str) -> None:
        """Enables what was disabled automatically, or disables it so."""
        context = nova_context.get_admin_context()
        try:
            record = objects.Service.get_by_compute_host(context, self._host)
        except exception.ComputeHostNotFound:
            # The service's first start: its record is made after this.
            return
        automatic = (record.disabled_reason or '').startswith(AUTOMATIC)
        if record.disabled is not enabled or record.disabled and not automatic:
            return
        record.disabled = not enabled
        record.disabled_reason = None if enabled else AUTOMATIC + reason
        record.save()
        # Placement's trait is what the scheduler looks at.
        self._virtapi.update_compute_provider_status(
            context, record.compute_node.uuid, enabled)
