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

"""What a container is made of: pure, by small contributors.

``build`` turns what Nova, the tenant and the operator say into one frozen
ContainerSpec. Each contributor owns a group of its fields; the same input
gives the same output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import dataclasses
import functools
import hashlib
import json
from typing import Any

from nova_docker_driver import errors
from nova_docker_driver import grants
from nova_docker_driver import models
from nova_docker_driver import names

#: The Engine refuses less.
MINIMUM_MEMORY_MIB = 6

#: What a process needs to change its user and own its files, and no more:
#: the baseline of Kubernetes less MKNOD, AUDIT_WRITE and NET_RAW.
BASELINE_CAPS = ('CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL',
                 'NET_BIND_SERVICE', 'SETFCAP', 'SETGID', 'SETPCAP', 'SETUID',
                 'SYS_CHROOT')
#: All that ``docker:profile=restricted`` leaves.
RESTRICTED_CAPS = ('NET_BIND_SERVICE',)

#: The Engine's own default, and what a CPU weighs in shares.
_SHM_SIZE, _CPU_SHARES = 64 * models.MIB, 1024


@dataclasses.dataclass(frozen=True)
class Inputs:
    """All that decides what a container is."""

    instance_uuid: str
    hostname: str
    memory_mib: int
    swap_mib: int
    vcpus: int
    extra_specs: Mapping[str, str]
    image: models.EngineImage
    tenant: models.TenantSpec
    policy: models.Policy
    #: None for a server without ports.
    sandbox: models.Sandbox | None = None
    mounts: tuple[models.Mount, ...] = ()
    #: Nova's own name of the server.
    name: str = ''
    #: Addresses of the PCI devices that Nova gave to the server.
    pci_addresses: tuple[str, ...] = ()
    #: Of the root file system.
    disk_gib: int = 0
    #: The host's CPUs and memory nodes that are the server's alone.
    pinned_cpus: frozenset[int] = frozenset()
    memory_nodes: frozenset[int] = frozenset()
    #: ROLE_SERVER, or ROLE_RESCUE for what runs in its place.
    role: str = names.ROLE_SERVER
    #: The host's GPUs that are the server's alone.
    gpus: tuple[str, ...] = ()

    @functools.cached_property
    def grants(self) -> grants.Grants:
        """What the flavor grants."""
        return grants.parse(self.extra_specs)


def build(inputs: Inputs) -> models.ContainerSpec:
    """The container that the inputs ask for.

    :raises InvalidSpec: if there can be no such container
    """
    fields: dict[str, Any] = {}
    for contribute in _CONTRIBUTORS:
        fields.update(contribute(inputs))
    return _with_digest(models.ContainerSpec(**fields))


def _with_digest(spec: models.ContainerSpec) -> models.ContainerSpec:
    labels = {**spec.labels, names.SPEC_LABEL: digest(spec)}
    return dataclasses.replace(spec, labels=labels)


def digest(spec: models.ContainerSpec) -> str:
    """Equal for equal containers, whichever network and devices they have.

    Those are the host's, and others on another one.
    """
    fields = dataclasses.asdict(spec)
    del fields['network_mode'], fields['gpus'], fields['devices']
    fields['labels'] = {name: value for name, value in spec.labels.items()
                        if not names.is_reserved_label(name)}
    canonical = json.dumps(fields, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _identity(inputs: Inputs) -> dict[str, Any]:
    return {
        'name': (names.container(inputs.instance_uuid)
                 if inputs.role == names.ROLE_SERVER
                 else names.rescue(inputs.instance_uuid)),
        'labels': {**inputs.tenant.labels,
                   **names.labels(inputs.instance_uuid, inputs.role,
                                  inputs.policy.host),
                   names.NAME_LABEL: inputs.name,
                   names.DISK_LABEL: str(inputs.disk_gib * models.GIB),
                   names.GPUS_LABEL: ','.join(inputs.gpus)},
        'image': inputs.image.id,
    }


def _process(inputs: Inputs) -> dict[str, Any]:
    tenant, image = inputs.tenant, inputs.image
    entrypoint, command = tenant.entrypoint, tenant.command
    if command == () and entrypoint is None:
        # An empty command clears the image's, which the Engine would run.
        entrypoint = image.entrypoint
    runs = entrypoint or command or (
        entrypoint is None and (image.entrypoint or image.command))
    if not runs:
        raise errors.InvalidSpec(
            'command: neither the image nor the specification has one')
    return {
        'entrypoint': entrypoint,
        'command': command,
        'environment': tuple(f'{name}={value}' for name, value
                             in sorted(tenant.environment.items())),
        'working_dir': tenant.working_dir,
        'user': tenant.user,
        'group_add': tenant.group_add,
        'tty': tenant.tty,
        'stdin_open': tenant.stdin_open,
        'init': tenant.init,
        'stop_signal': tenant.stop_signal,
        'stop_timeout': _stop_timeout(inputs),
        'restart': tenant.restart,
        'healthcheck': _healthcheck(inputs),
    }


def _stop_timeout(inputs: Inputs) -> int | None:
    """Also what a stop of the Engine itself would wait for."""
    wish = inputs.tenant.stop_grace_period
    return None if wish is None else min(wish, inputs.policy.stop_timeout)


def _healthcheck(inputs: Inputs) -> models.Healthcheck | None:
    """Clamped: a check costs the host, outside of the server's limits."""
    policy, check = inputs.policy, inputs.tenant.healthcheck
    if check is None:
        return None
    return dataclasses.replace(
        check,
        interval=check.interval and max(check.interval,
                                        policy.health_min_interval),
        timeout=min(check.timeout or policy.health_max_timeout,
                    policy.health_max_timeout))


