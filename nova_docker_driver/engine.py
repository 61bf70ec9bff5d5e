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

"""The Docker Engine: the only module that knows the docker SDK.

Calls are of two kinds. Most are bounded by ``[docker] request_timeout``; a
lost answer then is ``EngineTimeout``, whose outcome is unknown, never
"failed". Following events has no bound, and loading an image one of its own.
Errors are told apart by type here, once; no other module reads their text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
import contextlib
import os
import socket
import threading
import time
from typing import Any

import docker
import docker.auth
import docker.errors
import docker.utils
from oslo_utils import timeutils
import requests.exceptions
import urllib3.exceptions

from nova_docker_driver import enginedocs
from nova_docker_driver import errors
from nova_docker_driver import hostmodels
from nova_docker_driver import models
from nova_docker_driver import names

OLDEST_API = '1.41'

#: Bytes of an archive that are read at a time.
_CHUNK = 256 * 1024

#: Seconds that a living Engine never needs to say so.
_PING_TIMEOUT = 10

#: Lines and columns, as those who cannot tell theirs expect.
_TERMINAL_SIZE = (24, 80)

_EVENTS = ('start', 'die', 'oom', 'pause', 'unpause', 'health_status')


class Engine:
    """One Engine, connected to when it is first needed."""

    def __init__(self, endpoint: str, timeout: int, load_timeout: int,
                 concurrent_starts: int = 0) -> None:
        """Connects to nothing yet.

        :param timeout: seconds that an ordinary call may take
        :param load_timeout: seconds without an answer while an image loads
        :param concurrent_starts: 0 means two for each CPU
        """
        self._endpoint = endpoint
        self._timeout = timeout
        self._load_timeout = load_timeout
        self._local = threading.local()
        self._version: str | None = None
        #: Why nothing is to be asked of it now; empty while it lives.
        self._away = ''
        self._starts = threading.BoundedSemaphore(
            concurrent_starts or 2 * (os.cpu_count() or 1))

    # -- itself -------------------------------------------------------------

    def facts(self) -> hostmodels.EngineFacts:
        """What the Engine says about itself and its host."""
        with self._call() as client:
            return enginedocs.facts(client.info())

    def ping(self) -> None:
        """A sign of life; without one, other calls fail at once from now on.

        :raises EngineUnavailable: if there is none
        """
        try:
            with _translated(self._endpoint):
                self._client(_PING_TIMEOUT).ping()
        except errors.EngineError as error:
            self._away = str(error)
            raise
        self._away = ''

    # -- containers ---------------------------------------------------------

    def containers(self, instance_uuid: str | None = None,
                   host: str | None = None) -> list[models.Container]:
        """Our containers, in one call however many there are.

        :param instance_uuid: only those of one server
        :param host: only those that one nova-compute made
        """
        labels = [names.INSTANCE_LABEL]
        if instance_uuid is not None:
            labels.append(f'{names.INSTANCE_LABEL}={instance_uuid}')
        if host is not None:
            labels.append(f'{names.HOST_LABEL}={host}')
        with self._call() as client:
            found = client.containers(all=True, filters={'label': labels})
        listed = [enginedocs.listed(entry) for entry in found]
        return [container for container in listed
                if names.owner(container.name, container.labels)]

    def inspect(self, reference: str) -> models.Container:
        """One container, by id or name.

        :raises NotFound: if there is none
        """
        with self._call() as client:
            return enginedocs.inspected(client.inspect_container(reference))

    def create(self, spec: models.ContainerSpec) -> str:
        """Makes a container that does not run yet; answers its id.

        :raises NameConflict: if its name is taken
        :raises NotFound: if its image is not there
        """
        with self._call() as client:
            answer = client.create_container_from_config(
                enginedocs.container_config(spec), spec.name)
        return str(answer['Id'])

    def start(self, container_id: str) -> None:
        """Starts a container; does nothing if it runs."""
        with self._starts, self._call() as client:
            client.start(container_id)

    def stop(self, container_id: str, timeout: int) -> None:
        """Asks the process to end and kills it after so many seconds."""
        with self._call() as client:
            client.stop(container_id, timeout=timeout)

    def kill(self, container_id: str, signal: str = 'SIGKILL') -> None:
        """Sends a signal; does nothing if there is no process."""
        # The Engine calls it a conflict that there is nothing to kill.
        with contextlib.suppress(errors.NameConflict), self._call() as client:
            client.kill(container_id, signal)

    def pause(self, container_id: str) -> None:
        """Freezes all processes of a container."""
        with self._call() as client:
            client.pause(container_id)

    def unpause(self, container_id: str) -> None:
        """Lets the processes of a container go on."""
        with self._call() as client:
            client.unpause(container_id)

    def remove(self, container_id: str) -> None:
        """Removes a container, its process and its anonymous volumes.

        Does nothing if it is gone.
        """
        with contextlib.suppress(errors.NotFound), self._call() as client:
            client.remove_container(container_id, v=True, force=True)

    def logs(self, container_id: str, lines: int, size: int) -> bytes:
        """The end of what a container's process wrote.

        :param lines: at most so many
        :param size: at most so many bytes
        """
        tail = b''
        with self._call() as client:
            for chunk in client.logs(container_id, stdout=True, stderr=True,
                                     stream=True, follow=False, tail=lines):
                tail = (tail + chunk)[-size:]
        return tail

    def run(self, container_id: str, command: Sequence[str], user: str,
            given: bytes) -> int:
        """Runs a program of the container's image inside of it.

        What it prints is thrown away: it may be any amount.

        :param given: what it reads; never part of a log or a command line
        :returns: its exit code
        :raises NotFound: if the image has no such program
        :raises EngineTimeout: if it does not end in time
        """
        deadline = time.monotonic() + self._timeout
        with self._call() as client:
            handle = client.exec_create(
                container_id, list(command), user=user, stdin=True)['Id']
            stream: Any = client.exec_start(handle, socket=True)
            try:
                _feed(_raw(stream), given, deadline)
            finally:
                stream.close()
            found = client.exec_inspect(handle)
        if found['Running'] or found['ExitCode'] is None:
            raise errors.EngineTimeout('the program does not end')
        # The runtime's way to say that there was nothing to run.
        if found['ExitCode'] in (126, 127):
            raise errors.NotFound(f'the image has no {command[0]}')
        return int(found['ExitCode'])

    def attach(self, container_id: str) -> socket.socket:
        """Both ways to the terminal of a container's first process.

        The caller closes it.
        """
        with self._call() as client:
            stream: Any = client.attach_socket(container_id, params={
                'stdin': 1, 'stdout': 1, 'stderr': 1, 'stream': 1})
            client.resize(container_id, *_TERMINAL_SIZE)
        return _own(stream)

    def shell(self, container_id: str, command: Sequence[str]
              ) -> tuple[socket.socket, str]:
        """Both ways to a new process with a terminal of its own.

        The caller closes it, which does not end the process.

        :returns: the socket, and what ``shell_pid`` wants
        """
        with self._call() as client:
            handle = client.exec_create(
                container_id, list(command), stdin=True, tty=True,
                environment={'TERM': 'xterm'})['Id']
            stream: Any = client.exec_start(handle, tty=True, socket=True)
            # A shell that has ended by now has no size either.
            with contextlib.suppress(docker.errors.APIError):
                client.exec_resize(handle, *_TERMINAL_SIZE)
        return _own(stream), str(handle)

    def shell_pid(self, handle: str) -> int:
        """The process of ``shell`` in the host's namespace; 0 if it ended."""
        with self._call() as client:
            found = client.exec_inspect(handle)
        return int(found['Pid']) if found['Running'] else 0

    def events(self, since: float) -> Iterator[models.Event]:
        """What happens to our containers, from a time on, without end.

        :param since: seconds since the epoch
        :raises EngineUnavailable: when the stream breaks
        """
        filters = {'type': 'container', 'event': list(_EVENTS),
                   'label': names.INSTANCE_LABEL}
        with self._call() as client:
            # A text: the SDK would cut a number to whole seconds.
            follow: Any = client.events
            stream = follow(since=f'{since:.9f}', filters=filters,
                            decode=True)
            for entry in stream:
                event = enginedocs.event(entry)
                if event is not None:
                    yield event

    def disk_usage(self, host: str) -> list[models.DiskUsage]:
        """What the servers that one nova-compute made have on the disk.

        One call, which walks all files and may take long.
        """
        with self._call(self._load_timeout) as client:
            found = client.df()
        return enginedocs.disk_usage(host, found)

    # -- images -------------------------------------------------------------

    def image(self, reference: str) -> models.EngineImage:
        """An image, by digest or by a tag of ours.

        :raises NotFound: if the Engine does not have it
        """
        with self._call() as client:
            found = client.inspect_image(reference)
        return enginedocs.image(found)

    def stored_images(self) -> list[models.StoredImage]:
        """The images under tags of ours, in one call."""
        with self._call() as client:
            return enginedocs.stored_images(
                client.images(f'{names.IMAGE_NAMESPACE}/*'))

    def images_in_use(self) -> set[str]:
        """The images of all containers, ours or not, in one call."""
        with self._call() as client:
            return {entry['ImageID'] for entry in client.containers(all=True)}

    def image_loaded_at(self, tag: str) -> float:
        """When an image got its tag, in seconds since the epoch.

        :raises NotFound: if the Engine does not have it
        """
        with self._call() as client:
            found = client.inspect_image(tag)['Metadata']['LastTagTime']
        return timeutils.parse_isotime(found).timestamp()

    def distribution(self, reference: str, authorization: Mapping[str, Any]
                     ) -> tuple[str, frozenset[str]]:
        """The digest that a registry has for a reference, and for what.

        :param authorization: ``username`` and ``password``, or empty. Never
            left out: the SDK would use what the user of this process has.
        :returns: ``sha256:...``, and architectures as images name them
        :raises NotFound: if the registry has no such thing
        :raises NotAuthorized: if it does not let us have it
        """
        with self._call() as client:
            try:
                found = client.inspect_distribution(reference,
                                                    dict(authorization))
            except docker.errors.APIError as error:
                raise _registry_error(_reason(error)) from error
        return str(found['Descriptor']['digest']), frozenset(
            platform['architecture'] for platform in found['Platforms'] or ()
            if platform.get('architecture') not in (None, '', 'unknown'))

    def pull(self, reference: str, authorization: Mapping[str, Any],
             timeout: float, stall: float) -> Iterator[tuple[str, int]]:
        """Brings an image from a registry.

        Ends the pull if the caller does not go on.

        :param reference: with a digest
        :param timeout: seconds for all of it
        :param stall: seconds for which nothing may come
        :returns: parts, and how large each is, again and again
        :raises EngineTimeout: if it takes too long
        """
        name, _, digest = reference.partition('@')
        deadline = time.monotonic() + timeout
        with self._call() as client:
            # The SDK's own method would wait without end.
            sdk: Any = client
            answer = sdk._post(
                sdk._url('/images/create'), stream=True, timeout=stall,
                params={'fromImage': name, 'tag': digest}, headers={
                    'X-Registry-Auth': docker.auth.encode_header(
                        dict(authorization))})
            with contextlib.closing(answer):
                sdk._raise_for_status(answer)
                for progress in sdk._stream_helper(answer, decode=True):
                    if 'error' in progress:
                        raise _registry_error(progress['error'])
                    if time.monotonic() > deadline:
                        raise errors.EngineTimeout(
                            f'it takes longer than {timeout:g} s')
                    size = (progress.get('progressDetail') or {}).get('total')
                    if size and 'id' in progress:
                        yield progress['id'], int(size)

    def tag(self, reference: str, tag: str) -> None:
        """An image has a tag of ours afterwards."""
        name, _, label = tag.rpartition(':')
        with self._call() as client:
            client.tag(reference, name, label)

    def load(self, archive: Iterable[bytes | memoryview]) -> None:
        """Streams an image archive into the Engine.

        :raises InvalidRequest: if the Engine does not accept it
        """
        with self._call(self._load_timeout) as client:
            # An Engine reports what is wrong with an archive inside of an
            # answer that says 200.
            for progress in client.load_image(iter(archive)):
                problem = progress.get('error') or progress.get('message')
                if problem:
                    raise errors.InvalidRequest(problem)

    def image_settings(self, reference: str) -> dict[str, Any]:
        """What an image says of how it is run, in the Engine's own words.

        :raises NotFound: if the Engine does not have it
        """
        with self._call() as client:
            return dict(client.inspect_image(reference)['Config'] or {})

    def commit(self, container_id: str) -> str:
        """Makes an image of a container's files; answers its id."""
        with self._call(self._load_timeout) as client:
            answer: Any = client.commit(container_id)
        return str(answer['Id'])

    def save(self, reference: str) -> Iterator[bytes]:
        """An image's archive, in chunks."""
        with self._call(self._load_timeout) as client:
            yield from client.get_image(reference, chunk_size=_CHUNK)

    def remove_image(self, reference: str) -> None:
        """Removes an image or a tag; does nothing if it is gone."""
        with contextlib.suppress(errors.NotFound), self._call() as client:
            client.remove_image(reference)

    # -- connection ---------------------------------------------------------

    @contextlib.contextmanager
    def _call(self, timeout: int | None = None
              ) -> Iterator[docker.APIClient]:
        if self._away:
            raise errors.EngineUnavailable(self._away)
        with _translated(self._endpoint):
            yield self._client(timeout or self._timeout)

    def _client(self, timeout: int) -> docker.APIClient:
        """A client of the calling thread: an HTTP session is not shared."""
        clients = self._local.__dict__.setdefault('clients', {})
        if timeout not in clients:
            clients[timeout] = self._connect(timeout)
        client: docker.APIClient = clients[timeout]
        return client

    def _connect(self, timeout: int) -> docker.APIClient:
        client = docker.APIClient(
            base_url=self._endpoint, timeout=timeout,
            version=self._version or 'auto')
        spoken = client.api_version
        if docker.utils.version_lt(spoken, OLDEST_API):
            client.close()
            raise errors.EngineTooOld(
                f'The Docker Engine at {self._endpoint} speaks API version '
                f'{spoken} at most; the oldest that will do is {OLDEST_API}')
        self._version = spoken
        return client


