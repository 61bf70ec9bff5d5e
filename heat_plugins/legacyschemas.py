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

"""The properties and attributes of containers of old templates.

Those of the plug-in that Heat once had come first, under their names and with
their types; what it did not have comes after them.
"""

from __future__ import annotations

from typing import Any

from heat.common.i18n import _
from heat.engine import attributes
from heat.engine import constraints
from heat.engine import properties

from heat_plugins import legacy
from heat_plugins import schemas

_S = properties.Schema


def _p(kind: str, description: str, **more: Any) -> properties.Schema:
    return _S(kind, description, **more)


_DEVICE = {
    'path_on_host': _p(_S.STRING, _('Path on the host.'), required=True,
                       constraints=[constraints.AllowedPattern(
                           '^/dev/[\\w./-]{1,250}$')]),
    'path_in_container': _p(_S.STRING, _('Path in the container.'),
                            constraints=[constraints.AllowedPattern(
                                '^/dev/[\\w./-]{1,250}$')]),
    'permissions': _p(_S.STRING, _('To read, write and make nodes.'),
                      default='rwm', constraints=[
                          constraints.AllowedValues([
                              'r', 'w', 'm', 'rw', 'rm', 'wm', 'rwm'])]),
}

PROPERTIES = {
    'docker_endpoint': _p(
        _S.STRING, _('The name of an Engine in heat.conf.')),
    'hostname': _p(_S.STRING, _('Host name.'), default=''),
    'user': _p(_S.STRING, _('User name or number.'), default=''),
    'memory': _p(_S.INTEGER, _('Limit of memory in bytes.'),
                 update_allowed=True,
                 constraints=[constraints.Range(min=6 * 2 ** 20)]),
    'port_specs': _p(_S.LIST, _('Ports, or mappings of ports.')),
    'port_bindings': _p(_S.MAP, _('Ports of the container to those of '
                                  'the host.')),
    'links': _p(_S.MAP, _('Other containers to their aliases.')),
    'name': _p(_S.STRING, _('The name of the container.'),
               update_allowed=True, constraints=[
                   constraints.AllowedPattern(
                       '^[A-Za-z0-9][A-Za-z0-9_.-]{1,127}$')]),
    'privileged': _p(_S.BOOLEAN, _('Whether it is privileged.'),
                     default=False),
    'tty': _p(_S.BOOLEAN, _('Whether it has a terminal.'),
              default=False),
    'open_stdin': _p(_S.BOOLEAN, _('Whether standard input is open.'),
                     default=False),
    'stdin_once': _p(_S.BOOLEAN, _('Has no effect: with open_stdin, '
                                   'standard input closes when the first '
                                   'client leaves.'), default=False),
    'env': _p(_S.ANY, _('Environment variables: a list of NAME=value, or '
                        'a map.')),
    'cmd': _p(_S.LIST, _('The command.'), default=[]),
    'dns': _p(_S.LIST, _('Name servers.')),
    'image': _p(_S.STRING, _('The image.'), required=True),
    'volumes': _p(_S.MAP, _('Directories of the host to those of the '
                            'container.'), default={}),
    'volumes_from': _p(_S.LIST, _('Containers whose volumes it has.')),
    'restart_policy': _p(_S.MAP, _('What happens when it ends.'),
                         update_allowed=True, schema={
        'Name': _p(_S.STRING, _('When it is started again.'),
                   default='no', constraints=[
                       constraints.AllowedValues([
                           'no', 'on-failure', 'always',
                           'unless-stopped'])]),
        'MaximumRetryCount': _p(_S.INTEGER, _('How often, with '
                                              'on-failure.'),
                                default=0)}),
    'cap_add': _p(_S.LIST, _('Capabilities to add.'), default=[],
                  schema=_p(_S.STRING, _('A capability.'))),
    'cap_drop': _p(_S.LIST, _('Capabilities to drop.'), default=[],
                   schema=_p(_S.STRING, _('A capability.'))),
    'read_only': _p(_S.BOOLEAN, _('Whether the root file system is '
                                  'read-only.'), default=False),
    'cpu_shares': _p(_S.INTEGER, _('Relative weight.'), default=0,
                     update_allowed=True),
    'devices': _p(_S.LIST, _('Devices of the host.'), default=[],
                  schema=_p(_S.MAP, _('A device.'), schema=_DEVICE)),
    'cpu_set': _p(_S.STRING, _('The CPUs that it may use.'),
                  update_allowed=True, constraints=[
                      constraints.AllowedPattern('^[0-9,-]*$')]),
    # What the old plug-in did not have.
    'labels': _p(_S.MAP, _('Labels.')),
    'network_mode': _p(_S.STRING, _('A network of the Engine, bridge or '
                                    'none.'), constraints=[
        constraints.AllowedPattern(
            '^(?!host$)[A-Za-z0-9][A-Za-z0-9_.-]*$')]),
    'healthcheck': _p(_S.MAP, _('How to find out whether it is well.'),
                      schema=schemas.HEALTHCHECK),
    'tmpfs': _p(_S.LIST, _('Directories in memory.'),
                schema=_p(_S.STRING, _('A path.'))),
    'working_dir': _p(_S.STRING, _('Where the process starts.')),
    'entrypoint': _p(_S.LIST, _('The entry point.')),
    'stop_timeout': _p(_S.INTEGER, _('Seconds that it may take to end.'),
                       default=10, update_allowed=True,
                       constraints=[constraints.Range(min=0, max=600)]),
    'pull_policy': _p(_S.STRING, _('When the image is pulled.'),
                      default='missing', constraints=[
                          constraints.AllowedValues(
                              ['missing', 'always', 'never'])]),
    'wait_for': _p(_S.STRING, _('What it must be before others follow.'),
                   default=legacy.RUNNING, constraints=[
                       constraints.AllowedValues(list(legacy.WAITS))]),
    'remove_volumes': _p(_S.BOOLEAN, _('Whether anonymous volumes go '
                                       'with it.'), default=True,
                         update_allowed=True),
}

ATTRIBUTES = {
    name: attributes.Schema(_(description),
                            cache_mode=attributes.Schema.CACHE_NONE)
    for name, description in (
        ('info', 'What the Engine tells, without values of variables.'),
        ('network_info', 'The network settings.'),
        ('network_ip', 'The address.'),
        ('network_gateway', 'The gateway.'),
        ('network_tcp_ports', 'TCP ports of the host.'),
        ('network_udp_ports', 'UDP ports of the host.'),
        ('logs', 'The last lines that it wrote.'),
        ('logs_head', 'The first line that it wrote.'),
        ('logs_tail', 'The last line that it wrote.'),
        ('exit_code', 'The exit code, once it has ended.'),
        ('health', 'starting, healthy or unhealthy.'))}
