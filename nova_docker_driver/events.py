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

"""Follows the Engine's events and tells Nova within milliseconds.

One daemon thread reads the stream, others tell. When it breaks, everything
that might have been missed is told from the containers' present states.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
import contextlib
import threading
import time

from nova.compute import power_state
from nova.virt import event as virtevent
from oslo_log import log as logging

from nova_docker_driver import engine
from nova_docker_driver import errors
from nova_docker_driver import health
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import snapshot
from nova_docker_driver import states

LOG = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0

#: Seconds after which the end of a process is told again. Nova drops what it
#: hears of a server that it is busy with, as it still is for a moment when
#: a process ends as soon as it was started.
_REPETITIONS = (1, 3, 10)

#: Servers are told of side by side, so that a slow answer about one holds up
#: few others; what happens to one server is told in its order.
_LANES = 8

Emit = Callable[[virtevent.LifecycleEvent], None]
#: Starts a server again whose policy wants that; answers whether it did.
Revive = Callable[[str], bool]


class Listener:
    """Carries events of servers' containers from one Engine to Nova."""

    def __init__(self, engine_port: engine.Engine, recent: snapshot.Snapshot,
                 host: str, emit: Emit, reporter: health.Reporter,
                 revive: Revive) -> None:
        """Does nothing before ``start``.

        :param recent: holds no longer what an event has changed
        :param emit: takes Nova's lifecycle events
        :param reporter: records outcomes, before Nova is told of them
        :param revive: what the Engine itself cannot start again
        """
        self._revive = revive
        self._engine = engine_port
        self._snapshot = recent
        self._host = host
        self._emit = emit
        self._reporter = reporter
        self._stopping = threading.Event()
        self._lanes = [futures.ThreadPoolExecutor(1, f'docker-events-{lane}')
                       for lane in range(_LANES)]
        self._thread = threading.Thread(
            target=self._run, name='docker-events', daemon=True)

    def start(self) -> None:
        """Begins to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Nothing is emitted afterwards.

        The thread itself ends with the stream or with the process.
        """
        self._stopping.set()
        for lane in self._lanes:
            lane.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        # What ended while nobody listened; Nova looks by itself, too, but
        # does not know how it ended.
        since, pause = self._resynchronise(time.time()), _FIRST_PAUSE
        while not self._stopping.is_set():
            try:
                for event in self._engine.events(since):
                    if self._stopping.is_set():
                        return
                    since, pause = event.time / 1e9, _FIRST_PAUSE
                    self._snapshot.invalidate()
                    self._soon(event.instance_uuid, self._handle, event)
                LOG.warning('The stream of Docker events has ended')
            except errors.EngineError as error:
                LOG.warning('The stream of Docker events broke: %s', error)
            except Exception:
                # Nobody else would tell of any server's end.
                LOG.exception('The stream of Docker events broke')
            self._stopping.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            since = self._resynchronise(since)

    def _resynchronise(self, since: float) -> float:
        """Tells the state of every server; answers where to go on."""
        now = time.time()
        self._snapshot.invalidate()
        try:
            found = self._engine.containers(host=self._host)
        except errors.EngineError as error:
            LOG.warning('Docker does not answer: %s', error)
            return since
        for uuid, container in snapshot.standing(found).items():
            self._soon(uuid, self._settle, uuid, container)
        return now

    def _settle(self, instance_uuid: str, container: models.Container
                ) -> None:
        """What an Engine's restart has ended goes on, or Nova is told."""
        if (states.power(container) == power_state.SHUTDOWN
                and self._revive(instance_uuid)):
            return
        self._tell_state(instance_uuid, container)

    def _handle(self, event: models.Event) -> None:
        if event.role == names.ROLE_SANDBOX:
            return
        # The outcome first: who sees SHUTOFF finds the exit code.
        self._safely(self._reporter.report, event)
        lifecycle = states.lifecycle(event)
        if lifecycle is not None:
            self._safely(self._emit, lifecycle)
        if event.action == 'die':
            self._repeat(event.instance_uuid)

    def _tell_state(self, instance_uuid: str, container: models.Container
                    ) -> None:
        if states.power(container) == power_state.SHUTDOWN:
            self._safely(self._reporter.record, instance_uuid, container.id)
        lifecycle = states.resynchronisation(instance_uuid, container)
        if lifecycle is not None:
            self._safely(self._emit, lifecycle)

    def _repeat(self, instance_uuid: str) -> None:
        for delay in _REPETITIONS:
            timer = threading.Timer(
                delay, self._soon, [instance_uuid, self._tell_if_ended,
                                    instance_uuid])
            timer.daemon = True
            timer.start()

    def _tell_if_ended(self, instance_uuid: str) -> None:
        try:
            container = self._engine.inspect(names.container(instance_uuid))
        except errors.EngineError as error:
            LOG.debug('Nothing to repeat of %s: %s', instance_uuid, error)
            return
        if states.power(container) == power_state.SHUTDOWN:
            self._tell_state(instance_uuid, container)

    def _soon(self, instance_uuid: str, act: Callable[..., None],
              *arguments: object) -> None:
        """Does something in the server's lane, unless we stop."""
        lane = self._lanes[hash(instance_uuid) % _LANES]
        # A lane that was closed meanwhile: nothing is told any more.
        with contextlib.suppress(RuntimeError):
            lane.submit(self._unless_stopping, act, *arguments)

    def _unless_stopping(self, act: Callable[..., None], *arguments: object
                         ) -> None:
        if not self._stopping.is_set():
            self._safely(act, *arguments)

    def _safely(self, act: Callable[..., None], *arguments: object) -> None:
        try:
            act(*arguments)
        except Exception:
            # One event that cannot be told must not end the thread: all
            # other servers' events come through it.
            LOG.exception('An event of Docker could not be handled: %s',
                          arguments)
