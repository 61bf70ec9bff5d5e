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

"""Engines that old templates name: the one importer of the docker SDK here.

An Engine is known by an alias; where it is, and by which certificates, is
heat.conf's business alone.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import threading
from typing import Any

import docker
import docker.errors
import docker.tls
import docker.utils
from oslo_config import cfg
import requests.exceptions

from heat_plugins import enginesconf

try:
    import paramiko
except ImportError:
    # Only Engines behind ssh want it; the SDK says so then.
    _SSH_ERRORS: tuple[type[Exception], ...] = ()
else:
    _SSH_ERRORS = (paramiko.SSHException,)

#: Of the Engine's API; no request is made for it.
_OLDEST = '1.41'

_CONNECTING_ERRORS: tuple[type[Exception], ...] = (
    OSError, EOFError, *_SSH_ERRORS)

#: What the SDK calls every place behind ssh.
_BY_SSH = 'http+docker://ssh'

_LOG_BYTES = 64 * 1024

NotFound = docker.errors.NotFound
EngineError = (docker.errors.DockerException,
               requests.exceptions.RequestException)


@contextlib.contextmanager
def connected(conf: cfg.ConfigOpts, alias: str, endless: bool = False
              ) -> Iterator[docker.APIClient]:
    """A client of an Engine for as long as it is needed.

    :raises ValueError: if heat.conf has no such Engine
    """
    place = enginesconf.endpoint(conf, alias)
    tls = docker.tls.TLSConfig(
        client_cert=(place.cert_file, place.key_file),
        ca_cert=place.ca_file, verify=True) if place.ca_file else False
    client = _client(place.url, tls, conf.docker_container.pull_timeout
                     if endless else conf.docker_container.timeout)
    # Whoever answers must not send heat-engine anywhere else. Before the
    # first request, hence the version is asked for afterwards.
    client.max_redirects = 0
    client.trust_env = False
    try:
        client._version = client.version(api_version=False)['ApiVersion']
        yield client
    except _SSH_ERRORS as error:
        raise _unreachable(error) from error
    finally:
        client.close()


def _client(url: str, tls: Any, timeout: int) -> Any:
    try:
        return docker.APIClient(url, version=_OLDEST, tls=tls,
                                timeout=timeout)
    except _CONNECTING_ERRORS as error:
        # Over ssh it connects at once, and passes on whatever comes.
        raise _unreachable(error) from error


def _unreachable(error: Exception) -> docker.errors.DockerException:
    return docker.errors.DockerException(str(error) or type(error).__name__)


def status_of(error: Exception) -> int | None:
    """The HTTP status of what an Engine answered."""
    return getattr(getattr(error, 'response', None), 'status_code', None)


class Pull:
    """A pull that goes on while others have a turn."""

    def __init__(self, conf: cfg.ConfigOpts, alias: str, image: str) -> None:
        self.error = ''
        self._cancelled = False
        self._thread = threading.Thread(
            target=self._run, args=(conf, alias, image), daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self._cancelled = True

    def _run(self, conf: cfg.ConfigOpts, alias: str, image: str) -> None:
        try:
            with connected(conf, alias, endless=True) as client:
                repository, tag = docker.utils.parse_repository_tag(image)
                for line in client.pull(repository, tag=tag or 'latest',
                                        stream=True, decode=True):
                    # How an Engine tells of an error once it has begun.
                    if 'error' in line:
                        self.error = str(line['error'])
                    if self._cancelled:
                        break
        except (ValueError, *EngineError) as error:
            self.error = str(error)


def logs(client: docker.APIClient, container: str, tail: int = 1000) -> str:
    """The last lines of a container, and not more than is good to store."""
    output: Any = client.logs(container, tail=tail)
    return bytes(output)[-_LOG_BYTES:].decode(errors='replace')


def first_line(client: docker.APIClient, container: str) -> str:
    """The first line that it wrote, without reading all of them."""
    found = b''
    stream = client.logs(container, stream=True, follow=False)
    try:
        for piece in stream:
            found += piece
            if b'\n' in found or len(found) > _LOG_BYTES:
                break
    finally:
        # The SDK closes no stream that goes through ssh; it ends with the
        # client.
        if client.base_url != _BY_SSH:
            stream.close()
    return found.partition(b'\n')[0].decode(errors='replace')
