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

"""The values that a Compose file is read into."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from typing import Any

STARTED, HEALTHY, COMPLETED = CONDITIONS = (
    'service_started', 'service_healthy', 'service_completed_successfully')

#: Of a form that only Compose itself reads.
NORMALISE = ('not in the normalised form; convert the file with '
             'nova-docker-compose, or print it with docker compose config')


@dataclasses.dataclass(frozen=True)
class Problem:
    """What cannot be honoured."""

    #: As ``services.web.privileged``.
    where: str
    reason: str

    def __str__(self) -> str:
        return f'{self.where}: {self.reason}'


class Refused(ValueError):
    """A document that cannot be honoured, with all that is wrong."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__('; '.join(map(str, problems)))
        self.problems = problems


@dataclasses.dataclass(frozen=True)
class Port:
    """A range of ports that a service listens on."""

    first: int
    last: int
    protocol: str = 'tcp'
    #: The port that the world knows it by; 0 if the world does not.
    published: int = 0


@dataclasses.dataclass(frozen=True)
class Attachment:
    """A service on a network."""

    network: str
    addresses: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    priority: int = 0


@dataclasses.dataclass(frozen=True)
class Volume:
    """A named volume at a place of a service."""

    name: str
    target: str
    read_only: bool = False


@dataclasses.dataclass(frozen=True)
class Service:
    """One service."""

    name: str
    #: Properties of a container, as the resource names them.
    properties: Mapping[str, Any]
    image: str = ''
    attachments: tuple[Attachment, ...] = ()
    ports: tuple[Port, ...] = ()
    volumes: tuple[Volume, ...] = ()
    #: Name of a service to a condition.
    depends_on: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: Further names of other services, by service.
    links: Mapping[str, tuple[str, ...]] = dataclasses.field(
        default_factory=dict)
    hostname: str = ''
    replicas: int = 1
    #: It says how many there are, so the number may change.
    scaled: bool = False
    #: What it may have at most; 0 if it says nothing.
    cpus: float = 0
    memory_mb: int = 0
    flavor: str = ''
    #: Replicas that are changed at a time, and the seconds between.
    parallelism: int = 1
    delay: int = 0
    start_first: bool = False
    one_per_host: bool = False
    builds: bool = False


@dataclasses.dataclass(frozen=True)
class Network:
    """A network of the document."""

    name: str
    #: The name of one that is there already.
    external: str = ''
    #: Nothing leads out of it.
    internal: bool = False
    #: Of its subnets; empty where Neutron may choose.
    cidrs: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Document:
    """All of a Compose file."""

    services: Mapping[str, Service]
    networks: Mapping[str, Network]
    #: Name to the size in GiB, or to the name of one that is there.
    volumes: Mapping[str, int | str]
    #: Name of a parameter to a value that must not be seen.
    secrets: Mapping[str, str]
    warnings: tuple[Problem, ...] = ()
