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

"""Heat's words to Nova's and back: pure functions.

The properties of a container become the ``user_data`` that the driver reads;
a server's status and metadata become progress.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import hashlib
import json
from typing import Any

#: First line of a user_data that is a container specification.
HEADER = '#docker-config'

#: Nova accepts 65535 characters of base64.
MAXIMUM_SIZE = 65535 // 4 * 3

#: Server metadata that the driver and this plugin write.
RESERVED_PREFIXES = ('docker:', 'heat:')
EXIT_CODE = 'docker:exit_code'
HEALTH = 'docker:health'
RESOURCE_KEY = 'heat:resource_uuid'

RUNNING, HEALTHY, COMPLETED, NONE = WAITS = (
    'running', 'healthy', 'completed', 'none')

#: Properties that go into the specification under the same name.
SPEC_PROPERTIES = ('command', 'entrypoint', 'environment', 'working_dir',
                   'user', 'healthcheck')


def specification(properties: Mapping[str, Any]) -> str:
    """The user_data that asks for what the properties say.

    Equal properties give equal text.
    """
    document = {name: _given(properties[name]) for name in SPEC_PROPERTIES
                if properties.get(name) is not None}
    document['x-nova'] = {'wait_for': properties['wait_for'],
                          'wait_timeout': properties['wait_timeout']}
    # JSON is YAML; sorted, so that a digest of it means something.
    return f'{HEADER}\n{json.dumps(document, sort_keys=True, indent=1)}\n'


def digest(text: str) -> str:
    """The digest of a specification."""
    return hashlib.sha256(text.encode()).hexdigest()


def _given(value: Any) -> Any:
    """The value without the parts that were not given."""
    if isinstance(value, Mapping):
        return {key: entry for key, entry in value.items()
                if entry is not None}
    return value


def merged_metadata(current: Mapping[str, str], wanted: Mapping[str, str]
                    ) -> tuple[dict[str, str], list[str]]:
    """What to set and what to delete, leaving the reserved keys alone."""
    stale = [key for key in current
             if key not in wanted and not is_reserved(key)]
    return dict(wanted), sorted(stale)


def is_reserved(key: str) -> bool:
    """Whether only the driver and this plugin may write the key."""
    return key.startswith(RESERVED_PREFIXES)


def own_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata that a template has a say in."""
    return {key: value for key, value in metadata.items()
            if not is_reserved(key)}


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a container is on its way to what is waited for."""

    done: bool = False
    #: Why it will never get there.
    failure: str = ''


def exit_code(metadata: Mapping[str, str]) -> int | None:
    """The exit code of the process; None while there is none."""
    try:
        return int(metadata[EXIT_CODE])
    except (KeyError, ValueError):
        return None


def progress(status: str, metadata: Mapping[str, str], wait_for: str
             ) -> Progress:
    """What a server's status means to who waits for it.

    ERROR is not among the answers: why it is decides there.
    """
    code = exit_code(metadata)
    if status == 'ACTIVE':
        # The driver lets a server become ACTIVE only when it is healthy, if
        # that was asked for; a job is only begun by then.
        return Progress(done=wait_for != COMPLETED)
    if status != 'SHUTOFF':
        return Progress()
    if wait_for == NONE or (wait_for == COMPLETED and code == 0):
        return Progress(done=True)
    if code is None:
        return Progress(failure='the process was stopped')
    return Progress(failure=f'the process ended with exit code {code}')


def is_final(fault: str, server_id: str) -> bool:
    """Whether Nova gave up a build for a reason that no retry changes."""
    return fault.startswith(f'Build of instance {server_id} aborted')
