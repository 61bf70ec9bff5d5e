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
from collections.abc import Callable, Iterator
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
from nova_docker_driver import registry

LOG = logging.getLogger(__name__)

CONTAINER_FORMAT = 'docker'

#: The property that names the image which a thin snapshot stands on.
BASE_PROPERTY = 'docker_base_image'
#: The property that says that the data is a root file system's tar.
FORMAT_PROPERTY = 'docker_image_format'
ROOTFS = 'rootfs'

#: The properties that make an image a mere name of one in a registry, and
#: that say which secret of its owner's the registry wants.
REFERENCE_PROPERTY = 'docker_image_ref'
SECRET_PROPERTY = 'docker_registry_secret'

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
class _Source:
    """Where an image comes from, for one who may have it."""

    #: Under which the Engine has it then.
    tag: str
    #: Holds the layers that it stands on.
    base: Callable[[], contextlib.AbstractContextManager[tuple[str, ...]]]
    bring: Callable[[tuple[str, ...], flights.Flight[models.EngineImage]],
                    models.EngineImage]
    #: What a refusal of it is remembered by.
    verdict: str = ''
    #: What may not be brought; empty for what may.
    never: str = ''


class Images:
    """The images of one Engine, named by their Glance ids."""

    def __init__(self, engine_port: engine.Engine, service: ImageService,
                 terms: imagemodels.Terms, stall: float = 60,
                 registries: registry.Registry | None = None) -> None:
        """Touches nothing yet.

        :param terms: the operator's, without a tag
        :param stall: seconds for which a download may bring nothing
        :param registries: none, if images come from Glance only
        """
        self._engine = engine_port
        self._service = service
        self._terms = terms
        self._stall = stall
        self._registries = registries
        self._flights: flights.Flights[models.EngineImage] = flights.Flights()
        self._lock = threading.Lock()
        self._holders: collections.Counter[str] = collections.Counter()
        self._refused: collections.OrderedDict[str, str] = (
            collections.OrderedDict())

    @contextlib.contextmanager
    def held(self, request: imagemodels.Request
             ) -> Iterator[models.EngineImage]:
        """The Engine has the image, and keeps it meanwhile.

        However many servers wait for an image, it is transferred once. That
        it is here already gives nobody a right to it: Glance, or the
        registry, is asked each time.

        :raises InvalidImage: if it is not one that can be run
        :raises TransferFailed: if it does not arrive
        """
        with self._held(request, _DEEPEST) as image:
            if 0 < request.disk < image.size:
                raise errors.InvalidImage(
                    f'it has {image.size} bytes and the flavor\'s disk '
                    f'{request.disk}')
            yield image

    def has(self, request: imagemodels.Request) -> bool:
        """Whether the Engine has the image already."""
        return self._known(self._source(request, 0).tag) is not None

    def evict(self, tag: str) -> bool:
        """Removes an image unless a build uses it; whether it did."""
        # Whoever wants the image meanwhile waits, and loads it anew.
        with self._lock:
            if self._holders[tag]:
                return False
            del self._holders[tag]
            self._engine.remove_image(tag)
            return True

    @contextlib.contextmanager
    def _held(self, request: imagemodels.Request, deepest: int
              ) -> Iterator[models.EngineImage]:
        source = self._source(request, deepest)
        with self._lock:
            self._holders[source.tag] += 1
        try:
            yield self._ensure(request, source)
        finally:
            with self._lock:
                self._holders[source.tag] -= 1
                if not self._holders[source.tag]:
                    del self._holders[source.tag]

    def _ensure(self, request: imagemodels.Request, source: _Source
                ) -> models.EngineImage:
        refused = self._refused.get(source.verdict)
        if refused is not None:
            raise errors.InvalidImage(refused)
        found = self._known(source.tag)
        if found is not None:
            return found
        if source.never:
            raise errors.InvalidImage(
                f'{source.never} is not on this host, and pull_policy is '
                'never')
        # Before the flight: none must wait for another one, or images that
        # stand on each other would wait for ever.
        with source.base() as base:
            return self._flights.share(
                # Who asks for other certificates asks for something else.
                f'{source.tag} {request.trusted_certs}', request.check_wanted,
                # Another flight may just have ended.
                lambda flight: self._known(source.tag) or source.bring(
                    base, flight))

    def _known(self, tag: str) -> models.EngineImage | None:
        with contextlib.suppress(errors.NotFound):
            return self._engine.image(tag)
        return None

    # -- where it comes from ------------------------------------------------

    def _source(self, request: imagemodels.Request, deepest: int) -> _Source:
        """Where the requester has the image from.

        :raises InvalidImage: if the requester may not have it
        """
        record = self._record(request)
        reference = _property(record, REFERENCE_PROPERTY)
        if reference:
            return self._registry_source(dataclasses.replace(
                request, reference=request.reference or reference), record)
        if request.reference and not _is_of_placeholder(record):
            raise errors.InvalidImage(
                f'{request.reference[:80]!r} is named by the specification; '
                f'only an image with the property {REFERENCE_PROPERTY} gives '
                'way to it')
        tag = tag_of(request.image_id, record)
        return _Source(
            tag, functools.partial(self._base, request, record, deepest),
            lambda base, flight: self._transfer(
                request, record, dataclasses.replace(
                    self._terms, tag=tag, base=base), flight),
            _verdict(tag, record))

    def _registry_source(self, request: imagemodels.Request,
                         record: dict[str, Any]) -> _Source:
        registries = self._registries
        if registries is None:
            raise errors.InvalidImage('this host has no images of registries')
        with request.event('docker_resolve_image'):
            pinned = registries.resolve(
                request, _property(record, SECRET_PROPERTY))

        def bring(base: tuple[str, ...],
                  flight: flights.Flight[models.EngineImage]
                  ) -> models.EngineImage:
            with request.event('docker_pull_image'):
                return registries.pull(pinned, flight)
        return _Source(
            pinned.tag, lambda: contextlib.nullcontext(()), bring,
            never=pinned.reference if request.pull_policy == 'never' else '')

    def _record(self, request: imagemodels.Request) -> dict[str, Any]:
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

    @contextlib.contextmanager
    def _base(self, request: imagemodels.Request, record: dict[str, Any],
              deepest: int) -> Iterator[tuple[str, ...]]:
        """The layers that a thin snapshot stands on are here meanwhile."""
        base = _property(record, BASE_PROPERTY)
        if not base:
            yield ()
            return
        if not deepest:
            raise errors.InvalidImage(
                f'it stands on more than {_DEEPEST} other images')
        below = dataclasses.replace(request, image_id=base, reference='')
        try:
            with self._held(below, deepest - 1) as image:
                yield image.layers
        except errors.InvalidImage as error:
            raise errors.InvalidImage(
                f'the image {base} that it stands on: {error}') from error

    def _transfer(self, request: imagemodels.Request, record: dict[str, Any],
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
            if arriving.is_intact(flight.check):
                self._remember(_verdict(terms.tag, record), str(error))
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

    def _remember(self, verdict: str, reason: str) -> None:
        with self._lock:
            self._refused[verdict] = reason
            while len(self._refused) > _REMEMBERED:
                self._refused.popitem(last=False)


def wanted(context: nova_context.RequestContext,
           image_meta: objects.ImageMeta, **values: Any
           ) -> imagemodels.Request:
    """What asks for the image that Nova describes.

    :raises ImageUnacceptable: if it describes none
    """
    if not image_meta.obj_attr_is_set('id') or not image_meta.id:
        raise exception.ImageUnacceptable(
            image_id='', reason='a server needs an image to run')
    return imagemodels.Request(context, image_meta.id, **values)


def _watched(pieces: arrival.Arrival,
             flight: flights.Flight[models.EngineImage]) -> Iterator[bytes]:
    for piece in pieces:
        flight.check()
        yield piece


def _verdict(tag: str, record: dict[str, Any]) -> str:
    """The content, and the properties that say how it is to be read."""
    return ' '.join((tag, _property(record, BASE_PROPERTY),
                     _property(record, FORMAT_PROPERTY)))


def tag_of(image_id: str, record: dict[str, Any]) -> str:
    """The tag under which the Engine has an image that Glance tells of."""
    checksum = _checksum(record)
    return names.image_tag(image_id, checksum[1] if checksum else '')


def _property(record: dict[str, Any], key: str) -> str:
    return str((record.get('properties') or {}).get(key) or '')


def own_data(record: dict[str, Any]) -> dict[str, str]:
    """What makes an image one of its own data.

    A snapshot inherits the properties of its server's image, those too that
    say that the image is elsewhere.
    """
    inherited = record.get('properties') or {}
    return {name: '' for name in (REFERENCE_PROPERTY, SECRET_PROPERTY,
                                  BASE_PROPERTY, FORMAT_PROPERTY)
            if inherited.get(name) is not None}


def _is_of_placeholder(record: dict[str, Any]) -> bool:
    """Whether it is the snapshot of a server that a registry's image was for.

    The specification of such a server may name an image; it was used once.
    """
    return (record.get('properties') or {}).get(REFERENCE_PROPERTY) == ''


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
