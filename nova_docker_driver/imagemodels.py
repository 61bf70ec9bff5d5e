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

from collections.abc import Callable, Mapping
import contextlib
import dataclasses
from typing import Any

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
class Credential:
    """What the operator shows to registries, and for whom."""

    #: Patterns of repositories, and ids of projects; ``*`` is any project.
    references: tuple[str, ...]
    projects: tuple[str, ...]
    #: A ``config.json`` of Docker's; or else the other two.
    config_file: str = ''
    username: str = ''
    password: str = dataclasses.field(default='', repr=False)


@dataclasses.dataclass(frozen=True)
class RegistryRules:
    """What the operator lets servers have from registries."""

    #: Patterns; without any, nothing.
    allowed: tuple[str, ...] = ()
    credentials: tuple[Credential, ...] = ()
    #: Seconds for all of a pull, and for which nothing may come of it.
    pull_timeout: float = 1800
    stall_timeout: float = 60


def _anything(*values: str) -> None:
    """For requests of which nobody wants to know more."""


@dataclasses.dataclass(frozen=True)
class Request:
    """Who wants an image, and what for."""

    context: Any
    #: In Glance.
    image_id: str
    #: Bytes that the image may have, unpacked; 0 for any number.
    disk: int = 0
    trusted_certs: Any = None
    #: In a registry; instead of the one that the Glance image names.
    reference: str = ''
    #: ``missing``, ``always`` or ``never``.
    pull_policy: str = 'missing'
    project: str = ''
    #: References that have become digests for the server already.
    pinned: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: Is told of a reference and the digest that it has become.
    pin: Callable[[str, str], None] = _anything
    #: Raises once the server is not wanted any more.
    check_wanted: Callable[[], None] = _anything
    #: Wraps a step that a tenant sees in the events of the server's action.
    event: Callable[[str], contextlib.AbstractContextManager[Any]] = (
        contextlib.nullcontext)


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
    #: As images name it; empty if it does not say.
    architecture: str = ''


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
    architecture: str = ''
