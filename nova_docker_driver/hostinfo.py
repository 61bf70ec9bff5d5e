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

"""Reads what the compute host has: from the Engine and from the kernel."""

from __future__ import annotations

import platform
import time

import psutil

from nova_docker_driver import engine
from nova_docker_driver import models

_GIB = 1024 ** 3

#: Seconds for which the Engine's own facts are taken for unchanged: Nova
#: asks at each claim, and they change with a restart of the Engine only.
_FACTS_AGE = 60


class HostInfo:
    """The facts of one host."""

    def __init__(self, engine_port: engine.Engine) -> None:
        self._engine = engine_port
        self._facts: models.EngineFacts | None = None
        self._read_at = 0.0

    def read(self, hostname: str) -> models.HostFacts:
        """The facts, now.

        :param hostname: the node's name in Nova
        :raises EngineUnavailable: if the Engine does not answer
        """
        facts = self._engine_facts()
        memory = psutil.virtual_memory()
        disk = psutil.disk_usage(facts.root_dir)
        return models.HostFacts(
            hostname=hostname, architecture=facts.architecture,
            cpus=facts.cpus, cpu_model=platform.processor(),
            memory_mib=facts.memory // models.MIB,
            memory_used_mib=(memory.total - memory.available) // models.MIB,
            disk_gib=disk.total // _GIB, disk_used_gib=disk.used // _GIB,
            engine_version=facts.version)

    def _engine_facts(self) -> models.EngineFacts:
        now = time.monotonic()
        if self._facts is None or now - self._read_at > _FACTS_AGE:
            self._facts, self._read_at = self._engine.facts(), now
        return self._facts
