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

"""What Open vSwitch says of the ports that os-vif made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oslo_config import cfg
from vif_plug_ovs.ovsdb import ovsdb_lib

CONF = cfg.CONF


def is_there() -> bool:
    """Whether os-vif knows of a switch at all."""
    return 'os_vif_ovs' in CONF


def ports() -> Mapping[str, str]:
    """The device of each port that a server has, and the server.

    :raises Exception: whatever the library raises if the switch is away
    """
    found = {}
    for entry in _ovsdb().db_list(
            'Interface', columns=['name', 'external_ids']).execute(
                check_error=True):
        server = dict(entry['external_ids']).get('vm-uuid')
        if server:
            found[str(entry['name'])] = str(server)
    return found


def remove(device: str) -> None:
    """The switch has no port for a device afterwards."""
    _ovsdb().del_port(device, if_exists=True).execute(check_error=True)


def _ovsdb() -> Any:
    return ovsdb_lib.BaseOVS(CONF.os_vif_ovs).ovsdb
