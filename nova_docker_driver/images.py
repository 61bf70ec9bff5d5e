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


"""Images: from Glance into the Engine, once each."""

from __future__ import annotations

import collections
from collections.abc import Iterator
import contextlib
import dataclasses
import functools
import threading
from typing import Any, Protocol

from nova import context as nova_context
from nova import exception
from nova import objects
from oslo_log import log as logging

from nova_docker_driver import archive
from nova_docker_driver import arrival
from nova_docker_driver import engine
from nova_docker_driver import errors
from nova_docker_driver import flights
from nova_docker_driver import imagemodels
from nova_docker_driver import models
from nova_docker_driver import names

LOG = logging.getLogger(__name__)

CONTAINER_FORMAT = 'docker'

#: The property that names the image which a thin snapshot stands on.
BASE_PROPERTY = 'docker_base_image'
#: The property that says that the data is a root file system's tar.
FORMAT_PROPERTY = 'docker_image_format'
ROOTFS = 'rootfs'

#: Snapshots of snapshots of ...: honest ones are few.
_DEEPEST = 16

#: Refused images that are remembered.
_REMEMBERED = 1000


class ImageService(Protocol):
    """What we need of nova.image.glance.API."""

    def get(self, context: nova_context.RequestContext, image_id: str
            ) -> dict[str, Any]:
        ...

    def download(self, context: nova_context.RequestContext, image_id: str,
                 data: Any = None, dest_path: str | None = None,
                 trusted_certs: Any = None) -> Any:
        ...


@dataclasses.dataclass(frozen=True)
class Request:
    """Who wants an image, and what for."""

    context: nova_context.RequestContext
    image_id: str
    #: Bytes that the image may have, unpacked; 0 for any number.
    disk: int = 0
    trusted_certs: Any = None
    #: Raises once the server is not wanted any more.
    check_wanted: flights.CheckWanted = lambda: None


