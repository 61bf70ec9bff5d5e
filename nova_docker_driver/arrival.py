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

"""An image's bytes while they come from Glance.

Another thread fetches and hashes them, so that the network, the hash and the
inspection go on at the same time. Only a few pieces are held between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import hashlib
import queue
import threading
from typing import Any, Protocol

from cryptography import exceptions as cryptography_exceptions
from cursive import exception as cursive_exception
from nova import exception
from oslo_log import log as logging

from nova_docker_driver import errors

LOG = logging.getLogger(__name__)

#: Bytes that are hashed and handed over at once, of Glance's 64 KiB: each
#: time the two threads may have to wait for each other.
_PIECE = 1024 * 1024

#: Pieces that may wait.
_WAITING = 3


class Sink(Protocol):
    """What Nova's client of Glance writes an image to."""

    def write(self, piece: bytes) -> None:
        ...

    def truncate(self, size: int) -> None:
        ...


class Arrival:
    """Hands out what a download brings, once it has begun."""

    def __init__(self, fetch: Callable[[Sink], Any],
                 checksum: tuple[str, str] | None, size: int | None,
                 stall: float) -> None:
        """Begins the download.

        :param fetch: writes all of the image to what it is given
        :param checksum: name of an algorithm of hashlib, and the hex digest
            that the bytes must have
        :param size: how many they are, where that is known
        :param stall: seconds for which nothing may come
        :raises InvalidImage: if the algorithm is not known
        """
        self._fetch = fetch
        self._expected = checksum[1] if checksum else None
        self._hash = _hash(checksum[0]) if checksum else None
        self._size = size
        self._partial: list[bytes] = []
        self._partial_size = 0
        self._arrived = 0
        self._stall = stall
        self._pieces: queue.Queue[bytes | _End] = queue.Queue(_WAITING)
        self._closed = threading.Event()
        self._ended: _End | None = None
        threading.Thread(target=self._run, name='docker-image',
                         daemon=True).start()

    def __iter__(self) -> Iterator[bytes]:
        """The pieces; the last comes only if all were right.

        :raises TransferFailed: if they do not come, or not all of them
        :raises InvalidImage: if their checksum or signature is wrong
        """
        while self._ended is None:
            try:
                found = self._pieces.get(timeout=self._stall)
            except queue.Empty:
                raise errors.TransferFailed(
                    'the image did not arrive whole from Glance: nothing '
                    f'came for {self._stall:g} s') from None
            if isinstance(found, _End):
                self._ended = found
            else:
                yield found
        if self._ended.error is not None:
            raise self._ended.error
        if self._size is not None and self._arrived != self._size:
            raise errors.TransferFailed(
                'the image did not arrive whole from Glance: '
                f'{self._arrived} of {self._size} bytes')
        if self._hash and self._hash.hexdigest() != self._expected:
            raise errors.InvalidImage(
                f'its {self._hash.name} checksum is not the one that Glance '
                'recorded')

    def is_intact(self, check_wanted: Callable[[], None]) -> bool:
        """Whether all of the bytes are what Glance recorded.

        Takes those that are still to come.

        :param check_wanted: raises if nobody cares any more
        """
        try:
            for _ in self:
                check_wanted()
        except errors.DockerDriverError:
            return False
        return self._hash is not None

    def close(self) -> None:
        """Nothing is wanted any more: the download ends soon."""
        self._closed.set()

    def write(self, piece: bytes) -> None:
        """For the thread that fetches."""
        self._arrived += len(piece)
        self._partial.append(piece)
        self._partial_size += len(piece)
        if self._partial_size >= _PIECE:
            self._hand_over()

    def _hand_over(self) -> None:
        piece = b''.join(self._partial)
        self._partial, self._partial_size = [], 0
        if self._hash:
            self._hash.update(piece)
        self._put(piece)

    def truncate(self, size: int) -> None:
        """Nova's client says so that the signature was wrong; it raises."""

    def _put(self, found: bytes | _End) -> None:
        while not self._closed.is_set():
            try:
                self._pieces.put(found, timeout=1)
                return
            except queue.Full:
                continue
        raise _Closed

    def _run(self) -> None:
        error: errors.DockerDriverError | None = None
        try:
            self._fetch(self)
            self._hand_over()
        except _Closed:
            return
        except Exception as problem:
            error = _understood(problem)
        try:
            self._put(_End(error))
        except _Closed:
            LOG.debug('Nobody waits for the image any more')


class _End:
    """Comes after the last piece."""

    def __init__(self, error: errors.DockerDriverError | None) -> None:
        self.error = error


class _Closed(Exception):
    """Nobody takes the pieces any more."""


def _understood(problem: Exception) -> errors.DockerDriverError:
    match problem:
        case (cryptography_exceptions.InvalidSignature()
              | cursive_exception.SignatureVerificationError()
              | exception.CertificateValidationFailed()):
            return errors.InvalidImage(
                f'its signature is not valid: {problem}')
        case exception.ImageNotFound() | exception.ImageUnacceptable():
            return errors.InvalidImage(str(problem))
        case _:
            return errors.TransferFailed(
                f'the image did not arrive whole from Glance: {problem}')


def _hash(algorithm: str) -> Any:
    try:
        return hashlib.new(algorithm)
    except ValueError:
        raise errors.InvalidImage(
            f'its checksum is of a kind that is not known here: '
            f'{algorithm[:32]}') from None
