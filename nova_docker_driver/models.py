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

"""The values that cross modules: frozen, complete, without behaviour."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses

NANOSECOND = 1
SECOND = 1_000_000_000 * NANOSECOND
MIB = 1024 * 1024
GIB = 1024 * MIB


@dataclasses.dataclass(frozen=True)
class Healthcheck:
    """How the Engine finds out whether the process is well."""

    #: The Engine's form: ``('CMD', ...)`` or ``('CMD-SHELL', line)``.
    test: tuple[str, ...]
    #: All in nanoseconds; 0 means the Engine's default.
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    retries: int = 0


@dataclasses.dataclass(frozen=True)
class Restart:
    """What the Engine does when the process ends by itself."""

    #: no, on-failure or unless-stopped
    name: str = 'no'
    #: Attempts of on-failure; 0 is without end.
    attempts: int = 0


@dataclasses.dataclass(frozen=True)
class Ulimit:
    """A resource limit of each process; -1 is without limit."""

    name: str
    soft: int
    hard: int


@dataclasses.dataclass(frozen=True)
class GuestFile:
    """A file that the process finds, read-only."""

    target: str
    content: bytes = dataclasses.field(repr=False)
    mode: int = 0o444
    #: None leaves the owner, whom no server knows, or the group.
    uid: int | None = None
    gid: int | None = None


@dataclasses.dataclass(frozen=True)
class TenantSpec:
    """What a tenant asks of a container, validated; nothing is granted."""

    #: In a registry; empty for the server's own image.
    image: str = ''
    #: ``missing``, ``always`` or ``never``.
    pull_policy: str = 'missing'
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    # Values of variables and files may be secret: they are never shown.
    environment: Mapping[str, str] = dataclasses.field(
        default_factory=dict, repr=False)
    #: Variable to the id in Barbican of what it is to hold.
    environment_secrets: Mapping[str, str] = dataclasses.field(
        default_factory=dict)
    working_dir: str | None = None
    user: str | None = None
    group_add: tuple[str, ...] = ()
    tty: bool = False
    stdin_open: bool = False
    init: bool = False
    stop_signal: str | None = None
    #: Whole seconds.
    stop_grace_period: int | None = None
    restart: Restart = Restart()
    healthcheck: Healthcheck | None = None
    read_only: bool = False
    #: Directory to the Engine's options.
    tmpfs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: Bytes.
    shm_size: int | None = None
    ulimits: tuple[Ulimit, ...] = ()
    cap_drop: tuple[str, ...] = ()
    cap_add: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = dataclasses.field(default_factory=dict)
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: Name and address.
    extra_hosts: tuple[tuple[str, str], ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    files: tuple[GuestFile, ...] = ()
    #: Bytes and number; None is the operator's.
    log_max_size: int | None = None
    log_max_files: int | None = None
    #: Bytes.
    mem_reservation: int | None = None
    oom_score_adj: int = 0
    #: Directories with an anonymous volume.
    volumes: tuple[str, ...] = ()
    #: running, healthy, completed or none
    wait_for: str = 'running'
    #: Seconds that spawn may wait for a healthy process.
    wait_timeout: int = 300
    #: What makes the process tell what it does.
    crash_dump_signal: str = 'SIGQUIT'


@dataclasses.dataclass(frozen=True)
class Policy:
    """What the operator's configuration bounds and grants."""

    host: str
    pids_limit: int
    allowed_caps: tuple[str, ...]
    #: The size of one log file, in bytes, and the number kept.
    log_max_size: int
    log_max_files: int
    allow_privileged: bool = False
    allowed_runtimes: tuple[str, ...] = ()
    #: Alias to the path of a device of this host.
    devices: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: Profile name to the seccomp document's text.
    seccomp_profiles: Mapping[str, str] = dataclasses.field(
        default_factory=dict)
    apparmor_profiles: tuple[str, ...] = ()
    #: Bytes.
    shm_max_size: int = 1024 * MIB
    #: Name of a ulimit to the highest hard limit, -1 for any.
    max_ulimits: Mapping[str, int] = dataclasses.field(default_factory=dict)
    #: The Engine can bound a container's root file system.
    disk_quota: bool = False
    #: The GPUs of this host, by identity.
    gpus: tuple[str, ...] = ()
    #: The device that holds the Engine's files, for limits of its rate.
    disk_device: str = ''
    #: Address of a PCI device to its files below /dev.
    pci_files: Mapping[str, tuple[str, ...]] = dataclasses.field(
        default_factory=dict)
    #: Servers that outgrow their disk are stopped.
    disks_watched: bool = True
    #: The CPUs for servers that have none of their own; empty for all.
    shared_cpus: frozenset[int] = frozenset()
    #: Seconds that a process may take to end.
    stop_timeout: int = 60
    #: Seconds that spawn may wait for a healthy process.
    max_wait_timeout: int = 300
    #: Nanoseconds.
    health_min_interval: int = 5 * SECOND
    health_max_timeout: int = 60 * SECOND