def _waiting(inputs: Inputs) -> dict[str, Any]:
    """Nothing of the container, but bounded as well."""
    tenant, most = inputs.tenant, inputs.policy.max_wait_timeout
    if tenant.wait_for == 'healthy' and tenant.wait_timeout > most:
        raise errors.InvalidSpec(
            f'x-nova.wait_timeout: is more than {most}, the operator\'s cap')
    return {}


def _memory(inputs: Inputs) -> dict[str, Any]:
    if inputs.memory_mib < MINIMUM_MEMORY_MIB:
        raise errors.InvalidSpec(
            f'flavor: {inputs.memory_mib} MiB of memory are too few for a '
            f'container; the least is {MINIMUM_MEMORY_MIB}')
    memory = inputs.memory_mib * models.MIB
    reservation = inputs.tenant.mem_reservation or 0
    if reservation > memory:
        raise errors.InvalidSpec(
            f'mem_reservation: is more than the {inputs.memory_mib} MiB of '
            'the flavor')
    if 0 < reservation < MINIMUM_MEMORY_MIB * models.MIB:
        raise errors.InvalidSpec(
            f'mem_reservation: is less than {MINIMUM_MEMORY_MIB} MiB')
    cap = min(inputs.policy.shm_max_size, memory)
    shm = inputs.tenant.shm_size
    if shm is not None and shm > cap:
        raise errors.InvalidSpec(
            f'shm_size: is more than {cap} bytes, the least of the flavor\'s '
            'memory and [docker] shm_max_size')
    return {'memory': memory, 'swap': inputs.swap_mib * models.MIB,
            'mem_reservation': reservation,
            'oom_score_adj': inputs.tenant.oom_score_adj,
            'shm_size': shm or min(_SHM_SIZE, cap)}


def _cpus(inputs: Inputs) -> dict[str, Any]:
    """A hard limit of the flavor's vCPUs, unless the flavor says otherwise."""
    given = inputs.grants
    fields: dict[str, Any] = {
        'cpu_shares': given.cpu_shares or inputs.vcpus * _CPU_SHARES,
        # Others' dedicated CPUs are not the server's to use.
        'cpuset_cpus': _set(inputs.pinned_cpus or inputs.policy.shared_cpus),
        'cpuset_mems': _set(inputs.memory_nodes)}
    if given.cpu_quota:
        fields.update(cpu_quota=given.cpu_quota,
                      cpu_period=given.cpu_period or 100_000)
    elif not given.soft_cpus and not inputs.pinned_cpus:
        fields['nano_cpus'] = inputs.vcpus * 10**9
    return fields


def _set(numbers: frozenset[int]) -> str:
    return ','.join(map(str, sorted(numbers)))


def _limits(inputs: Inputs) -> dict[str, Any]:
    given, policy = inputs.grants, inputs.policy
    block = None
    if given.disk_rates:
        if not policy.disk_device:
            raise errors.Unsupported(
                'flavor: quota:disk_*: this host does not know the device of '
                'its Docker Engine')
        block = models.BlockLimits(policy.disk_device, **given.disk_rates)
    return {'pids_limit': given.pids_limit or policy.pids_limit,
            'ulimits': _ulimits(inputs), 'block_limits': block,
            'disk': inputs.disk_gib * models.GIB if policy.disk_quota else 0}


