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
class TenantSpec:
    """What a tenant asks of a container, validated; nothing is granted."""

    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    working_dir: str | None = None
    user: str | None = None
    healthcheck: Healthcheck | None = None
    #: running, healthy, completed or none
    wait_for: str = 'running'
    #: Seconds that spawn may wait for a healthy process.
    wait_timeout: int = 300


@dataclasses.dataclass(frozen=True)
class Policy:
    """What the operator's configuration bounds and grants."""

    host: str
    pids_limit: int
    allowed_caps: tuple[str, ...]
    #: The size of one log file, in bytes, and the number kept.
    log_max_size: int
    log_max_files: int


@dataclasses.dataclass(frozen=True)
class EngineImage:
    """An image that the Engine has, by content."""

    #: ``sha256:...``: the digest of the image's configuration.
    id: str
    #: What the image runs by default.
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


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
    """A read-only bind of a file that the driver owns."""

    source: str
    target: str


@dataclasses.dataclass(frozen=True)
class ContainerSpec:
    """All that the Engine needs to know to make one container."""

    name: str
    image: str
    labels: Mapping[str, str]
    network_mode: str
    hostname: str | None
    entrypoint: tuple[str, ...] | None
    command: tuple[str, ...] | None
    environment: tuple[str, ...]
    working_dir: str | None
    user: str | None
    healthcheck: Healthcheck | None
    #: Bytes.
    memory: int
    #: Bytes of swap beyond the memory.
    swap: int
    #: CPUs times 10**9.
    nano_cpus: int
    pids_limit: int
    cap_drop: tuple[str, ...]
    cap_add: tuple[str, ...]
    security_opt: tuple[str, ...]
    mounts: tuple[Mount, ...]
    sysctls: Mapping[str, str]
    log_max_size: int
    log_max_files: int


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


@dataclasses.dataclass(frozen=True)
class EngineFacts:
    """What the Engine says about itself and its host."""

    #: Its release, as in ``20.10.24+dfsg1``.
    version: str
    #: The directory of its images and containers.
    root_dir: str
    architecture: str
    cpus: int
    #: Bytes.
    memory: int


@dataclasses.dataclass(frozen=True)
class HostFacts:
    """What a compute host has, as its operating system and Engine say."""

    hostname: str
    architecture: str
    cpus: int
    cpu_model: str
    memory_mib: int
    memory_used_mib: int
    disk_gib: int
    disk_used_gib: int
    #: The Engine's release, as in ``20.10.24+dfsg1``.
    engine_version: str
