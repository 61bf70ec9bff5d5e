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

"""Chunks as a file object. Pure."""

from __future__ import annotations

from collections.abc import Iterator
import io


class Stream(io.RawIOBase):
    """A file object over chunks, as clients of Glance read it."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._rest = b''

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """As a file's: all of it, or at most so many bytes."""
        if size is None or size < 0:
            rest, self._rest = self._rest, b''
            return rest + b''.join(self._chunks)
        while not self._rest:
            try:
                self._rest = next(self._chunks)
            except StopIteration:
                return b''
        found, self._rest = self._rest[:size], self._rest[size:]
        return found
