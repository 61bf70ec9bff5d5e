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

"""The one file that heat-engine scans; the resources are elsewhere.

heat-engine imports what lies in its ``plugin_dirs`` under names of its own,
so whatever lies here exists twice. Hence a stub. What it cannot offer is told
in the log: an exception here would end heat-engine.
"""

import importlib

from oslo_config import cfg
from oslo_log import log as logging

LOG = logging.getLogger(__name__)

#: Resource type to where its class is.
_TYPES = {
    'OS::NovaDocker::Container': ('container', 'Container'),
    'OS::NovaDocker::ContainerGroup': ('group', 'ContainerGroup'),
    'OS::NovaDocker::Image': ('image', 'Image'),
}
_OLD_TYPES = {
    'DockerInc::Docker::Container': ('legacy', 'Container'),
}


def available_resource_mapping() -> dict[str, type]:
    """Resource type to class, of those that can be offered here."""
    found: dict[str, type] = {}
    for name, (module, attribute) in _wanted().items():
        try:
            found[name] = getattr(importlib.import_module(
                f'heat_plugins.resources.{module}'), attribute)
        except Exception as error:
            # Whatever it is, other resources of this Heat must not suffer.
            LOG.warning('The resource type %s is not offered: %s: %s', name,
                        type(error).__name__, error)
    return found


def _wanted() -> dict[str, tuple[str, str]]:
    try:
        importlib.import_module('heat_plugins.enginesconf').register(cfg.CONF)
    except Exception as error:
        LOG.warning('No resource type of nova-docker-driver is offered: '
                    '%s: %s', type(error).__name__, error)
        return {}
    if cfg.CONF.docker_container.enabled:
        return {**_TYPES, **_OLD_TYPES}
    return _TYPES