def _raw(stream: Any) -> socket.socket:
    """The socket below what the SDK answers."""
    found: socket.socket = getattr(stream, '_sock', stream)
    return found


def _feed(peer: socket.socket, given: bytes, deadline: float) -> None:
    """Gives a program all that it is to read, and waits for its end.

    :raises EngineTimeout: if that does not come in time
    """
    try:
        peer.settimeout(deadline - time.monotonic())
        peer.sendall(given)
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(65536):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            peer.settimeout(left)
    except TimeoutError as error:
        raise errors.EngineTimeout('the program does not end') from error


def _own(stream: Any) -> socket.socket:
    """A socket that lives on without the SDK's answer."""
    found = _raw(stream).dup()
    found.settimeout(None)
    stream.close()
    return found


@contextlib.contextmanager
def _translated(endpoint: str) -> Iterator[None]:
    """Errors of the SDK and of its transport become ours, by type."""
    try:
        yield
    except docker.errors.NotFound as error:
        raise errors.NotFound(_reason(error)) from error
    except docker.errors.StreamParseError as error:
        raise errors.EngineError(
            f'The Docker Engine at {endpoint} answers half a document'
        ) from error
    except docker.errors.APIError as error:
        status = error.status_code
        if status == 409:
            raise errors.NameConflict(_reason(error)) from error
        if status is not None and status < 500:
            raise errors.InvalidRequest(_reason(error)) from error
        raise errors.EngineError(_reason(error)) from error
    except (requests.exceptions.ReadTimeout,
            urllib3.exceptions.ReadTimeoutError) as error:
        raise errors.EngineTimeout(
            f'The Docker Engine at {endpoint} did not answer in time'
        ) from error
    except (requests.exceptions.RequestException,
            # In the middle of an answer the SDK lets the layer below speak.
            urllib3.exceptions.HTTPError,
            docker.errors.DockerException) as error:
        refused = _driver_error(error)
        if refused is not None:
            raise refused from error
        raise errors.EngineUnavailable(
            f'The Docker Engine at {endpoint} cannot be reached: '
            f'{_system_reason(error)}') from error


