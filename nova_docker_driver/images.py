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

from collections.abc import Iterable, Iterator
import contextlib
from typing import Any, Protocol

from nova import context as nova_context
from nova import exception
from nova import objects
from oslo_concurrency import lockutils
from oslo_log import log as logging

from nova_docker_driver import archive
from nova_docker_driver import engine
from nova_docker_driver import errors
from nova_docker_driver import models
from nova_docker_driver import names

LOG = logging.getLogger(__name__)

CONTAINER_FORMAT = 'docker'


class ImageService(Protocol):
    """What we need of nova.image.glance.API."""

    def get(self, context: nova_context.RequestContext, image_id: str
            ) -> dict[str, Any]:
        ...

    def download(self, context: nova_context.RequestContext, image_id: str
                 ) -> Iterable[bytes]:
        ...


class Images:
    """The images of one Engine, named by their Glance ids."""

    def __init__(self, engine_port: engine.Engine,
                 service: ImageService) -> None:
        self._engine = engine_port
        self._service = service

    def ensure(self, context: nova_context.RequestContext,
               image_meta: objects.ImageMeta) -> models.EngineImage:
        """The Engine has the image afterwards.

        However many servers wait for an image, it is transferred once.

        :raises InvalidImage: if it is not one that can be run
            """
        _check_format(image_meta)
        tag = names.image_tag(image_meta.id)
        with contextlib.suppress(errors.NotFound):
            return self._engine.image(tag)
        with lockutils.lock(f'nova-docker-image-{image_meta.id}'):
            with contextlib.suppress(errors.NotFound):
                return self._engine.image(tag)
            return self._transfer(context, image_meta.id, tag)

    def _transfer(self, context: nova_context.RequestContext, image_id: str,
                  tag: str) -> models.EngineImage:
        LOG.info('Loading image %s into the Docker Engine', image_id)
        verdict = archive.Verdict()
        try:
            record = self._service.get(context, image_id)
        except exception.ImageNotFound as error:
            # Another host would not find it either.
            raise errors.InvalidImage('it is not in Glance') from error
        chunks = _arriving(self._service.download(context, image_id))
        try:
            self._engine.load(archive.rewrite(
                chunks, tag, verdict, _checksum(record)))
        except errors.InvalidRequest as error:
            raise errors.InvalidImage(
                f'the Docker Engine does not accept it: {error}') from error
        image = self._engine.image(tag)
        if image.id != verdict.image_id:
            # Not what was inspected: never to be run.
            self._engine.remove_image(tag)
            raise errors.InvalidImage('the Docker Engine has made another '
                                      'image of it than was inspected')
        LOG.info('Image %s is %s in the Docker Engine', image_id, image.id)
        return image


def _arriving(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks; a broken download becomes an error of ours.

    It would be lost otherwise: inside of a request's body an OSError is
    taken for a fault of that request's connection.
    """
    try:
        yield from chunks
    except (OSError, exception.NovaException) as error:
        raise errors.TransferFailed(
            f'the image did not arrive whole from Glance: {error}'
        ) from error


def _check_format(image_meta: objects.ImageMeta) -> None:
    if not image_meta.obj_attr_is_set('id'):
        raise exception.ImageUnacceptable(
            image_id='', reason='a server needs an image to run')
    if image_meta.container_format != CONTAINER_FORMAT:
        raise errors.InvalidImage(
            f'container_format is {image_meta.container_format!r}; only '
            f'{CONTAINER_FORMAT!r} can be run here')


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
