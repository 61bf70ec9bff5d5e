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

"""What the kernel of this machine has for the lab's network."""

from __future__ import annotations

import functools
from pathlib import Path
import shutil
import subprocess

_MODULE = Path('/sys/module/openvswitch')


@functools.cache
def datapath() -> str:
    """Open vSwitch's datapath: the kernel's where there is one.

    Open vSwitch itself accepts ``system`` without a word where there is none.
    """
    if not _MODULE.exists() and shutil.which('modprobe'):
        subprocess.run(['modprobe', '--quiet', 'openvswitch'], check=False)
    return 'system' if _MODULE.exists() else 'netdev'
