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

"""The properties and attributes that a container has beyond a server's.

What a process is asked for has the names of Compose, and its meaning there;
sizes are whole MiB, durations are written as ``1m30s``.
"""

from __future__ import annotations

from typing import Any

from heat.common.i18n import _
from heat.engine import attributes
from heat.engine import constraints
from heat.engine import properties

from heat_plugins import translate

_S = properties.Schema


def _text(description: str, pattern: str = '', **more: Any
          ) -> properties.Schema:
    if pattern:
        more['constraints'] = [constraints.AllowedPattern(pattern)]
    return _S(_S.STRING, description, **more)


def _custom(description: str, name: str, **more: Any) -> properties.Schema:
    return _S(_S.STRING, description, constraints=[
        constraints.CustomConstraint(f'nova_docker.{name}')], **more)


def _choice(description: str, values: list[str], **more: Any
            ) -> properties.Schema:
    return _S(_S.STRING, description,
              constraints=[constraints.AllowedValues(values)], **more)


def _number(description: str, low: int, high: int, **more: Any
            ) -> properties.Schema:
    return _S(_S.INTEGER, description,
              constraints=[constraints.Range(min=low, max=high)], **more)


def _switch(description: str) -> properties.Schema:
    return _S(_S.BOOLEAN, description)


def _texts(description: str, most: int = 1024,
           entry: properties.Schema | None = None) -> properties.Schema:
    return _S(_S.LIST, description, schema=entry or _S(_S.STRING),
              constraints=[constraints.Length(max=most)])


def _map(description: str, schema: dict[str, properties.Schema] | None = None
         ) -> properties.Schema:
    return _S(_S.MAP, description, schema=schema)


def _maps(description: str, schema: dict[str, properties.Schema], most: int
          ) -> properties.Schema:
    return _S(_S.LIST, description, schema=_S(_S.MAP, schema=schema),
              constraints=[constraints.Length(max=most)])


_PATH = '^/(?!(proc|sys|dev)(/|$))[^\\x00-\\x1f]*$'

HEALTHCHECK = {
    'test': _S(
        _S.LIST, _('The command that tells: CMD and its words, or CMD-SHELL '
                   'and a line.'), schema=_S(_S.STRING),
        constraints=[constraints.Length(min=1, max=256)]),
    'interval': _custom(_('Time between two checks, as in 10s.'),
                        'duration'),
    'timeout': _custom(_('Time after which a check counts as failed.'),
                       'duration'),
    'start_period': _custom(
        _('Time in which failed checks do not count.'), 'duration'),
    'retries': _number(_('Failed checks in a row that make the container '
                         'unhealthy.'), 1, 1000),
    'disable': _switch(_('No check, although the image has one.')),
}

FILE = {
    'path': _text(_('Where the process finds the file.'), _PATH,
                  required=True),
    'content': _text(_('What is in it.'), required=True),
    'mode': _text(_('Its permissions, octal.'), '^[0-7]{3,4}$',
                  default='0444'),
    'uid': _number(_('The user that it belongs to.'), 0, 2 ** 31 - 1),
    'gid': _number(_('The group that it belongs to.'), 0, 2 ** 31 - 1),
}

MOUNT = {
    'type': _choice(
        _('tmpfs is memory; ephemeral is a directory beside the root file '
          'system, which ends with the container; volume is one of Cinder, '
          'and is refused so far.'),
        ['tmpfs', 'ephemeral', 'volume'], default='tmpfs'),
    'target': _text(_('Where the process finds it.'), _PATH, required=True),
    'size_mb': _number(_('The size of a tmpfs in MiB.'), 1, 2 ** 20),
    'mode': _text(_('Permissions of a tmpfs, octal.'), '^[0-7]{3,4}$'),
    'volume': _text(_('The volume, by name or id.')),
    'read_only': _switch(_('The process cannot write to the volume.')),
}

