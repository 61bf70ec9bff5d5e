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


"""The options about images."""

from __future__ import annotations

import os

from oslo_config import cfg

from nova_docker_driver import imageconfig
from nova_docker_driver import imagemodels
from nova_docker_driver import models

_DEFAULTS = imagemodels.ImageBounds()

OPTIONS = [
    cfg.IntOpt(
        'image_load_timeout', default=600, min=1,
        help='Seconds that the Engine may be silent while it loads an image.'),
    cfg.IntOpt(
        'image_stall_timeout', default=60, min=1,
        help='Seconds for which a download of an image may bring nothing.'),
    cfg.IntOpt(
        'image_max_size', default=_DEFAULTS.size // models.GIB, min=1,
        help="""
GiB that all layers of an image may have, unpacked.

A server's flavor bounds its image, too: one that is larger than the flavor's
root disk is refused.
"""),
    cfg.IntOpt(
        'image_max_ratio', default=_DEFAULTS.ratio, min=1,
        help='Bytes that one byte of a compressed image may stand for.'),
    cfg.IntOpt(
        'image_max_members', default=_DEFAULTS.members, min=1,
        help='Files, directories and links that an image may have, those of '
             'all its layers and of its archive together.'),
    cfg.IntOpt(
        'image_max_layers', default=_DEFAULTS.layers, min=1, max=127,
        help='Layers that an image may have.'),
    cfg.IntOpt(
        'image_max_config_size', default=_DEFAULTS.config_size // 1024,
        min=1, help='KiB that the configuration of an image may have.'),
    cfg.IntOpt(
        'image_max_manifest_size', default=_DEFAULTS.manifest_size // 1024,
        min=1, max=8192,
        help='KiB that a manifest or an index of an image may have.'),
    cfg.IntOpt(
        'image_max_window', default=_DEFAULTS.window // models.MIB, min=1,
        max=1024,
        help="""
MiB that the decompression of an image may look back.

An image that is compressed with xz or zstd needs that much memory of
nova-compute while it is loaded. 16 is enough for ``xz -7`` and for
``zstd -19``; ``xz -9`` wants 64.
"""),
    cfg.IntOpt(
        'image_max_volumes', default=_DEFAULTS.volumes, min=0,
        help="""
Volumes that an image may declare.

Each becomes a directory of the Engine outside of the root file system. What
is written there counts as the server's disk, and goes when the server goes.
"""),
]


def terms(conf: cfg.ConfigOpts) -> imagemodels.Terms:
    """The terms on which this host accepts images."""
    options = conf.docker
    return imagemodels.Terms(
        tag='', architecture=imageconfig.architecture(os.uname().machine),
        bounds=imagemodels.ImageBounds(
            size=options.image_max_size * models.GIB,
            ratio=options.image_max_ratio,
            members=options.image_max_members,
            layers=options.image_max_layers,
            config_size=options.image_max_config_size * 1024,
            manifest_size=options.image_max_manifest_size * 1024,
            window=options.image_max_window * models.MIB,
            volumes=options.image_max_volumes))