def _ulimits(inputs: Inputs) -> tuple[models.Ulimit, ...]:
    """The tenant's below the caps; the flavor's own where it says nothing."""
    granted = {limit.name: limit for limit in inputs.grants.ulimits}
    caps = {**inputs.policy.max_ulimits,
            **{name: limit.hard for name, limit in granted.items()}}
    for limit in inputs.tenant.ulimits:
        cap = caps.get(limit.name)
        if cap is None:
            raise errors.InvalidSpec(
                f'ulimits.{limit.name}: the operator allows none; '
                '[docker] max_ulimits or docker:ulimits of the flavor would')
        if cap != -1 and (limit.hard == -1 or limit.hard > cap):
            raise errors.InvalidSpec(
                f'ulimits.{limit.name}: is more than {cap}, the operator\'s '
                'cap')
        granted[limit.name] = limit
    if 'nofile' not in granted and 'nofile' in caps:
        granted['nofile'] = models.Ulimit(
            'nofile', caps['nofile'], caps['nofile'])
    return tuple(granted[name] for name in sorted(granted))


def _security(inputs: Inputs) -> dict[str, Any]:
    given, policy = inputs.grants, inputs.policy
    if given.privileged and not policy.allow_privileged:
        raise errors.InvalidSpec(
            'flavor: docker:privileged: needs [docker] allow_privileged too')
    return {
        'privileged': given.privileged,
        'cap_drop': ('ALL',),
        'cap_add': _capabilities(inputs),
        'security_opt': ('no-new-privileges:true', *_profiles(inputs)),
        'read_only': inputs.tenant.read_only or given.restricted,
        **({'user': _restricted_user(inputs)} if given.restricted else {}),
    }


def _capabilities(inputs: Inputs) -> tuple[str, ...]:
    """The baseline, less what is dropped, plus what was granted and asked."""
    allowed, given = set(inputs.policy.allowed_caps), inputs.grants
    beyond = set(given.cap_add) - allowed
    if beyond:
        raise errors.InvalidSpec(
            f'flavor: docker:cap_add: {_listing(beyond)}: not within '
            '[docker] allowed_caps')
    own = set(RESTRICTED_CAPS if given.restricted else BASELINE_CAPS) & allowed
    asked, dropped = set(inputs.tenant.cap_add), set(inputs.tenant.cap_drop)
    refused = asked - own - set(given.cap_add)
    if refused:
        raise errors.InvalidSpec(
            f'cap_add: {_listing(refused)}: only an operator can grant this, '
            'by docker:cap_add of the flavor')
    kept = set() if 'ALL' in dropped else own - dropped
    return tuple(sorted(kept | asked))


def _listing(found: set[str]) -> str:
    return ', '.join(sorted(found))


def _profiles(inputs: Inputs) -> tuple[str, ...]:
    given, policy = inputs.grants, inputs.policy
    found = []
    if given.seccomp_profile:
        if given.seccomp_profile not in policy.seccomp_profiles:
            raise errors.Unsupported(
                f'flavor: docker:seccomp_profile: {given.seccomp_profile}: '
                'not in [docker] seccomp_profiles of this host')
        found.append('seccomp='
                     + policy.seccomp_profiles[given.seccomp_profile])
    if given.apparmor_profile:
        if given.apparmor_profile not in policy.apparmor_profiles:
            raise errors.Unsupported(
                f'flavor: docker:apparmor_profile: {given.apparmor_profile}: '
                'not in [docker] apparmor_profiles of this host')
        found.append(f'apparmor={given.apparmor_profile}')
    return tuple(found)


def _restricted_user(inputs: Inputs) -> str:
    """A number that is not root's; what a name means is the image's word."""
    user = inputs.tenant.user or ''
    number = user.partition(':')[0]
    if not (number.isascii() and number.isdigit()) or int(number) == 0:
        raise errors.InvalidSpec(
            'user: docker:profile=restricted of the flavor needs one that is '
            'given as a number and is not root')
    return user


def _hardware(inputs: Inputs) -> dict[str, Any]:
    given, policy = inputs.grants, inputs.policy
    unknown = set(given.devices) - set(policy.devices)
    if unknown:
        raise errors.Unsupported(
            f'flavor: docker:devices: {_listing(unknown)}: not in [docker] '
            'devices of this host')
    if given.runtime and given.runtime not in policy.allowed_runtimes:
        raise errors.Unsupported(
            f'flavor: docker:runtime: {given.runtime}: not in [docker] '
            'allowed_runtimes of this host')
    return {'devices': (*(policy.devices[name] for name in given.devices),
                        *_pci_files(inputs)),
            'gpus': inputs.gpus, 'runtime': given.runtime,
            'userns_mode': 'host' if given.host_users else ''}


