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

"""What a host cannot enforce, and what a container has too much. Pure.

``findings`` is the start-up report and what ``nova-docker-check`` prints.
``warnings_of`` looks at one container as the Engine describes it: our own
version of what section 5 of the CIS benchmark for Docker asks. Left out is
what no inspection shows or what is no setting of a container: sshd inside
(5.6), privileged ports (5.7), needed ports (5.8), exec with privileges or as
root (5.22, 5.23), and the newest image (5.27).
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from typing import Any

from nova_docker_driver import hostmodels
from nova_docker_driver import models
from nova_docker_driver import spec


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is weaker than it could be."""

    #: What is weak.
    subject: str
    #: How an operator gets it.
    remedy: str

    def __str__(self) -> str:
        return f'{self.subject}; {self.remedy}'


def findings(policy: models.Policy, facts: hostmodels.EngineFacts
             ) -> list[Finding]:
    """What the operator has weakened, then what the host lacks."""
    return _weakened(policy) + _lacking(facts)


def _weakened(policy: models.Policy) -> list[Finding]:
    found = [Finding(
        f'[docker] allowed_caps lets flavors grant CAP_{name}',
        'take it out unless a flavor needs it')
        for name in sorted(set(policy.allowed_caps)
                           - set(spec.BASELINE_CAPS))]
    if policy.allow_privileged:
        found.append(Finding(
            '[docker] allow_privileged lets flavors make containers root on '
            'this host', 'grant single devices or capabilities instead'))
    found += [Finding(
        f'[docker] devices gives {path} of this host to flavors',
        'take out what no flavor needs')
        for path in sorted(policy.devices.values())]
    found += [Finding(
        f'[docker] allowed_runtimes lets flavors choose {name}',
        'take it out unless it confines at least as well as the default')
        for name in sorted(policy.allowed_runtimes)]
    found += [Finding(
        f'[docker] {option} lets flavors choose {name}',
        'take it out unless it is stricter than the default')
        for option, names in (
            ('seccomp_profiles', policy.seccomp_profiles),
            ('apparmor_profiles', policy.apparmor_profiles))
        for name in sorted(names)]
    if policy.max_ulimits.get('nofile', 0) == -1:
        found.append(Finding(
            '[docker] max_ulimits lets a process open files without bound',
            'give nofile a number'))
    if not policy.disks_watched and not policy.disk_quota:
        found.append(Finding(
            '[docker] disk_enforcement leaves root disks without bound',
            'set it to watch'))
    return found


def _lacking(facts: hostmodels.EngineFacts) -> list[Finding]:
    present = set(facts.security_options)
    wanted = (
        ('seccomp' in present, 'no seccomp filters system calls',
         'use a kernel and an Engine with seccomp'),
        (bool({'apparmor', 'selinux'} & present),
         'no AppArmor and no SELinux confines containers',
         'enable one of them in the kernel and restart the Engine'),
        ('userns' in present, 'root in a container has the user id of root',
         'start the Engine with --userns-remap=default'),
        (facts.disk_quota, f'the storage driver {facts.storage_driver} has '
         'no quotas, so a container can outgrow its root disk',
         'use btrfs, zfs, or overlay2 on XFS mounted with pquota'),
        (facts.live_restore, 'a restart of the Engine ends all containers',
         'start the Engine with --live-restore'),
        (facts.cgroup_version == '2', 'the control groups are of version 1',
         'boot with systemd.unified_cgroup_hierarchy=1'),
    )
    found = [Finding(subject, remedy)
             for fulfilled, subject, remedy in wanted if not fulfilled]
    return found + [Finding(f'the Engine warns: {text}', 'see its '
                            'documentation') for text in facts.warnings]


def warnings_of(container: Mapping[str, Any]) -> list[str]:
    """What a container has too much or lacks, by the benchmark's number.

    :param container: as the Engine's inspection has it
    """
    host = container['HostConfig']
    return [f'{number} {text}' for number, wrong, text in (
        *_isolation(container, host), *_bounds(host),
        *_choices(container, host))
        if wrong]


_Row = tuple[str, bool, str]


def _isolation(container: Mapping[str, Any], host: Mapping[str, Any]
               ) -> list[_Row]:
    options = host['SecurityOpt'] or []
    beyond = {name.removeprefix('CAP_') for name in host['CapAdd'] or ()
              } - set(spec.BASELINE_CAPS)
    return [
        ('5.1', container.get('AppArmorProfile', '') in ('', 'unconfined'),
         'no AppArmor profile'),
        ('5.2', not any(option.startswith('label=') for option in options),
         'no SELinux label'),
        ('5.3', bool(beyond) or 'ALL' not in (host['CapDrop'] or ()),
         'capabilities beyond the baseline'),
        ('5.4', host['Privileged'], 'privileged'),
        ('5.5', any(not bind['ReadOnly'] for bind in host.get('Mounts') or ())
         or bool(host['Binds']), 'writable directories of the host'),
        ('5.9', host['NetworkMode'] == 'host', 'the host\'s network'),
        ('5.13', bool(host['PortBindings']), 'ports of the host'),
        ('5.15', host['PidMode'] == 'host', 'the host\'s processes'),
        ('5.16', host['IpcMode'] == 'host', 'the host\'s IPC'),
        ('5.17', bool(host['Devices']), 'devices of the host'),
        ('5.19', any((bind.get('BindOptions') or {}).get('Propagation', '')
                     in ('shared', 'rshared')
                     for bind in host.get('Mounts') or ()),
         'mounts that reach back to the host'),
        ('5.20', host['UTSMode'] == 'host', 'the host\'s name'),
        ('5.21', 'seccomp=unconfined' in options, 'no seccomp'),
        ('5.24', bool(host['CgroupParent']), 'a control group of its own'),
        ('5.25', not any(option.startswith('no-new-privileges')
                         and 'false' not in option for option in options),
         'may gain privileges'),
        ('5.29', host['NetworkMode'] in ('default', 'bridge'),
         'the Engine\'s own bridge'),
        ('5.30', host['UsernsMode'] == 'host', 'the host\'s users'),
        ('5.31', any('docker.sock' in bind['Source']
                     for bind in host.get('Mounts') or ()), 'the Engine\'s '
         'socket'),
    ]


def _bounds(host: Mapping[str, Any]) -> list[_Row]:
    return [
        ('5.10', not host['Memory'], 'no memory limit'),
        ('5.11', not (host['CpuShares'] or host['NanoCpus']),
         'no share of CPU time'),
        ('5.14', host['RestartPolicy']['Name'] == 'always',
         'restarted without end'),
        ('5.18', not host['Ulimits'], 'no limit of open files'),
        ('5.28', (host['PidsLimit'] or 0) <= 0, 'no limit of processes'),
    ]


def _choices(container: Mapping[str, Any], host: Mapping[str, Any]
             ) -> list[_Row]:
    check = (container['Config'].get('Healthcheck') or {}).get('Test')
    return [('5.12', not host['ReadonlyRootfs'], 'a writable root'),
            ('5.26', not check or check == ['NONE'], 'no health check')]
