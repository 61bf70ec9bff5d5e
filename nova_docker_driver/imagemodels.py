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


"""Values about images that cross modules."""

from __future__ import annotations

import dataclasses

from nova_docker_driver import models


@dataclasses.dataclass(frozen=True)
class ImageBounds:
    """What an image archive may be at most."""

    #: Bytes of all layers, unpacked.
    size: int = 50 * models.GIB
    #: Bytes that one compressed byte may stand for.
    ratio: int = 200
    #: Files, directories and links, of the archive and of its layers.
    members: int = 500_000
    layers: int = 127
    #: Bytes of the image's configuration, and of a manifest or index.
    config_size: int = 256 * 1024
    manifest_size: int = models.MIB
    #: Bytes that a decoder may look back.
    window: int = 16 * models.MIB
    #: Directories that the image keeps outside of its root file system.
    volumes: int = 16


@dataclasses.dataclass(frozen=True)
class Terms:
    """What decides whether an archive is accepted, and as what."""

    #: The only tag that the image gets.
    tag: str
    #: As images name it: ``amd64``, ``arm64``. Empty for any.
    architecture: str = ''
    bounds: ImageBounds = ImageBounds()
    #: Digests of layers that need not be in the archive: the requester may
    #: use the image that has them, and the Engine has them.
    base: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Configuration:
    """An image's configuration as the Engine gets it."""

    content: bytes
    #: ``sha256:...`` of the content: what is run.
    digest: str
    #: ``sha256:...`` of each layer, unpacked, from the lowest up.
    diff_ids: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class LayerReport:
    """What is known of a layer that has passed."""

    diff_id: str
    #: Bytes, unpacked.
    size: int


@dataclasses.dataclass
class Verdict:
    """What is known once an archive has passed."""

    #: ``sha256:...``: the digest of the image's configuration.
    image_id: str = ''
    #: Bytes of its layers, unpacked.
    size: int = 0
