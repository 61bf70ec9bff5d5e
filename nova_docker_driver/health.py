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

"""Writes what became of a server's process into the server's metadata.

So that a tenant, or Heat for a tenant, reads it without a tool of ours:
``docker:exit_code``, ``docker:oom_killed`` and ``docker:health``.
"""

from __future__ import annotations

from collections.abc import Callable

from nova.compute import task_states
from nova import context as nova_context
from nova import exception
from nova import objects
from oslo_log import log as logging

from nova_docker_driver import engine
from nova_docker_driver import errors
from nova_docker_driver import models
from nova_docker_driver import names

LOG = logging.getLogger(__name__)

EXIT_CODE = 'docker:exit_code'
OOM_KILLED = 'docker:oom_killed'
HEALTH = 'docker:health'

#: Values that belong to one run of the process.
_OF_A_RUN = (EXIT_CODE, OOM_KILLED, HEALTH)


class Reporter:
    """Records outcomes; called with every event of a server's container."""

    def __init__(self, engine_port: engine.Engine) -> None:
        self._engine = engine_port

    def report(self, event: models.Event) -> None:
        """Records what an event says about the process."""
        change = self._change(event)
        if change is None or event.role != names.ROLE_SERVER:
            return
        try:
            _merge(event.instance_uuid, change)
        except exception.InstanceNotFound:
            LOG.debug('Server %s is gone; nothing to record',
                      event.instance_uuid)

    def _change(self, event: models.Event
                ) -> Callable[[dict[str, str]], dict[str, str]] | None:
        match event.action:
            case 'start':
                return _without_outcome
            case 'die' | 'health_status':
                observed = self._observe(event)
                return lambda current: {**current, **observed}
            case _:
                return None

    def _observe(self, event: models.Event) -> dict[str, str]:
        try:
            container = self._engine.inspect(event.container_id)
        except errors.NotFound:
            container = None
        observed = {}
        if event.action == 'die' and event.exit_code is not None:
            observed[EXIT_CODE] = str(event.exit_code)
        if container is not None and container.oom_killed:
            observed[OOM_KILLED] = 'true'
        if container is not None and container.health:
            observed[HEALTH] = container.health
        return observed


def _without_outcome(current: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in current.items()
            if key not in _OF_A_RUN}


def _merge(instance_uuid: str,
           change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    instance = objects.Instance.get_by_uuid(
        nova_context.get_admin_context(), instance_uuid,
        expected_attrs=['metadata'])
    if instance.task_state == task_states.DELETING:
        return
    changed = change(dict(instance.metadata))
    if changed != instance.metadata:
        # Read just now, and written as a whole: Nova has no finer way.
        instance.metadata = changed
        instance.save()
