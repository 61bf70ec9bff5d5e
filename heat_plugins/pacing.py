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

"""How that which takes long is waited for. Pure, but for the clock.

Heat looks at each of its resources once a second. Of hundreds of containers
that come into being at once, Nova would have to answer questions about each
and would not get to making them. So all who wait share one short question:
who is still there; and the long one, about a single server, is asked the
more seldom the longer it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
import threading
import time

Clock = Callable[[], float]

#: Heat asks each of its resources once a second.
_STEP = 1.0
_LONGEST = 15.0
#: Waiting takes an eighth longer than needed at most.
_FRACTION = 8
#: Of the time that an answer took, until the question is asked again.
_REST = 4


class Pace:
    """Says whether to look again: the longer it takes, the more seldom."""

    def __init__(self, least: float = _STEP, clock: Clock = time.monotonic
                 ) -> None:
        """Begins now.

        :param least: seconds between two looks at least
        :param clock: answers seconds
        """
        self._least = least
        self._clock = clock
        self._began = self._looked = clock()

    def is_due(self) -> bool:
        """Whether to look now; it is taken for done then."""
        now = self._clock()
        gap = max(self._least,
                  min((now - self._began) / _FRACTION, _LONGEST))
        if _STEP < gap and now - self._looked < gap:
            return False
        self._looked = now
        return True


class Shared:
    """Answers that all threads of a service share for a moment."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        """Knows nothing yet.

        :param clock: answers seconds
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[Hashable, tuple[float, frozenset[str]]] = {}

    def ids(self, question: Hashable, ask: Callable[[], Iterable[str]]
            ) -> frozenset[str]:
        """The answer of a second ago, or a new one that others share then."""
        with self._lock:
            now = self._clock()
            self._known = {key: entry for key, entry in self._known.items()
                           if now < entry[0]}
            if question not in self._known:
                found = frozenset(ask())
                done = self._clock()
                rest = max(_STEP, _REST * (done - now))
                self._known[question] = done + rest, found
            return self._known[question][1]
