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

"""Snapshots: what a server's process wrote, as an image in Glance.

The Engine's own snapshot would hold the environment, labels and command of
the container, which are the server's and may be secret. Here the image is
described as the one that the server was made of; its layers, and one for what
was written, stream from the Engine to Glance without a file in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
from typing import Any, Protocol

from nova.compute import task_states
from nova import context as nova_context
from nova import exception
from nova import objects
from oslo_log import log as logging

from nova_docker_driver import engine
from nova_docker_driver import errors
from nova_docker_driver import images
from nova_docker_driver import models
from nova_docker_driver import publishing
from nova_docker_driver import streams

LOG = logging.getLogger(__name__)

UpdateTaskState = Callable[..., None]


class ImageService(Protocol):
    """What we need of nova.image.glance.API."""

    def get(self, context: nova_context.RequestContext, image_id: str
            ) -> dict[str, Any]:
        ...

    def update(self, context: nova_context.RequestContext, image_id: str,
               image_info: dict[str, Any], data: Any = None,
               purge_props: bool = False) -> Any:
        ...


class Snapshots:
    """Snapshots of the containers of one Engine."""

    def __init__(self, engine_port: engine.Engine, service: ImageService,
                 thin: bool = False) -> None:
        """Touches nothing yet.

        :param thin: upload new layers only, where Glance has the others
        """
        self._engine = engine_port
        self._service = service
        self._thin = thin

    @contextlib.contextmanager
    def committed(self, container: models.Container) -> Iterator[str]:
        """The Engine's image of a container; it is gone afterwards.

        All processes are frozen while the Engine copies what they wrote.
        """
        image_id = self._engine.commit(container.id)
        try:
            yield image_id
        finally:
            self._engine.remove_image(image_id)

    def upload(self, context: nova_context.RequestContext,
               instance: objects.Instance, container: models.Container,
               committed: str, image_id: str,
               update_task_state: UpdateTaskState) -> None:
        """Glance has the snapshot afterwards, under the id that Nova made.

        :raises NovaException: if Glance does not take it
        """
        update_task_state(task_state=task_states.IMAGE_UPLOADING,
                          expected_state=task_states.IMAGE_PENDING_UPLOAD)
        described = self._engine.image_settings(container.image)
        base = self._base(context, instance, container)
        stream = streams.Stream(publishing.published(
            self._engine.save(committed), described,
            base.layers if base else (), unchanged=(
                base is not None
                # Nothing was written: the Engine adds no layer then.
                and self._engine.image(committed).layers == base.layers)))
        LOG.info('Uploading a snapshot as image %s%s', image_id,
                 ' on top of its base' if base else '', instance=instance)
        made = self._service.get(context, image_id)
        properties = images.own_data(made)
        if base:
            properties[images.BASE_PROPERTY] = str(instance.image_ref)
        self._service.update(context, image_id, {
            'name': made['name'], 'status': 'active', 'disk_format': 'raw',
            'container_format': images.CONTAINER_FORMAT,
            'properties': properties}, data=stream, purge_props=False)

    def _base(self, context: nova_context.RequestContext,
              instance: objects.Instance, container: models.Container
              ) -> models.EngineImage | None:
        """What the snapshot may stand on: the server's image in Glance.

        None if all has to be uploaded: Glance does not have it any more, or
        it is of a registry.
        """
        if not self._thin or not instance.image_ref:
            return None
        try:
            record = self._service.get(context, instance.image_ref)
            image = self._engine.image(images.tag_of(instance.image_ref,
                                                     record))
        except (exception.ImageNotFound, exception.ImageNotAuthorized,
                errors.NotFound):
            return None
        return image if image.id == container.image else None
