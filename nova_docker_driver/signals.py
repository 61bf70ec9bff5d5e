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

"""Signals to processes inside of containers, which are other users'."""

from __future__ import annotations

import os
from pathlib import Path
import signal

from nova_docker_driver import netns


@netns.context.entrypoint
def hang_up(pid: int, container_id: str, proc: str = '/proc') -> None:
    """Tells a process that its terminal is gone; nothing if it is too.

    :param pid: in the host's namespace, as the Engine told a moment ago
    :param container_id: whose control group it is in; another process that
        has got the same number since is not in there
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if container_id in Path(f'{proc}/{pid}/cgroup').read_text():
            signal.pidfd_send_signal(handle, signal.SIGHUP)
    except (FileNotFoundError, ProcessLookupError):
        return
    finally:
        os.close(handle)
