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

"""Removes images that nothing has used for long."""

from __future__ import annotations

from collections.abc import Collection
import time

from oslo_log import log as logging

from nova_docker_driver import engine
from nova_docker_driver import errors
from nova_docker_driver import images
from nova_docker_driver import models
from nova_docker_driver import names

LOG = logging.getLogger(__name__)


class ImageCache:
    """The images that the driver has brought to one Engine."""

    def __init__(self, engine_port: engine.Engine, store: images.Images
                 ) -> None:
        self._engine = engine_port
        self._store = store
        #: Tag to when it was last seen in use, in seconds since the epoch.
        self._used: dict[str, float] = {}

    def size_gib(self) -> int:
        """What the images have on the disk, rounded up.

        Layers that images have in common count for each of them.
        """
        sizes = {image.id: image.size
                 for image in self._engine.stored_images()}
        return -(-sum(sizes.values()) // models.GIB)

    def prune(self, needed: Collection[str], minimum_age: float) -> list[str]:
        """Removes what nobody has used for that long; answers the tags.

        :param needed: Glance ids of the images that Nova's servers have
        :param minimum_age: seconds since an image was loaded or last used
        """
        stored = [image for image in self._engine.stored_images()
                  if names.is_cached(image.tag)]
        running = self._engine.images_in_use()
        now, removed = time.time(), []
        for image in stored:
            if (names.image_of_tag(image.tag) in needed
                    or image.id in running):
                self._used[image.tag] = now
            elif self._is_old(image, now - minimum_age) and self._remove(
                    image.tag):
                removed.append(image.tag)
        self._used = {tag: at for tag, at in self._used.items()
                      if tag in {image.tag for image in stored}}
        return removed

    def _is_old(self, image: models.StoredImage, since: float) -> bool:
        if self._used.get(image.tag, 0) > since:
            return False
        try:
            return self._engine.image_loaded_at(image.tag) <= since
        except errors.NotFound:
            return False

    def _remove(self, tag: str) -> bool:
        try:
            removed = self._store.evict(tag)
        except errors.NameConflict as error:
            # A container of somebody else has it.
            LOG.info('Image %s stays: %s', tag, error)
            return False
        if removed:
            LOG.info('Image %s is removed: nothing has used it', tag)
        return removed
