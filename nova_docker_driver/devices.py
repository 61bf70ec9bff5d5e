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

"""Tells a server's metadata which of its devices has which tag."""

from __future__ import annotations

from nova import context as nova_context
from nova import objects


def remember(context: nova_context.RequestContext,
             instance: objects.Instance) -> None:
    """The tags are in the server's metadata once the server is saved."""
    found = objects.VirtualInterfaceList.get_by_instance_uuid(
        context, instance.uuid)
    instance.device_metadata = objects.InstanceDeviceMetadata(devices=[
        # Of no bus: the process sees a network device and no hardware.
        objects.NetworkInterfaceMetadata(mac=vif.address, tags=[vif.tag])
        for vif in found if 'tag' in vif and vif.tag])
