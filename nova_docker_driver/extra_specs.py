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

"""Validators of the flavor extra specs ``docker:*``.

nova-api loads this module and nothing else of ours. With it, a mistyped key
is a 400 when the flavor is made, not a limit that is silently missing later.
"""

from __future__ import annotations

from typing import Any

from nova.api.validation.extra_specs import base

# Kept equal to grants.py by a test: nova-api loads no more than this module.
CAPABILITIES = (
    'AUDIT_CONTROL', 'AUDIT_READ', 'AUDIT_WRITE', 'BLOCK_SUSPEND', 'BPF',
    'CHECKPOINT_RESTORE', 'CHOWN', 'DAC_OVERRIDE', 'DAC_READ_SEARCH',
    'FOWNER', 'FSETID', 'IPC_LOCK', 'IPC_OWNER', 'KILL', 'LEASE',
    'LINUX_IMMUTABLE', 'MAC_ADMIN', 'MAC_OVERRIDE', 'MKNOD', 'NET_ADMIN',
    'NET_BIND_SERVICE', 'NET_BROADCAST', 'NET_RAW', 'PERFMON', 'SETFCAP',
    'SETGID', 'SETPCAP', 'SETUID', 'SYSLOG', 'SYS_ADMIN', 'SYS_BOOT',
    'SYS_CHROOT', 'SYS_MODULE', 'SYS_NICE', 'SYS_PACCT', 'SYS_PTRACE',
    'SYS_RAWIO', 'SYS_RESOURCE', 'SYS_TIME', 'SYS_TTY_CONFIG', 'WAKE_ALARM')
ULIMITS = ('core', 'cpu', 'data', 'fsize', 'locks', 'memlock', 'msgqueue',
           'nofile', 'nproc', 'rss', 'sigpending', 'stack')

_NAME = '[A-Za-z0-9_.-]+'
_NAMES = f'{_NAME}(,{_NAME})*'
_ULIMIT = fr'({"|".join(ULIMITS)})=-?\d{{1,18}}(:-?\d{{1,18}})?'
_ULIMITS = f'{_ULIMIT}(,{_ULIMIT})*'
_CAP = f'(CAP_)?({"|".join(CAPABILITIES)})'
_CAPS = f'{_CAP}(,{_CAP})*'


def _text(pattern: str) -> dict[str, Any]:
    # Not $, which is also before a line break at the end.
    return {'type': str, 'pattern': fr'^{pattern}\Z'}


def _number(least: int, most: int) -> dict[str, Any]:
    return {'type': int, 'min': least, 'max': most}


_SPECS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ('apparmor_profile', _text(_NAME),
     'An AppArmor profile of [docker] apparmor_profiles.'),
    ('cap_add', _text(_CAPS),
     'Linux capabilities that a container may ask for, within [docker] '
     'allowed_caps.'),
    ('cpu_limit', {'type': str, 'enum': ['hard', 'soft']},
     'Whether the vCPUs are a limit (hard) or a weight beside others (soft).'),
    ('devices', _text(_NAMES), 'Devices by their aliases in [docker] '
     'devices.'),
    ('gpus', _number(1, 64),
     'The number of GPUs that are the server\'s alone; resources:PGPU has to '
     'say the same, for the scheduler.'),
    ('log_max_files', _number(1, 1000),
     'The number of log files that are kept of a container.'),
    ('log_max_size', _number(1, 1048576),
     'The size in MiB at which a log file is rotated.'),
    ('pids_limit', _number(1, 4194304),
     'The number of processes and threads that a server may have at once. '
     'Defaults to [docker] pids_limit.'),
    ('privileged', {'type': bool},
     'Whether containers are root on the host; [docker] allow_privileged has '
     'to agree.'),
    ('profile', {'type': str, 'enum': ['baseline', 'restricted']},
     'How little a container may: restricted leaves one capability, a '
     'read-only root, and a user that is given as a number and is not root.'),
    ('runtime', _text(_NAME), 'A runtime of [docker] allowed_runtimes.'),
    ('seccomp_profile', _text(_NAME),
     'A seccomp profile of [docker] seccomp_profiles.'),
    ('ulimits', _text(_ULIMITS),
     'Limits of each process such as nofile=1024:4096, which also cap what a '
     'container may ask for.'),
    ('userns', {'type': str, 'enum': ['host', 'remap']},
     'Whether a container of an Engine that remaps users is excepted (host).'),
)


def register() -> list[base.ExtraSpecValidator]:
    """The validators, as nova-api's plug-in loader wants them."""
    return [base.ExtraSpecValidator(name=f'docker:{name}', value=value,
                                    description=description)
            for name, value, description in _SPECS]
