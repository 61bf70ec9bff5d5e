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

"""Reads the files in which Docker's own tools keep registry credentials."""

from __future__ import annotations

from collections.abc import Mapping
import json
from typing import Any

import docker.auth
import docker.errors

from nova_docker_driver import errors

_HUB = 'https://index.docker.io/v1/'


def read(path: str, domain: str) -> Mapping[str, Any]:
    """What a registry wants, of a ``config.json``; empty if it has nothing.

    A credential helper that the file names is asked.

    :raises CredentialsUnavailable: if the file or the helper does not work
    """
    try:
        # Opened here: the SDK takes other files where this one is missing.
        with open(path) as file:
            content = json.load(file)
        if not content:
            return {}
        found = docker.auth.load_config(config_dict=content)
        return found.resolve_authconfig(
            _HUB if domain == 'docker.io' else domain) or {}
    except (docker.errors.DockerException, OSError, ValueError) as error:
        raise errors.CredentialsUnavailable(
            f'the credentials for {domain} cannot be read: {error}'
        ) from error
