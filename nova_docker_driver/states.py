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

"""What the Engine's words mean to Nova: tables, with reasons."""

from __future__ import annotations

from nova.compute import power_state
from nova.virt import event as virtevent

from nova_docker_driver import models

POWER_STATES: dict[str, int] = {
    'running': power_state.RUNNING,
    'paused': power_state.PAUSED,
    # Between two attempts of a restart policy there is no process, but the
    # Engine is about to start it: to Nova the server runs.
    'restarting': power_state.RUNNING,
    # Made but never started: there is no process.
    'created': power_state.SHUTDOWN,
    'exited': power_state.SHUTDOWN,
    # On its way out; nothing of it can be started again.
    'removing': power_state.SHUTDOWN,
    # The Engine failed to remove it.
    'dead': power_state.CRASHED,
}

#: Events that change a server's power state. "die" comes for every end of a
#: process, whoever ended it; "stop" and "kill" only repeat it.
LIFECYCLE_EVENTS: dict[str, int] = {
    'start': virtevent.EVENT_LIFECYCLE_STARTED,
    'die': virtevent.EVENT_LIFECYCLE_STOPPED,
    'pause': virtevent.EVENT_LIFECYCLE_PAUSED,
    'unpause': virtevent.EVENT_LIFECYCLE_RESUMED,
}

#: What a container that was found in a state must have gone through.
_LAST_EVENTS: dict[int, int] = {
    power_state.RUNNING: virtevent.EVENT_LIFECYCLE_STARTED,
    power_state.PAUSED: virtevent.EVENT_LIFECYCLE_PAUSED,
    power_state.SHUTDOWN: virtevent.EVENT_LIFECYCLE_STOPPED,
    power_state.CRASHED: virtevent.EVENT_LIFECYCLE_STOPPED,
}


def power(container: models.Container, suspended: bool = False) -> int:
    """The power state of a container; NOSTATE for a word we do not know.

    :param suspended: Nova has suspended the server: to the Engine it is
                      paused
    """
    state = POWER_STATES.get(container.status, power_state.NOSTATE)
    if suspended and state == power_state.PAUSED:
        return power_state.SUSPENDED
    return state


def lifecycle(event: models.Event) -> virtevent.LifecycleEvent | None:
    """The Nova event for an Engine event; None if Nova need not know."""
    transition = LIFECYCLE_EVENTS.get(event.action)
    if transition is None:
        return None
    return virtevent.LifecycleEvent(event.instance_uuid, transition)


def resynchronisation(instance_uuid: str, container: models.Container
                      ) -> virtevent.LifecycleEvent | None:
    """The event that a container's present state stands for."""
    transition = _LAST_EVENTS.get(power(container))
    if transition is None:
        return None
    return virtevent.LifecycleEvent(instance_uuid, transition)
