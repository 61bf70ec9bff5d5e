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

"""One piece of work for all who want its result at the same time."""

from __future__ import annotations

from collections.abc import Callable
import concurrent.futures
import threading
import time
from typing import Generic, TypeVar

Result = TypeVar('Result')

#: Raises what says why the result is not wanted any more.
CheckWanted = Callable[[], None]

#: Seconds between two looks whether anybody still wants it.
_LOOK = 2.0


class Flight(Generic[Result]):
    """Work that has begun and has not ended."""

    def __init__(self) -> None:
        self.future: concurrent.futures.Future[Result] = (
            concurrent.futures.Future())
        self.wanted: list[CheckWanted] = []
        self._looked = time.monotonic()

    def check(self) -> None:
        """To be called now and then by the work.

        :raises Exception: what the last of those who wait has raised, if
            none of them wants the result any more
        """
        if time.monotonic() - self._looked < _LOOK:
            return
        self._looked = time.monotonic()
        reason: Exception | None = None
        for check_wanted in tuple(self.wanted):
            try:
                check_wanted()
                return
            except Exception as error:
                reason = error
        if reason is not None:
            raise reason


class Flights(Generic[Result]):
    """Work by what it is about."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[str, Flight[Result]] = {}

    def share(self, key: str, check_wanted: CheckWanted,
              work: Callable[[Flight[Result]], Result]) -> Result:
        """What the work answers or raises, for all who ask meanwhile.

        Whoever asks first does it.
        """
        with self._lock:
            flight = self._flights.get(key)
            leads = flight is None
            if flight is None:
                flight = self._flights[key] = Flight()
            flight.wanted.append(check_wanted)
        if leads:
            self._fly(key, flight, work)
        return flight.future.result()

    def _fly(self, key: str, flight: Flight[Result],
             work: Callable[[Flight[Result]], Result]) -> None:
        try:
            result = work(flight)
        except BaseException as error:
            self._land(key)
            flight.future.set_exception(error)
        else:
            self._land(key)
            flight.future.set_result(result)

    def _land(self, key: str) -> None:
        # First: whoever comes from now on begins anew.
        with self._lock:
            del self._flights[key]
