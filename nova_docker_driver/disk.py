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

"""Bounds root file systems where the Engine itself cannot.

One daemon thread asks the Engine for the size of every container, from time
to time, and stops those that are larger than their flavor's disk. Between
two looks a container can write as much as it is fast.
"""

from __future__ import annotations

import threading

from nova.compute import utils as compute_utils
from nova.compute import vm_states
from nova import context as nova_context
from nova import exception
from nova import objects
from oslo_log import log as logging

from nova_docker_driver import engine
from nova_docker_driver import errors
from nova_docker_driver import models

LOG = logging.getLogger(__name__)


class Watcher:
    """Stops the servers of one host that use more than their disk."""

    def __init__(self, engine_port: engine.Engine, host: str,
                 interval: float) -> None:
        """Does nothing before ``start``.

        :param interval: seconds between two looks
        """
        self._engine = engine_port
        self._host = host
        self._interval = interval
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name='docker-disks', daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stops no server afterwards."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            try:
                self.look()
            except errors.EngineError as error:
                LOG.warning('The sizes of containers are unknown: %s', error)
            except Exception:
                # Whatever it is: other servers' disks are still bounded.
                LOG.exception('The sizes of containers are unknown')

    def look(self) -> None:
        """Stops every server that is too large now.

        :raises EngineError: if the Engine does not tell the sizes
        """
        for usage in self._engine.disk_usage(self._host):
            if self._stopping.is_set():
                return
            if usage.running and usage.exceeds:
                self._end(usage)

    def _end(self, usage: models.DiskUsage) -> None:
        LOG.warning('Stopping server %s: it has %d bytes on its disk and may '
                    'have %d', usage.instance_uuid, usage.size, usage.limit)
        try:
            # The reason first: Nova takes a server that is found stopped for
            # one that ended by itself.
            _record(usage)
        except Exception:
            # The host's disk is in danger; that goes before the message.
            LOG.exception('The fault of server %s cannot be recorded',
                          usage.instance_uuid)
        try:
            self._engine.kill(usage.container_id)
        except errors.EngineError as error:
            LOG.warning('Server %s could not be stopped: %s',
                        usage.instance_uuid, error)


def _record(usage: models.DiskUsage) -> None:
    """The server is in error, and its fault says why."""
    context = nova_context.get_admin_context()
    reason = exception.NovaException(
        f'The server was stopped: it has {_mib(usage.size)} MiB on its disk '
        f'and the flavor allows {_mib(usage.limit)} MiB. A hard reboot starts '
        'it again; it is stopped again unless it removes files at once.')
    try:
        instance = objects.Instance.get_by_uuid(context, usage.instance_uuid)
        compute_utils.add_instance_fault_from_exc(context, instance, reason)
        instance.vm_state = vm_states.ERROR
        instance.save()
    except exception.InstanceNotFound:
        LOG.debug('Server %s is gone', usage.instance_uuid)


def _mib(size: int) -> int:
    return size // models.MIB
