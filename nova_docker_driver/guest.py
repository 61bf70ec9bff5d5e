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

"""What is done inside of a server's running container."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import contextlib
import re
import socket
from typing import Any

from nova import exception
from nova.network import model as network_model
from nova import objects
from nova.objects import diagnostics as nova_diagnostics
from oslo_log import log as logging

from nova_docker_driver import cgroups
from nova_docker_driver import diagnostics
from nova_docker_driver import engine
from nova_docker_driver import errors
from nova_docker_driver import grants
from nova_docker_driver import models
from nova_docker_driver import network
from nova_docker_driver import signals
from nova_docker_driver import snapshot

LOG = logging.getLogger(__name__)

_ADMINISTRATOR = 'root'
_USER = re.compile(r'[A-Za-z_][A-Za-z0-9_.-]{0,31}')
_PASSWORD = re.compile(r'[^\x00-\x1f\x7f]{1,512}')


class Guest:
    """Acts inside of the containers of one Engine."""

    def __init__(self, engine_port: engine.Engine, shell: str = '') -> None:
        """:param shell: of consoles; empty for none"""
        self._engine = engine_port
        self._shell = shell

    def set_password(self, instance: objects.Instance, container_id: str,
                     user: str | None, password: str) -> None:
        """Changes a user's password by the image's own tool.

        The password goes through a pipe: it is in no command line, no log
        and no record of the Engine.

        :raises SetAdminPasswdNotSupported: naming what is missing
        """
        name = user or _ADMINISTRATOR
        if grants.parse(instance.flavor.extra_specs or {}).restricted:
            raise _no_password('the flavor lets nothing run as root')
        if not _USER.fullmatch(name) or not _PASSWORD.fullmatch(password):
            raise _no_password('the user or the password has characters that '
                               'no password file can hold')
        try:
            code = self._engine.run(
                container_id, ('chpasswd',), _ADMINISTRATOR,
                f'{name}:{password}\n'.encode())
        except (errors.NotFound, errors.InvalidRequest):
            raise _no_password('the image has no chpasswd') from None
        if code:
            # Its words may repeat what it was given.
            raise _no_password(
                f'chpasswd of the image failed with code {code}; '
                'there may be no such user, or the root is read-only')

    def plain_diagnostics(self, container: models.Container
                          ) -> dict[str, Any]:
        """What the server uses, in the free form."""
        return diagnostics.plain(_usage(container), container)

    def diagnostics(self, instance: objects.Instance,
                    container: models.Container,
                    vifs: Sequence[network_model.VIF]
                    ) -> nova_diagnostics.Diagnostics:
        """What the server uses, in Nova's form."""
        macs = {nic.name: nic.mac for nic in network.nics(vifs)}
        return diagnostics.standard(
            _usage(container), container, instance.flavor.memory_mb, macs)

    def has_terminal(self, container: models.Container) -> bool:
        """Whether there is, or may be made, a terminal in a container."""
        return container.tty or bool(self._shell)

    @contextlib.contextmanager
    def terminal(self, instance_uuid: str) -> Iterator[socket.socket]:
        """The terminal of the container that stands for a server now.

        A shell that was made for it ends with it.

        :raises ProcessFailed: if no process runs
        :raises Unsupported: if it has none and may not have a shell
        """
        found = snapshot.standing(self._engine.containers(instance_uuid))
        if instance_uuid not in found:
            raise errors.ProcessFailed('There is no container')
        container = self._engine.inspect(found[instance_uuid].id)
        if container.status != 'running':
            raise errors.ProcessFailed('The process does not run')
        if container.tty:
            with contextlib.closing(
                    self._engine.attach(container.id)) as stream:
                yield stream
            return
        if not self._shell:
            raise errors.Unsupported('[docker] console_shell allows no shell')
        stream, handle = self._engine.shell(container.id, (self._shell,))
        try:
            yield stream
        finally:
            stream.close()
            self._hang_up(handle, container.id)

    def _hang_up(self, handle: str, container_id: str) -> None:
        """As a real line does when its terminal is switched off."""
        try:
            pid = self._engine.shell_pid(handle)
            if pid:
                signals.hang_up(pid, container_id)
        except (errors.EngineError, OSError) as error:
            LOG.warning('The shell of a console may still run: %s', error)


def _usage(container: models.Container) -> cgroups.Usage:
    try:
        return cgroups.usage(container.pid)
    except OSError as error:
        raise errors.ProcessFailed('The process has ended') from error


def _no_password(reason: str) -> exception.NovaException:
    return exception.SetAdminPasswdNotSupported(
        f'The password cannot be set: {reason}')