def _pci_files(inputs: Inputs) -> list[str]:
    """The files of the server's own PCI devices."""
    found: list[str] = []
    for address in inputs.pci_addresses:
        files = inputs.policy.pci_files.get(address, ())
        if not files:
            raise errors.Unsupported(
                f'The PCI device {address} has no files on this host: a '
                'container uses it by its driver, which has to be there')
        found += files
    return found


def _network(inputs: Inputs) -> dict[str, Any]:
    own, networks = split_sysctls(inputs.tenant.sysctls)
    if inputs.sandbox is None:
        return {'network_mode': 'none', 'hostname': inputs.hostname,
                'sysctls': {**own, **networks}}
    # A container that joins a namespace cannot have these of its own.
    return {'network_mode': f'container:{inputs.sandbox.container_id}',
            'hostname': None, 'sysctls': own}


def split_sysctls(sysctls: Mapping[str, str]
                  ) -> tuple[dict[str, str], dict[str, str]]:
    """Those of the process's own namespaces, and those of its network."""
    networks = {name: value for name, value in sysctls.items()
                if name.startswith('net.')}
    return ({name: value for name, value in sysctls.items()
             if name not in networks}, networks)


def _files(inputs: Inputs) -> dict[str, Any]:
    taken = [mount.target for mount in inputs.mounts]
    for target in (*inputs.tenant.tmpfs, *inputs.tenant.volumes):
        if target in taken:
            raise errors.InvalidSpec(
                f'volumes: {target}: there is a file of configs or secrets')
    return {'mounts': inputs.mounts, 'tmpfs': dict(inputs.tenant.tmpfs),
            'volumes': inputs.tenant.volumes,
            'contents': _contents(inputs.tenant)}


def _contents(tenant: models.TenantSpec) -> str:
    """A digest of what the container finds in the driver's files."""
    _, networks = split_sysctls(tenant.sysctls)
    parts = json.dumps([
        [(file.target, file.content.hex(), file.mode, file.uid, file.gid)
         for file in tenant.files],
        tenant.extra_hosts, tenant.dns, tenant.dns_search,
        sorted(networks.items())])
    return hashlib.sha256(parts.encode()).hexdigest()


def _logging(inputs: Inputs) -> dict[str, Any]:
    given, policy, tenant = inputs.grants, inputs.policy, inputs.tenant
    size = given.log_max_size or policy.log_max_size
    files = given.log_max_files or policy.log_max_files
    for key, asked, cap in (
            ('max-size', tenant.log_max_size, size),
            ('max-file', tenant.log_max_files, files)):
        if asked is not None and asked > cap:
            raise errors.InvalidSpec(
                f'logging.options.{key}: is more than {cap}, the operator\'s '
                'cap')
    return {'log_max_size': max(1, tenant.log_max_size or size),
            'log_max_files': tenant.log_max_files or files}


_CONTRIBUTORS: tuple[Callable[[Inputs], dict[str, Any]], ...] = (
    _identity, _process, _waiting, _memory, _cpus, _limits, _security,
    _hardware, _network, _files, _logging)


def sandbox(instance_uuid: str, hostname: str, image: str,
            policy: models.Policy, sysctls: Mapping[str, str] | None = None
            ) -> models.ContainerSpec:
    """The container that holds a server's network namespace and only waits.

    It has no capability, next to no memory and no command of a tenant's.
    """
    return _with_digest(models.ContainerSpec(
        name=names.sandbox(instance_uuid),
        labels=names.labels(instance_uuid, names.ROLE_SANDBOX, policy.host),
        image=image, network_mode='none', hostname=hostname,
        # One process runs here, but the runtime's own threads count before
        # it begins; with a limit of 4, starts failed now and then.
        memory=16 * models.MIB, nano_cpus=10**8, pids_limit=64,
        ulimits=(models.Ulimit('nofile', 64, 64),),
        security_opt=('no-new-privileges:true',), read_only=True,
        sysctls={**(sysctls or {}),
                 # Without these the namespace refuses IPv6 addresses.
                 'net.ipv6.conf.all.disable_ipv6': '0',
                 'net.ipv6.conf.default.disable_ipv6': '0',
                 # Addresses come from Neutron, not from advertisements.
                 'net.ipv6.conf.default.accept_ra': '0'}))