def _reason(error: docker.errors.APIError) -> str:
    return str(error.explanation or error)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, what it wraps, and what caused it."""
    pending, seen = [error], set[int]()
    while pending:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        pending += [part for part in (
            current.__cause__, current.__context__, *current.args)
            if isinstance(part, BaseException)]


def _registry_error(message: str) -> errors.EngineError:
    """What the Engine means that tells us a registry's words."""
    lower = message.lower()
    if any(word in lower for word in ('unauthorized', 'denied',
                                      'no basic auth')):
        return errors.NotAuthorized(message)
    if any(words in lower for words in ('not found', 'manifest unknown',
                                        'name unknown')):
        return errors.NotFound(message)
    return errors.EngineError(message)


def _driver_error(error: BaseException) -> errors.DockerDriverError | None:
    """Our own error, if one broke off a request's body from inside."""
    return next((cause for cause in _causes(error)
                 if isinstance(cause, errors.DockerDriverError)), None)


def _system_reason(error: BaseException) -> str:
    for cause in _causes(error):
        if isinstance(cause, FileNotFoundError):
            return 'there is no such socket'
        if isinstance(cause, PermissionError):
            return 'permission denied'
        if isinstance(cause, ConnectionRefusedError):
            return 'nothing listens on the socket'
    return str(error)