#: What the specification says about the process; a change of any of these
#: makes the container anew.
SPECIFICATION = {
    'image_ref': _custom(
        _('A reference to an image in a registry that the operator allows. '
          'The property image names a placeholder then, or is left to the '
          'operator\'s.'), 'image_ref'),
    'pull_policy': _choice(
        _('When the image of a registry is looked up anew: missing, unless '
          'the host has it; always, at each rebuild; never.'),
        ['missing', 'always', 'never']),
    'command': _texts(_('Replaces the command of the image.')),
    'entrypoint': _texts(_('Replaces the entry point of the image, and '
                           'drops its command.')),
    'environment': _map(_('Environment variables of the process; values are '
                          'strings, numbers or booleans.')),
    'environment_secrets': _map(_(
        'Variables that hold secrets: the name of each to the secret in '
        'Barbican, by its address or id. Read with the rights of who makes '
        'or changes the stack.')),
    'working_dir': _text(_('The directory in which the process starts.'),
                         '^/.*'),
    'user': _text(_('The user, and optionally a group after a colon, that '
                    'the process runs as.')),
    'group_add': _texts(_('Further groups of the process.'), 32),
    'files': _maps(_('Files that the process finds; read-only.'), FILE, 64),
    'mounts': _maps(_('Directories outside of the root file system.'),
                    MOUNT, 32),
    'healthcheck': _map(_('How to find out whether the process is well.'),
                        HEALTHCHECK),
    'restart_policy': _map(_('What happens when the process ends.'), {
        'name': _choice(_('When it is started again.'),
                        ['no', 'on-failure', 'always', 'unless-stopped'],
                        required=True),
        'max_retries': _number(_('How often, with on-failure.'), 1, 9999)}),
    'stop_signal': _text(_('What asks the process to end; SIGTERM if not '
                           'given.'), '^[A-Z0-9+]{1,16}$'),
    'stop_grace_period': _custom(_('How long it may take to end.'),
                                 'duration'),
    'init': _switch(_('Whether a small init reaps processes.')),
    'tty': _switch(_('Whether the process has a terminal.')),
    'stdin_open': _switch(_('Whether its standard input stays open.')),
    'read_only': _switch(_('Whether the root file system is read-only.')),
    'shm_size_mb': _number(_('The size of /dev/shm in MiB.'), 1, 2 ** 20),
    'mem_reservation_mb': _number(
        _('MiB that the process should keep when its host is short of '
          'memory.'), 1, 2 ** 30),
    'oom_score_adj': _number(_('How much sooner than others it may be ended '
                               'then.'), 0, 1000),
    'ulimits': _map(_('Limits of the process: a number, or a map of soft '
                      'and hard, by name.')),
    'sysctls': _map(_('Kernel parameters of its own namespaces.')),
    'cap_drop': _texts(_('Linux capabilities to give up.'), 64),
    'cap_add': _texts(_('Linux capabilities to use, among those that the '
                        'flavor grants.'), 64),
    'extra_hosts': _map(_('Further names and addresses for /etc/hosts.')),
    'dns': _texts(_('Name servers in place of those of the subnets.'), 3,
                  _S(_S.STRING, constraints=[
                      constraints.CustomConstraint('ip_addr')])),
    'dns_search': _texts(_('Domains in which short names are looked up.'),
                         6),
    'labels': _map(_('Labels of the container.')),
    'expose': _texts(
        _('Ports that the process listens on, such as 80/tcp; security '
          'groups decide.'), 256, _S(_S.STRING, constraints=[
              constraints.CustomConstraint('nova_docker.port')])),
    'log_options': _map(_('How much of its output is kept.'), {
        'max_size_mb': _number(_('MiB of each file.'), 1, 2 ** 20),
        'max_files': _number(_('How many files.'), 1, 1000)}),
    'crash_dump_signal': _text(_('What a crash dump sends.'),
                               '^[A-Z0-9+]{1,16}$'),
}
for _schema in SPECIFICATION.values():
    _schema.update_allowed = True

#: What is waited for, and how a change is made.
POLICIES = {
    'wait_for': _choice(
        _('What the container must be before resources that depend on it '
          'follow: running, healthy, completed (ended with exit code 0) or '
          'none.'), list(translate.WAITS), default=translate.RUNNING,
        update_allowed=True),
    'wait_timeout': _number(
        _('Seconds that a container may take to be healthy.'), 1, 3600,
        default=300, update_allowed=True),
    'recreate_policy': _choice(
        _('What a change of the image or the process means: REBUILD makes '
          'the container anew in place, with the id and ports it had; '
          'REPLACE makes another one; IGNORE leaves it as it is until the '
          'next rebuild.'), ['REBUILD', 'REPLACE', 'IGNORE'],
        default='REBUILD', update_allowed=True),
    'hostname': _text(
        _('The host name; that of the container\'s own name if not given.'),
        '^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$',
        update_allowed=True),
}

PROPERTIES = {**SPECIFICATION, **POLICIES}

#: Of a server, what means nothing to a container, or is the plug-in's.
HIDDEN = (
    'user_data', 'user_data_update_policy', 'admin_pass', 'admin_user',
    'personality', 'reservation_id', 'diskConfig', 'block_device_mapping',
    'block_device_mapping_v2', 'image_update_policy',
    'software_config_transport', 'deployment_swift_data')


def of_container(server: Any) -> dict[str, properties.Schema]:
    """The properties of Heat's server, as they are for a container.

    :param server: Heat's class of the resource
    """
    inherited = dict(server.properties_schema)
    for name in HIDDEN:
        inherited[name] = _hidden(inherited[name], inherited[name].default)
    inherited['user_data_format'] = _hidden(inherited['user_data_format'],
                                            server.RAW)
    inherited['image'] = _S(
        _S.STRING, _('The Glance image, by name or id; its container_format '
                     'is docker.'), update_allowed=True,
        constraints=[constraints.CustomConstraint('glance.image')])
    inherited['flavor_update_policy'] = _choice(
        _('How a new flavor is applied: by Nova\'s resize, or by another '
          'container.'), ['RESIZE', 'REPLACE'], default='RESIZE',
        update_allowed=True)
    groups = inherited['security_groups']
    inherited['security_groups'] = _S(
        groups.type, groups.description, default=groups.default,
        schema=groups.schema, update_allowed=True)
    return {**inherited, **PROPERTIES}


def _hidden(schema: properties.Schema, default: Any) -> properties.Schema:
    return _S(schema.type, schema.description, implemented=False,
              default=default, schema=schema.schema)


_A = attributes.Schema


def _live(description: str, kind: str) -> attributes.Schema:
    return _A(description, cache_mode=_A.CACHE_NONE, type=kind)


ATTRIBUTES = {
    'first_ip': _A(_('The first fixed address of the container.'),
                   type=_A.STRING),
    'status': _live(_('The status of the server in Nova.'), _A.STRING),
    'health': _live(_('starting, healthy or unhealthy; nothing without a '
                      'health check.'), _A.STRING),
    'exit_code': _live(_('The exit code of the process, once it has '
                         'ended.'), _A.INTEGER),
    'logs': _live(_('The last lines that the process wrote.'), _A.STRING),
    'logs_tail': _live(_('The last five lines that the process wrote.'),
                       _A.STRING),
    'spec_digest': _live(_('The digest of the specification that the '
                           'container was made by.'), _A.STRING),
    'image_digest': _live(_('The digest of the image that it runs.'),
                          _A.STRING),
    'started_at': _live(_('When the server was launched.'), _A.STRING),
}
