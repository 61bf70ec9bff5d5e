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

"""Unpacks what is compressed, piece by piece and within bounds. Pure."""

from __future__ import annotations

import bz2
from collections.abc import Iterator
import lzma
from typing import Protocol
import zlib

from backports import zstd

from nova_docker_driver import errors
from nova_docker_driver import imagemodels
from nova_docker_driver import models

#: Bytes that are handed on at once.
_PIECE = 256 * 1024

#: A few bytes may stand for many: a ratio means nothing before so many.
_RATIO_FREE = 16 * models.MIB

#: Bytes that a decoder gets at once: what it does not use, it copies.
_SLICE = 16 * 1024

#: Tools that compress in pieces write one such stream at the end.
_EMPTY_STREAMS = 1000

_MAGIC = ((b'\x1f\x8b\x08', 'gzip'), (b'BZh', 'bzip2'),
          (b'\xfd7zXZ\0', 'xz'), (b'\x28\xb5\x2f\xfd', 'zstd'))
_LONGEST_MAGIC = 6

#: What xz needs besides its window.
_XZ_OVERHEAD = 2 * models.MIB


class _Decoder(Protocol):
    """What the decoders of the standard library have in common."""

    @property
    def eof(self) -> bool:
        ...

    @property
    def needs_input(self) -> bool:
        ...

    @property
    def unused_data(self) -> bytes:
        ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        ...


class Unpacker:
    """One stream, compressed or not; which it is, its first bytes tell."""

    def __init__(self, bounds: imagemodels.ImageBounds) -> None:
        self._bounds = bounds
        self._head = b''
        self._decoder: _Decoder | None = None
        #: ``''`` for what is not compressed; None until it is known.
        self.method: str | None = None
        self._nothing = 0
        self._given_before = 0
        self.taken = 0
        self.given = 0

    def feed(self, piece: bytes | memoryview) -> Iterator[bytes | memoryview]:
        """What the next bytes stand for, in pieces that are bounded too.

        :raises InvalidImage: if they are broken, or stand for too many
        """
        self.taken += len(piece)
        if self.method is None:
            self._head += piece
            if len(self._head) < _LONGEST_MAGIC:
                return
            piece, self._head = self._head, b''
            self.method = compression(piece)
        if not self.method:
            self.given += len(piece)
            yield piece
            return
        packed = bytes(piece)
        for at in range(0, len(packed), _SLICE):
            for plain in self._unpack(packed[at:at + _SLICE]):
                self.given += len(plain)
                if self.given > max(_RATIO_FREE,
                                    self.taken * self._bounds.ratio):
                    raise errors.InvalidImage(
                        'it is compressed by more than '
                        f'{self._bounds.ratio}:1')
                yield plain

    def finish(self) -> Iterator[bytes]:
        """What is left.

        :raises InvalidImage: if the stream ends in the middle
        """
        if self.method is None and self._head:
            self.method, self.given = '', len(self._head)
            yield self._head
        if self._decoder is not None and not self._decoder.eof:
            raise errors.InvalidImage('it ends in the middle')

    def _unpack(self, data: bytes) -> Iterator[bytes]:
        while True:
            if self._decoder is None or self._decoder.eof:
                # What follows is another stream of the same kind, or zeros
                # that fill a block.
                data = data.lstrip(b'\0') if self._decoder else data
                if not data:
                    return
                self._count_stream()
                self._decoder = _decoder(self.method or '', self._bounds)
            try:
                plain = self._decoder.decompress(data, _PIECE)
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError,
                    zstd.ZstdError, MemoryError) as error:
                raise errors.InvalidImage(
                    f'its {self.method} compression is broken, or needs more '
                    f'memory than {self._bounds.window} bytes: {error}'
                ) from error
            data = self._decoder.unused_data if self._decoder.eof else b''
            if plain:
                yield plain
            if not self._decoder.eof and self._decoder.needs_input:
                return

    def _count_stream(self) -> None:
        """:raises InvalidImage: if too many of them stand for nothing"""
        self._nothing += self.given == self._given_before
        self._given_before = self.given
        if self._nothing > _EMPTY_STREAMS:
            raise errors.InvalidImage(
                f'its {self.method} compression is of empty streams')


def compression(head: bytes | memoryview) -> str:
    """How a stream that begins so is compressed; empty if it is not."""
    for magic, method in _MAGIC:
        if head[:len(magic)] == magic:
            return method
    return ''


def declared_size(head: bytes | memoryview) -> int | None:
    """The bytes that a zstd stream says it stands for, where it says so."""
    try:
        return zstd.get_frame_info(bytes(head)).decompressed_size
    except zstd.ZstdError:
        return None


def _decoder(method: str, bounds: imagemodels.ImageBounds) -> _Decoder:
    match method:
        case 'gzip':
            return _Gzip()
        case 'bzip2':
            return bz2.BZ2Decompressor()
        case 'xz':
            return lzma.LZMADecompressor(
                lzma.FORMAT_XZ, memlimit=bounds.window + _XZ_OVERHEAD)
        case _:
            return zstd.ZstdDecompressor(options={
                zstd.DecompressionParameter.window_log_max:
                    bounds.window.bit_length() - 1})


class _Gzip:
    """zlib's decoder with the interface of the others."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    @property
    def needs_input(self) -> bool:
        # It may hold back what went beyond the last length, with no input
        # left over.
        return not self._zlib.unconsumed_tail and not self._full

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        found = self._zlib.decompress(
            self._zlib.unconsumed_tail + data, max_length)
        self._full = len(found) == max_length
        return found
