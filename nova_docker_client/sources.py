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

"""Where a tenant's image comes from: it can be read more than once."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
from pathlib import Path

import docker
import docker.errors
import docker.utils
import requests.exceptions

_PIECE = 256 * 1024


class SourceError(Exception):
    """The image cannot be had."""


class File:
    """An archive on the disk."""

    def __init__(self, path: Path) -> None:
        self.name = path.name.split('.')[0]
        self._path = path

    def read(self) -> Iterator[bytes]:
        """All of it, in pieces.

        :raises SourceError: if it cannot be read
        """
        try:
            with open(self._path, 'rb') as file:
                while piece := file.read(_PIECE):
                    yield piece
        except OSError as error:
            raise SourceError(f'{self._path}: {error.strerror}') from error


class LocalEngine:
    """An image that the Docker Engine of this machine has."""

    def __init__(self, reference: str, client: docker.APIClient | None = None
                 ) -> None:
        self.name = reference.rpartition('/')[2].partition('@')[0]
        self._reference = reference
        with self._errors():
            # As the docker command finds it: DOCKER_HOST, or the socket.
            self._client = client or docker.APIClient(
                version='auto', **docker.utils.kwargs_from_env())

    def pull(self) -> None:
        """The Engine asks the registry of the image for it.

        :raises SourceError: if that does not give it
        """
        with self._errors():
            repository, _ = docker.utils.parse_repository_tag(self._reference)
            for line in self._client.pull(
                    self._reference if repository != self._reference
                    else f'{self._reference}:latest', stream=True,
                    decode=True):
                if 'error' in line:
                    raise SourceError(f'{self._reference}: {line["error"]}')

    def read(self) -> Iterator[bytes]:
        """Its archive, in pieces.

        :raises SourceError: if the Engine does not have it
        """
        with self._errors():
            yield from self._client.get_image(self._reference,
                                              chunk_size=_PIECE)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except docker.errors.APIError as error:
            raise SourceError(
                f'{self._reference}: {error.explanation}') from error
        except (docker.errors.DockerException,
                requests.exceptions.RequestException) as error:
            raise SourceError(
                f'the Docker Engine of this machine: {error}') from error
