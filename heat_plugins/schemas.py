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

"""The properties and attributes that a container has beyond a server's."""

from __future__ import annotations

from heat.common.i18n import _
from heat.engine import attributes
from heat.engine import constraints
from heat.engine import properties

from heat_plugins import translate

_S = properties.Schema


def _duration(description: str) -> properties.Schema:
    return _S(_S.STRING, description, constraints=[
        constraints.CustomConstraint('nova_docker.duration')])


HEALTHCHECK = {
    'test': _S(
        _S.LIST, _('The command that tells, as CMD and its words or '
                   'CMD-SHELL and a line.'), required=True,
        constraints=[constraints.Length(min=2)]),
    'interval': _duration(_('Time between two checks, as in 10s.')),
    'timeout': _duration(_('Time after which a check counts as failed.')),
    'start_period': _duration(
        _('Time in which failed checks do not count.')),
    'retries': _S(_S.INTEGER, _('Failed checks in a row that make the '
                                'container unhealthy.'),
                  constraints=[constraints.Range(min=1, max=1000)]),
}

PROPERTIES = {
    'command': _S(_S.LIST, _('Replaces the command of the image.'),
                  schema=_S(_S.STRING), update_allowed=True),
    'entrypoint': _S(_S.LIST, _('Replaces the entry point of the image.'),
                     schema=_S(_S.STRING), update_allowed=True),
    'environment': _S(
        _S.MAP, _('Environment variables of the process; values are '
                  'strings, numbers or booleans.'), update_allowed=True),
    'working_dir': _S(
        _S.STRING, _('The directory in which the process starts.'),
        update_allowed=True,
        constraints=[constraints.AllowedPattern('^/.*')]),
    'user': _S(_S.STRING, _('The user, and optionally a group after a '
                            'colon, that the process runs as.'),
               update_allowed=True),
    'healthcheck': _S(
        _S.MAP, _('How to find out whether the process is well.'),
        schema=HEALTHCHECK, update_allowed=True),
    'wait_for': _S(
        _S.STRING, _('What the container must be before resources that '
                     'depend on it follow: running, healthy, completed '
                     '(ended with exit code 0) or none.'),
        default=translate.RUNNING, update_allowed=True,
        constraints=[constraints.AllowedValues(list(translate.WAITS))]),
    'wait_timeout': _S(
        _S.INTEGER, _('Seconds that a container may take to be healthy.'),
        default=300, update_allowed=True,
        constraints=[constraints.Range(min=1, max=3600)]),
}

_A = attributes.Schema

ATTRIBUTES = {
    'first_ip': _A(_('The first fixed address of the container.'),
                   type=_A.STRING),
    'status': _A(_('The status of the server in Nova.'),
                 cache_mode=_A.CACHE_NONE, type=_A.STRING),
    'exit_code': _A(_('The exit code of the process, once it has ended.'),
                    cache_mode=_A.CACHE_NONE, type=_A.INTEGER),
    'logs': _A(_('The last lines that the process wrote.'),
               cache_mode=_A.CACHE_NONE, type=_A.STRING),
}