@dataclasses.dataclass(frozen=True)
class EngineImage:
    """An image that the Engine has, by content."""

    #: ``sha256:...``: the digest of the image's configuration.
    id: str
    #: What the image runs by default.
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    #: Bytes of its layers, unpacked.
    size: int = 0
    #: ``sha256:...`` of each layer, unpacked, from the lowest up.
    layers: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class StoredImage:
    """A tag of ours, as a list has it."""

    tag: str
    #: ``sha256:...``: the digest of the image's configuration.
    id: str
    #: Bytes of its layers, unpacked.
    size: int


@dataclasses.dataclass(frozen=True)
class Sandbox:
    """A container that holds a server's network namespace."""

    container_id: str
    #: The path of the namespace; changes with each start.
    namespace: str
    running: bool


@dataclasses.dataclass(frozen=True)
class Nic:
    """One network device of a server, as Neutron wants it."""

    port_id: str
    #: The device's name on the host and inside.
    host_end: str
    name: str
    mac: str
    mtu: int
    #: Each with its prefix length.
    addresses: tuple[str, ...] = ()
    #: Destination and next hop; an empty hop is on the link.
    routes: tuple[tuple[str, str], ...] = ()
    #: False where the switch needs packets whose checksums are complete.
    checksum_offload: bool = True


@dataclasses.dataclass(frozen=True)
class Mount:
    """A bind of a file or directory that the driver owns."""

    source: str
    target: str
    read_only: bool = True


@dataclasses.dataclass(frozen=True)
class BlockLimits:
    """How fast the container may use the disk; 0 is without limit."""

    device: str
    #: Bytes and operations per second.
    read_bytes: int = 0
    write_bytes: int = 0
    read_operations: int = 0
    write_operations: int = 0


@dataclasses.dataclass(frozen=True)
class ContainerSpec:
    """All that the Engine needs to know to make one container."""

    name: str
    image: str
    labels: Mapping[str, str]
    network_mode: str
    hostname: str | None
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    environment: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    working_dir: str | None = None
    user: str | None = None
    group_add: tuple[str, ...] = ()
    tty: bool = False
    stdin_open: bool = False
    init: bool = False
    stop_signal: str | None = None
    stop_timeout: int | None = None
    restart: Restart = Restart()
    healthcheck: Healthcheck | None = None
    #: Bytes.
    memory: int = 0
    mem_reservation: int = 0
    #: Bytes of swap beyond the memory.
    swap: int = 0
    #: CPUs times 10**9; 0 leaves it to the shares.
    nano_cpus: int = 0
    cpu_shares: int = 0
    #: Microseconds; only without nano_cpus.
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ''
    cpuset_mems: str = ''
    pids_limit: int = 0
    oom_score_adj: int = 0
    shm_size: int = 0
    ulimits: tuple[Ulimit, ...] = ()
    block_limits: BlockLimits | None = None
    #: Bytes of the root file system; 0 is unbounded.
    disk: int = 0
    privileged: bool = False
    cap_drop: tuple[str, ...] = ('ALL',)
    cap_add: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    runtime: str | None = None
    userns_mode: str = ''
    devices: tuple[str, ...] = ()
    #: Their identities, as the Engine's runtime knows them.
    gpus: tuple[str, ...] = ()
    read_only: bool = False
    mounts: tuple[Mount, ...] = ()
    tmpfs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    volumes: tuple[str, ...] = ()
    #: A digest of what the mounts hold and of the network's settings: they
    #: are the container's too, though the Engine is not told.
    contents: str = ''
    sysctls: Mapping[str, str] = dataclasses.field(default_factory=dict)
    log_max_size: int = MIB
    log_max_files: int = 1


@dataclasses.dataclass(frozen=True)
class RootFs:
    """Where a container's root file system is on the host."""

    #: The storage driver.
    driver: str
    #: What it says: LowerDir, UpperDir, WorkDir for overlay2 ...
    data: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Container:
    """What the Engine says about one container."""

    id: str
    name: str
    labels: Mapping[str, str]
    #: The Engine's word: created, running, paused, restarting, exited ...
    status: str
    exit_code: int = 0
    oom_killed: bool = False
    #: The Engine's words when it could not start the process.
    error: str = ''
    #: starting, healthy, unhealthy; empty without a health check
    health: str = ''
    finished_at: str = ''
    namespace: str = ''
    #: The image's digest.
    image: str = ''
    #: Of the process, in the host's namespace; 0 without one.
    pid: int = 0
    started_at: str = ''
    #: How often its restart policy has started it.
    restarts: int = 0
    #: It has a terminal of its own.
    tty: bool = False
    root: RootFs | None = None


@dataclasses.dataclass(frozen=True)
class DiskUsage:
    """What one server has on its host's disk."""

    instance_uuid: str
    container_id: str
    running: bool
    #: Bytes of what it wrote, its anonymous volumes included.
    size: int
    #: Bytes that it may have; 0 is without bound.
    limit: int

    @property
    def exceeds(self) -> bool:
        """Whether it has more than it may."""
        return 0 < self.limit < self.size


@dataclasses.dataclass(frozen=True)
class Event:
    """One thing that happened to one of our containers."""

    instance_uuid: str
    role: str
    container_id: str
    #: The Engine's word: start, die, oom, pause, unpause, health_status ...
    action: str
    #: Nanoseconds since the epoch, by the Engine's clock.
    time: int
    exit_code: int | None = None
