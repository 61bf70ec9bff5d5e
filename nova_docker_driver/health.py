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

So that a tenant, or Heat for a tenant, reads it without a tool of ours.

Nova saves metadata as a whole: it has no way to set one key. What a tenant
changes between our reading and our writing would be lost, and what we write
while a tenant's request is under way is lost with it. So the mapping is read
immediately before it is written, is read again to see that ours stands, and
the end of a process is recorded again a few seconds later.
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
from nova_docker_driver import userspec

LOG = logging.getLogger(__name__)

EXIT_CODE = 'docker:exit_code'
OOM_KILLED = 'docker:oom_killed'
FINISHED_AT = 'docker:finished_at'
HEALTH = 'docker:health'
RESTARTS = 'docker:restart_count'
IMAGE_DIGEST = 'docker:image_digest'

_OURS = (EXIT_CODE, OOM_KILLED, FINISHED_AT, HEALTH, RESTARTS)

#: How often a mapping is written before a tenant's own writes prevail.
_ATTEMPTS = 5

#: The Engine's word for "never".
_NEVER = '0001-01-01'

Change = Callable[[objects.Instance], dict[str, str]]


class Reporter:
    """Records outcomes; called with every event of a server's container."""

    def __init__(self, engine_port: engine.Engine) -> None:
        self._engine = engine_port

    def report(self, event: models.Event) -> None:
        """Records what an event says about the process."""
        if (event.role == names.ROLE_SERVER
                and event.action in ('start', 'die', 'health_status')):
            self.record(event.instance_uuid, event.container_id,
                        event.exit_code)

    def record(self, instance_uuid: str, container_id: str,
               exit_code: int | None = None) -> None:
        """Records how a container is now.

        :param exit_code: what an event told; the container itself may have
                          been removed or started again since
        """
        try:
            container = self._engine.inspect(container_id)
            observed, image = outcome(container), container.image
        except errors.NotFound:
            # The digest of one that is gone stays until another one starts.
            observed, image = {}, ''
        if exit_code is not None:
            observed[EXIT_CODE] = str(exit_code)
        try:
            _write(instance_uuid, lambda instance: {
                **{key: value for key, value in instance.metadata.items()
                   if key not in _OURS}, **observed,
                **_identity(instance, image)})
        except exception.InstanceNotFound:
            LOG.debug('Server %s is gone; nothing to record', instance_uuid)


def outcome(container: models.Container) -> dict[str, str]:
    """What a container's state says, as metadata. Pure."""
    found = {}
    if container.status in ('exited', 'dead'):
        found[EXIT_CODE] = str(container.exit_code)
        if container.oom_killed:
            found[OOM_KILLED] = 'true'
        if not container.finished_at.startswith(_NEVER):
            found[FINISHED_AT] = container.finished_at
    if container.health:
        found[HEALTH] = container.health
    if container.restarts:
        found[RESTARTS] = str(container.restarts)
    return found


def _identity(instance: objects.Instance, image: str) -> dict[str, str]:
    """What a server runs, if it was asked for as a container.

    Who asks for an ordinary server finds the metadata that it was given.
    """
    if not image or not userspec.is_given(instance.user_data):
        return {}
    return {IMAGE_DIGEST: image}


def _write(instance_uuid: str, change: Change) -> None:
    """Makes a change stand.

    :raises InstanceNotFound: if the server is gone
    """
    context = nova_context.get_admin_context()
    for _ in range(_ATTEMPTS):
        instance = objects.Instance.get_by_uuid(
            context, instance_uuid, expected_attrs=['metadata'])
        changed = change(instance)
        if (instance.task_state == task_states.DELETING
                or changed == instance.metadata):
            return
        instance.metadata = changed
        instance.save()
    LOG.warning('The metadata of server %s are changed too often by others '
                'for the outcome to stand', instance_uuid)
