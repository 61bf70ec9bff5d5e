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
so whatever lies here exists twice. Hence a stub.
"""

from heat_plugins.resources import container
from heat_plugins.resources import group
from heat_plugins.resources import image


def available_resource_mapping():
    """Resource type to class."""
    return {
        'OS::NovaDocker::Container': container.Container,
        'OS::NovaDocker::ContainerGroup': group.ContainerGroup,
        'OS::NovaDocker::Image': image.Image,
    }
