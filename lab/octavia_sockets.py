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

"""Where Octavia's driver agent listens: one place on a machine.

OVN's provider takes it for granted, so two labs cannot have load balancers at
once, and neither can a lab beside a cloud that has them.
"""

# Not named octavia: the lab's own directory is where lab/serve.py looks for
# the package of that name first.

from __future__ import annotations

from pathlib import Path
import shutil

PLACE = Path('/var/run/octavia')
#: A file below the lab's ``run`` that says that they are the lab's.
_MARK = 'made-octavia'


def claim(run: Path) -> bool:
    """Makes the place anew; false if it is somebody else's.

    :param run: the lab's directory for what runs
    """
    remove(run)
    if PLACE.exists():
        return False
    PLACE.mkdir()
    (run / _MARK).touch()
    return True


def remove(run: Path) -> None:
    """What the lab has left there, by a kill too; another one's stays."""
    mark = run / _MARK
    if mark.exists():
        shutil.rmtree(PLACE, ignore_errors=True)
        mark.unlink()