class Images:
    """The images of one Engine, named by their Glance ids."""

    def __init__(self, engine_port: engine.Engine, service: ImageService,
                 terms: imagemodels.Terms, stall: float = 60) -> None:
        """Touches nothing yet.

        :param terms: the operator's, without a tag
        :param stall: seconds for which a download may bring nothing
        """
        self._engine = engine_port
        self._service = service
        self._terms = terms
        self._stall = stall
        self._flights: flights.Flights[models.EngineImage] = flights.Flights()
        self._lock = threading.Lock()
        self._holders: collections.Counter[str] = collections.Counter()
        self._refused: collections.OrderedDict[str, str] = (
            collections.OrderedDict())

    @contextlib.contextmanager
    def held(self, request: Request) -> Iterator[models.EngineImage]:
        """The Engine has the image, and keeps it meanwhile.

        However many servers wait for an image, it is transferred once. That
        it is here already gives nobody a right to it: Glance is asked each
        time.

        :raises InvalidImage: if it is not one that can be run
        :raises TransferFailed: if it does not arrive
        """
        with self._held(request, _DEEPEST) as image:
            if 0 < request.disk < image.size:
                raise errors.InvalidImage(
                    f'it has {image.size} bytes and the flavor\'s disk '
                    f'{request.disk}')
            yield image

    @contextlib.contextmanager
    def _held(self, request: Request, deepest: int
              ) -> Iterator[models.EngineImage]:
        record = self._record(request)
        tag = _tag(request, record)
        with self._lock:
            self._holders[tag] += 1
        try:
            yield self._ensure(request, record, tag, deepest)
        finally:
            with self._lock:
                self._holders[tag] -= 1
                if not self._holders[tag]:
                    del self._holders[tag]

    def has(self, request: Request) -> bool:
        """Whether the Engine has the image already."""
        return self._known(_tag(request, self._record(request))) is not None

    def evict(self, tag: str) -> bool:
        """Removes an image unless a build uses it; whether it did."""
        # Whoever wants the image meanwhile waits, and loads it anew.
        with self._lock:
            if self._holders[tag]:
                return False
            del self._holders[tag]
            self._engine.remove_image(tag)
            return True

    def _record(self, request: Request) -> dict[str, Any]:
        """What Glance says of an image to the one who asks.

        :raises InvalidImage: if it says nothing
        """
        try:
            record = self._service.get(request.context, request.image_id)
        except (exception.ImageNotFound,
                exception.ImageNotAuthorized) as error:
            # Another host would not find it either.
            raise errors.InvalidImage('it is not in Glance') from error
        if record.get('container_format') != CONTAINER_FORMAT and not (
                _is_rootfs(record)):
            raise errors.InvalidImage(
                f'container_format is {record.get("container_format")!r}; '
                f'only {CONTAINER_FORMAT!r} can be run here')
        return record

    def _ensure(self, request: Request, record: dict[str, Any], tag: str,
                deepest: int) -> models.EngineImage:
        if tag in self._refused:
            raise errors.InvalidImage(self._refused[tag])
        found = self._known(tag)
        if found is not None:
            return found
        # Before the flight: none must wait for another one, or images that
        # stand on each other would wait for ever.
        with self._base(request, record, deepest) as base:
            return self._flights.share(
                tag, request.check_wanted,
                functools.partial(self._fly, request, record,
                                  dataclasses.replace(self._terms, tag=tag,
                                                      base=base)))

    def _known(self, tag: str) -> models.EngineImage | None:
        with contextlib.suppress(errors.NotFound):
            return self._engine.image(tag)
        return None

    def _fly(self, request: Request, record: dict[str, Any],
             terms: imagemodels.Terms,
             flight: flights.Flight[models.EngineImage]
             ) -> models.EngineImage:
        # Another one may just have ended.
        return self._known(terms.tag) or self._transfer(
            request, record, terms, flight)

    @contextlib.contextmanager
    def _base(self, request: Request, record: dict[str, Any], deepest: int
              ) -> Iterator[tuple[str, ...]]:
        """The layers that a thin snapshot stands on are here meanwhile."""
        base = _property(record, BASE_PROPERTY)
        if not base:
            yield ()
            return
        if not deepest:
            raise errors.InvalidImage(
                f'it stands on more than {_DEEPEST} other images')
        below = dataclasses.replace(request, image_id=base)
        try:
            with self._held(below, deepest - 1) as image:
                yield image.layers
        except errors.InvalidImage as error:
            raise errors.InvalidImage(
                f'the image {base} that it stands on: {error}') from error

    def _transfer(self, request: Request, record: dict[str, Any],
                  terms: imagemodels.Terms,
                  flight: flights.Flight[models.EngineImage]
                  ) -> models.EngineImage:
        LOG.info('Loading image %s into the Docker Engine', request.image_id)
        arriving = arrival.Arrival(
            lambda sink: self._service.download(
                request.context, request.image_id, data=sink,
                trusted_certs=request.trusted_certs),
            _checksum(record), record.get('size'), self._stall)
        verdict = imagemodels.Verdict()
        try:
            self._engine.load(self._rewritten(
                _watched(arriving, flight), record, terms, verdict))
        except errors.InvalidImage as error:
            # A cut or changed stream says nothing of the image itself.
            if arriving.is_intact():
                self._remember(terms.tag, str(error))
            raise
        except errors.InvalidRequest as error:
            raise errors.InvalidImage(
                f'the Docker Engine does not accept it: {error}') from error
        finally:
            arriving.close()
        image = self._engine.image(terms.tag)
        if image.id != verdict.image_id:
            # Not what was inspected: never to be run.
            self._engine.remove_image(terms.tag)
            raise errors.InvalidImage('the Docker Engine has made another '
                                      'image of it than was inspected')
        LOG.info('Image %s is %s in the Docker Engine', request.image_id,
                 image.id)
        return image

    def _rewritten(self, pieces: Iterator[bytes], record: dict[str, Any],
                   terms: imagemodels.Terms, verdict: imagemodels.Verdict
                   ) -> Iterator[bytes | memoryview]:
        if _is_rootfs(record):
            return archive.rewrite_rootfs(pieces, int(record['size']), terms,
                                          verdict)
        return archive.rewrite(pieces, terms, verdict)

    def _remember(self, tag: str, reason: str) -> None:
        with self._lock:
            self._refused[tag] = reason
            while len(self._refused) > _REMEMBERED:
                self._refused.popitem(last=False)


def wanted(context: nova_context.RequestContext,
            image_meta: objects.ImageMeta, **values: Any) -> Request:
    """What asks for the image that Nova describes.

    :raises ImageUnacceptable: if it describes none
    """
    if not image_meta.obj_attr_is_set('id') or not image_meta.id:
        raise exception.ImageUnacceptable(
            image_id='', reason='a server needs an image to run')
    return Request(context, image_meta.id, **values)


def _watched(pieces: arrival.Arrival,
             flight: flights.Flight[models.EngineImage]) -> Iterator[bytes]:
    for piece in pieces:
        flight.check()
        yield piece


def _tag(request: Request, record: dict[str, Any]) -> str:
    checksum = _checksum(record)
    return names.image_tag(request.image_id, checksum[1] if checksum else '')


def _property(record: dict[str, Any], key: str) -> str:
    return str((record.get('properties') or {}).get(key) or '')


def _is_rootfs(record: dict[str, Any]) -> bool:
    return _property(record, FORMAT_PROPERTY) == ROOTFS and (
        record.get('container_format') in (CONTAINER_FORMAT, 'bare'))


def _checksum(record: dict[str, Any]) -> tuple[str, str] | None:
    """Algorithm and hex digest that Glance recorded, if it did."""
    properties = record.get('properties') or {}
    algorithm = record.get('os_hash_algo') or properties.get('os_hash_algo')
    digest = record.get('os_hash_value') or properties.get('os_hash_value')
    if algorithm and digest:
        return algorithm, digest
    if record.get('checksum'):
        return 'md5', record['checksum']
    return None
