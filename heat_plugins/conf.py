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

"""The options of heat.conf that are ours."""

from __future__ import annotations

from collections.abc import Sequence

from oslo_config import cfg

from heat_plugins import enginesconf

GROUP = cfg.OptGroup(
    'nova_docker', title='Containers as servers of Nova',
    help='Options of heat-engine for the resources ``OS::NovaDocker::*``.')

OPTIONS = [
    cfg.StrOpt(
        'placeholder_image', default='registry-placeholder',
        help="""
The image of containers that name only a reference (``image_ref``).

Nova wants an image in Glance for each server. One for this purpose has a byte
or so for data and the property ``docker_image_ref``; the reference of the
container holds.

Possible values:

* the name or id of an image that all projects can see
"""),
]


def register(conf: cfg.ConfigOpts) -> None:
    """The options can be read from conf afterwards."""
    conf.register_group(GROUP)
    conf.register_opts(OPTIONS, GROUP)


def list_opts() -> list[tuple[cfg.OptGroup, Sequence[cfg.Opt]]]:
    """What the sample configuration is made of."""
    return [(GROUP, OPTIONS), *enginesconf.list_opts()]
