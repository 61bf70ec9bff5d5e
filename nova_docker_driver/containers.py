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

"""Makes, starts and judges the containers of servers.

One step each: what they add up to is in ``lifecycle.py``.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import itertools
import time

from nova import exception
from nova import objects
from oslo_concurrency import lockutils

from nova_docker_driver import engine
from nova_docker_driver import errors
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import servers
from nova_docker_driver import spec

_HEALTH_INTERVAL = 0.25

#: Nova is asked less often than the Engine: that costs more.
_LOOKS_PER_QUESTION = 8

#: Lines of a process that ended at once that its fault shows.
_FAULT_LINES, _FAULT_SIZE = 5, 200


def start(engine_port: engine.Engine, container_id: str) -> None:
    """The process has been started.

    :raises ProcessFailed: in the Engine's words, if it cannot be
    """
    try:
        engine_port.start(container_id)
    except errors.EngineUnavailable:
        raise
    except errors.EngineError as error:
        container = engine_port.inspect(container_id)
        if container.error or container.oom_killed:
            raise errors.ProcessFailed(
                f'The process cannot be started: '
                f'{container.error or "out of memory"}') from error
        raise


class Containers:
    """The containers of one Engine's servers."""

    def __init__(self, engine_port: engine.Engine) -> None:
        self._engine = engine_port

    def own(self, instance: objects.Instance) -> models.Container:
        try:
            container = self._engine.inspect(servers.container_name(instance))
        except errors.NotFound as error:
            raise exception.InstanceNotFound(
                instance_id=instance.uuid) from error
        if names.owner(container.name, container.labels) != instance.uuid:
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        return container

    def make(self, inputs: spec.Inputs) -> str:
        """The server's container, with GPUs that no other one has."""
        if not inputs.grants.gpus:
            return self.create(spec.build(inputs))
        # Chosen and taken at once: the container's label is the record.
        with lockutils.lock('nova-docker-gpus'):
            return self.create(spec.build(dataclasses.replace(
                inputs, gpus=self._free_gpus(inputs))))

    def _free_gpus(self, inputs: spec.Inputs) -> tuple[str, ...]:
        taken = {gpu for container in self._engine.containers()
                 for gpu in container.labels.get(
                     names.GPUS_LABEL, '').split(',')}
        free = [gpu for gpu in inputs.policy.gpus if gpu not in taken]
        wanted = inputs.grants.gpus
        if len(free) < wanted:
            raise errors.Unsupported(
                f'flavor: docker:gpus: {wanted} are wanted and this host has '
                f'{len(free)} that are free')
        return tuple(free[:wanted])

    def create(self, wanted: models.ContainerSpec) -> str:
        try:
            return self._engine.create(wanted)
        except errors.NameConflict:
            # A lost answer leaves a container of ours; then it is replaced.
            container = self._engine.inspect(wanted.name)
            owner = names.owner(container.name, container.labels)
            if owner != wanted.labels[names.INSTANCE_LABEL]:
                raise errors.ForeignContainer(
                    f'The container {wanted.name} is not of this driver'
                ) from None
            self._engine.remove(container.id)
            return self._engine.create(wanted)

    def run(self, container_id: str, tenant: models.TenantSpec,
            check_wanted: Callable[[], None]) -> None:
        """Starts the process and waits for what the tenant waits for.

        :param check_wanted: an error from it ends the waiting
        :raises ProcessFailed: if that does not come
        """
        start(self._engine, container_id)
        deadline = time.monotonic() + tenant.wait_timeout
        for look in itertools.count(1):
            container = self._engine.inspect(container_id)
            self.check_alive(container, tenant.wait_for)
            if tenant.wait_for != 'healthy' or container.health == 'healthy':
                return
            if container.health == 'unhealthy':
                raise errors.ProcessFailed(
                    'The process is unhealthy' + self._last_words(container))
            if time.monotonic() > deadline:
                raise errors.ProcessFailed(
                    f'The process was not healthy within '
                    f'{tenant.wait_timeout} s' + self._last_words(container))
            if look % _LOOKS_PER_QUESTION == 0:
                check_wanted()
            time.sleep(_HEALTH_INTERVAL)

    def check_alive(self, container: models.Container, wait_for: str) -> None:
        """:raises ProcessFailed: if its process ended and may not have"""
        # Between two attempts of a restart policy it has not ended for good.
        if (container.status in ('running', 'restarting')
                or wait_for == 'none'):
            return
        if wait_for == 'completed' and container.exit_code == 0:
            return
        killed = ', out of memory' if container.oom_killed else ''
        raise errors.ProcessFailed(
            f'The process ended with exit code {container.exit_code}{killed}'
            + self._last_words(container))

    def _last_words(self, container: models.Container) -> str:
        log = self._engine.logs(container.id, _FAULT_LINES, _FAULT_SIZE)
        words = log.decode(errors='replace').strip()
        return f'; its last lines: {words}' if words else ''
