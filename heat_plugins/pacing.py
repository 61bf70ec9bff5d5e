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

"""How often that which takes long is looked at. Pure, but for the clock."""

from __future__ import annotations

from collections.abc import Callable
import time

#: Heat asks each of its resources once a second.
_STEP = 1.0
_LONGEST = 15.0
#: Waiting takes an eighth longer than needed at most.
_FRACTION = 8


class Pace:
    """Says whether to look again: the longer it takes, the more seldom.

    Of hundreds of containers that come into being at once, Nova would have to
    answer questions about them and would not get to making them.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begins now.

        :param clock: answers seconds
        """
        self._clock = clock
        self._began = self._looked = clock()

    def is_due(self) -> bool:
        """Whether to look now; it is taken for done then."""
        now = self._clock()
        gap = min((now - self._began) / _FRACTION, _LONGEST)
        if _STEP < gap and now - self._looked < gap:
            return False
        self._looked = now
        return True
