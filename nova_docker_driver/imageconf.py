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

#: Of the Engine, too: both are on one machine.
_ARCHITECTURE = imageconfig.architecture(os.uname().machine)

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
    cfg.StrOpt(
        'snapshot_layers', default='all', choices=[
            ('all', 'a snapshot is an image that needs no other one'),
            ('new', 'only what the server wrote is uploaded; the snapshot '
                    'names the image of the server, and cannot be used '
                    'without it')],
        help="""
Which layers a snapshot has, where Glance still has the image of the server.

With ``new``, a backup every night costs what changed that day, and whoever
may use the snapshot has to be allowed to use its base, too. The property
``docker_base_image`` of a snapshot tells which it is; do not delete that one.
"""),
    cfg.ListOpt(
        'allowed_registries', default=[],
        help="""
Registries from which servers may have images without Glance.

A tenant names such an image in the property ``docker_image_ref`` of a Glance
image, or in the key ``image`` of a server's specification. The Engine pulls
it: only its configuration is inspected, not what is in its layers. Allow
registries whose images you trust as you trust your own.

Possible values:

* ``registry.example.org``: all that is in a registry
* ``registry.example.org:5000/team/*``: repositories, in which ``*`` stands
  for anything
* ``docker.io/library/*``: the official images of the Docker Hub
"""),
    cfg.ListOpt(
        'registry_credentials', default=[],
        help="""
Names of credentials for registries.

Each has a section, such as ``[docker_registry_example]`` for the name
``example``. Of several that cover a
reference and a project, the first is used. Without one, the registry is asked
as anybody would: credentials that Docker's own tools keep for the user of
nova-compute are never used.
"""),
    cfg.IntOpt(
        'image_pull_timeout', default=1800, min=1,
        help="""
Seconds that a pull from a registry may take.

Related options:

* ``image_stall_timeout``: seconds for which nothing may come
"""),
]

CREDENTIAL_OPTIONS = [
    cfg.ListOpt(
        'references', default=[],
        help='Repositories that the credentials are shown for; written as in '
             '``allowed_registries``.'),
    cfg.ListOpt(
        'projects', default=[],
        help='Ids of the projects whose servers may use the credentials; '
             '``*`` for all.'),
    cfg.StrOpt(
        'config_file', default='',
        help='A ``config.json`` of Docker\'s with the credentials, or with a '
             'credential helper that has them.'),
    cfg.StrOpt(
        'username', default='',
        help='Used where there is no ``config_file``.'),
    cfg.StrOpt(
        'password', default='', secret=True,
        help='Used where there is no ``config_file``.'),
]

#: As an example, of which the sample file tells.
EXAMPLE_GROUP = cfg.OptGroup(
    'docker_registry_example', title='Credentials for registries',
    help='One section for each name in ``[docker] registry_credentials``.')


def registry_rules(conf: cfg.ConfigOpts) -> imagemodels.RegistryRules:
    """What servers may have from registries."""
    options = conf.docker
    return imagemodels.RegistryRules(
        allowed=tuple(options.allowed_registries),
        credentials=tuple(_credential(conf, name)
                          for name in options.registry_credentials),
        pull_timeout=options.image_pull_timeout,
        stall_timeout=options.image_stall_timeout)


def _credential(conf: cfg.ConfigOpts, name: str) -> imagemodels.Credential:
    group = f'docker_registry_{name}'
    conf.register_opts(CREDENTIAL_OPTIONS, group=group)
    found = conf[group]
    return imagemodels.Credential(
        references=tuple(found.references), projects=tuple(found.projects),
        config_file=found.config_file, username=found.username,
        password=found.password)


def terms(conf: cfg.ConfigOpts) -> imagemodels.Terms:
    """The terms on which this host accepts images."""
    options = conf.docker
    return imagemodels.Terms(
        tag='', architecture=_ARCHITECTURE,
        bounds=imagemodels.ImageBounds(
            size=options.image_max_size * models.GIB,
            ratio=options.image_max_ratio,
            members=options.image_max_members,
            layers=options.image_max_layers,
            config_size=options.image_max_config_size * 1024,
            manifest_size=options.image_max_manifest_size * 1024,
            window=options.image_max_window * models.MIB,
            volumes=options.image_max_volumes))
