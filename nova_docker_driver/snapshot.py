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

"""The servers' containers as they were a moment ago.

Nova asks for the state of each server, one by one; one list call of the
Engine answers for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
import threading
import time

from nova_docker_driver import engine
from nova_docker_driver import models
from nova_docker_driver import names

#: Seconds after which a list is too old.
AGE = 2.0


class Snapshot:
    """The containers of one host, listed at most two seconds ago."""

    def __init__(self, engine_port: engine.Engine) -> None:
        self._engine = engine_port
        # Held while the Engine lists: who else asks waits for that list.
        self._listing = threading.Lock()
        # Never held for long: events must not wait for the Engine.
        self._lock = threading.Lock()
        self._found: dict[str, models.Container] = {}
        self._until = 0.0
        self._changes = 0

    def invalidate(self) -> None:
        """Something has happened: what was listed no longer holds."""
        with self._lock:
            self._changes += 1
            self._until = 0.0

    def find(self, instance_uuid: str, host: str) -> models.Container | None:
        """The container that stands for a server; at most one Engine call."""
        with self._listing:
            if time.monotonic() > self._until:
                self._list(host)
            return self._found.get(instance_uuid)

    def _list(self, host: str) -> None:
        began, changes = time.monotonic(), self._changes
        self._found = standing(self._engine.containers(host=host))
        with self._lock:
            # A list that was begun before a change is not kept after it.
            if changes == self._changes:
                self._until = began + AGE

    def find_now(self, instance_uuid: str) -> models.Container | None:
        """As ``find``, by a call of its own."""
        return standing(self._engine.containers(instance_uuid)).get(
            instance_uuid)


def standing(containers: Iterable[models.Container]
             ) -> dict[str, models.Container]:
    """The container that stands for each server: its rescuer goes first."""
    found: dict[str, models.Container] = {}
    for container in containers:
        uuid = container.labels[names.INSTANCE_LABEL]
        role = container.labels[names.ROLE_LABEL]
        if role == names.ROLE_RESCUE or (
                role == names.ROLE_SERVER and uuid not in found):
            found[uuid] = container
    return found
