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

"""Makes ``compute_driver = docker.DockerDriver`` importable.

Nova imports ``nova.virt.<compute_driver>`` and nothing else, and a package
must not add files to Nova's own. nova-compute loads all plug-ins of the
group ``os_vif`` before it loads its driver; this one installs an import hook
that answers for the one name ``nova.virt.docker``.

The module imports nothing of Nova: it is loaded before Nova is set up.
"""

from __future__ import annotations

from collections.abc import Sequence
import importlib
import importlib.abc
import importlib.machinery
import sys
import types

from os_vif import objects
from os_vif import plugin

_ALIAS = 'nova.virt.docker'
_TARGET = 'nova_docker_driver.driver'


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds one module: the alias whose contents are our facade."""

    def find_spec(self, fullname: str, path: Sequence[str] | None,
                  target: types.ModuleType | None = None
                  ) -> importlib.machinery.ModuleSpec | None:
        if fullname != _ALIAS:
            return None
        return importlib.machinery.ModuleSpec(fullname, self)

    def exec_module(self, module: types.ModuleType) -> None:
        facade = importlib.import_module(_TARGET)
        vars(module)['DockerDriver'] = facade.DockerDriver


def install() -> None:
    """Installs the hook, once a process. Idempotent."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


class Plugin(plugin.PluginBase):
    """An os-vif plug-in that plugs nothing: its import is what counts."""

    def describe(self) -> objects.host_info.HostPluginInfo:
        return objects.host_info.HostPluginInfo(
            plugin_name='docker', vif_info=[])

    def plug(self, vif: objects.vif.VIFBase,
             instance_info: objects.instance_info.InstanceInfo) -> None:
        raise NotImplementedError

    def unplug(self, vif: objects.vif.VIFBase,
               instance_info: objects.instance_info.InstanceInfo) -> None:
        raise NotImplementedError


install()
