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
import dataclasses
import math
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
_TOO_OLD = 30.0


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


@dataclasses.dataclass
class _Answer:
    ids: frozenset[str] | None = None
    #: Seconds: when it came, and when it is to be asked for again.
    came: float = -math.inf
    until: float = -math.inf
    being_asked: bool = False


class Shared:
    """Answers that all threads of a service share for a moment.

    Nobody waits for a question of another thread: who asks one may hang.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        """Knows nothing yet.

        :param clock: answers seconds
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._answers: dict[Hashable, _Answer] = {}

    def ids(self, question: Hashable,
            ask: Callable[[], Iterable[str] | None]
            ) -> frozenset[str] | None:
        """The answer of a second ago, or a new one that others share then.

        :param ask: answers None if there is no answer
        :returns: None if there is no answer, or only one that is too old
        """
        began = self._clock()
        with self._lock:
            self._forget(began)
            answer = self._answers.setdefault(question, _Answer())
            if began < answer.until or answer.being_asked:
                return answer.ids if (
                    began < answer.came + _TOO_OLD) else None
            answer.being_asked = True
        found = None
        try:
            asked = ask()
            found = None if asked is None else frozenset(asked)
        finally:
            now = self._clock()
            rest = min(max(_STEP, _REST * (now - began)), _LONGEST)
            with self._lock:
                self._answers[question] = _Answer(found, now, now + rest)
        return found

    def _forget(self, now: float) -> None:
        for question, answer in tuple(self._answers.items()):
            if not answer.being_asked and answer.until < now - _TOO_OLD:
                del self._answers[question]
