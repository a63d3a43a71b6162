"""Bytes of the protocol: numbers, texts, options and frames. No sockets, and nothing of what messages mean."""

from __future__ import annotations

from typing import Dict, Iterator, NamedTuple, Tuple

from ..errors import ProtocolError, RequestTooLarge

HEADER = 9
"""Bytes of a frame before its payload: length u32, kind u8, request number u32."""

FRAME_MAX = 64 << 20
"""The longest answer that is taken before the daemon has told its limit, and the least that is taken after it."""

_MUST = 0x80
_LENGTH_FOLLOWS = 255


class Frame(NamedTuple):
    """A whole frame."""

    kind: int
    number: int
    payload: bytes


def frame(kind: int, number: int, payload: bytes, limit: int = FRAME_MAX) -> bytes:
    """A frame as it is sent.

    Raises `RequestTooLarge` if what follows the length has more than `limit` bytes.
    """
    length = HEADER - 4 + len(payload)
    if length > limit:
        raise RequestTooLarge(length, limit)
    return length.to_bytes(4, "little") + bytes((kind,)) + number.to_bytes(4, "little") + payload


class Frames:
    """Cuts what comes from a socket into frames, however it is divided."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.limit = FRAME_MAX

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete with `data`. All of them must be taken before it is fed again.

        Raises `ProtocolError` for an impossible length: nothing behind it can be read.
        """
        self._buffer += data
        at = 0
        try:
            while len(self._buffer) - at >= 4:
                length = int.from_bytes(self._buffer[at : at + 4], "little")
                if not HEADER - 4 <= length <= self.limit:
                    raise ProtocolError(f"a frame of {length} bytes: it must have {HEADER - 4} to {self.limit}")
                end = at + 4 + length
                if len(self._buffer) < end:
                    break
                payload = bytes(self._buffer[at + HEADER : end])
                number = int.from_bytes(self._buffer[at + 5 : at + HEADER], "little")
                kind = self._buffer[at + 4]
                at = end
                yield Frame(kind, number, payload)
        finally:
            del self._buffer[:at]

    @property
    def is_cut(self) -> bool:
        """Whether there is a part of a frame."""
        return bool(self._buffer)


def uint(value: int, size: int, what: str) -> bytes:
    """A number of `size` bytes. Raises `ValueError` if it does not fit."""
    if not 0 <= value < 1 << (8 * size):
        raise ValueError(f"{what} is {value}: it must be from 0 to {(1 << (8 * size)) - 1}")
    return value.to_bytes(size, "little")


class Writer:
    """Puts a payload together. Everything raises `ValueError` for what has no place in it."""

    def __init__(self) -> None:
        self._out = bytearray()

    def u8(self, value: int, what: str) -> Writer:
        return self.raw(uint(value, 1, what))

    def u16(self, value: int, what: str) -> Writer:
        return self.raw(uint(value, 2, what))

    def u32(self, value: int, what: str) -> Writer:
        return self.raw(uint(value, 4, what))

    def u64(self, value: int, what: str) -> Writer:
        return self.raw(uint(value, 8, what))

    def raw(self, data: bytes) -> Writer:
        self._out += data
        return self

    def text(self, value: str, what: str) -> Writer:
        data = value.encode()
        return self.u16(len(data), f"the length of {what}").raw(data)

    def blob(self, value: bytes, what: str) -> Writer:
        return self.u32(len(value), f"the length of {what}").raw(value)

    def option(self, number: int, value: bytes, must: bool = False) -> Writer:
        """An option; `must` if whoever does not know it must refuse."""
        self._out.append(number | (_MUST if must else 0))
        if len(value) < _LENGTH_FOLLOWS:
            self._out.append(len(value))
        else:
            self._out.append(_LENGTH_FOLLOWS)
            self.u32(len(value), "the length of an option")
        return self.raw(value)

    def number(self, number: int, value: int, what: str, must: bool = False) -> Writer:
        """An option whose value is a number, in as many bytes as it needs."""
        return self.option(number, uint(value, 8, what).rstrip(b"\0"), must)

    def end(self) -> Writer:
        """Ends the options."""
        self._out.append(0)
        return self

    def done(self) -> bytes:
        return bytes(self._out)


class Reader:
    """Takes a payload apart. Everything raises `ProtocolError` for what is cut off or cannot be."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def raw(self, length: int, what: str) -> bytes:
        end = self._at + length
        if end > len(self._data):
            raise ProtocolError(f"the daemon's answer is cut off in {what}")
        part = self._data[self._at : end]
        self._at = end
        return part

    def _uint(self, size: int, what: str) -> int:
        return int.from_bytes(self.raw(size, what), "little")

    def u8(self, what: str) -> int:
        return self._uint(1, what)

    def u16(self, what: str) -> int:
        return self._uint(2, what)

    def u32(self, what: str) -> int:
        return self._uint(4, what)

    def u64(self, what: str) -> int:
        return self._uint(8, what)

    def text(self, what: str) -> str:
        return utf8(self.raw(self.u16(what), what), what)

    def blob(self, what: str) -> bytes:
        return self.raw(self.u32(what), what)

    def rest(self) -> bytes:
        return self.raw(len(self._data) - self._at, "the rest")

    @property
    def is_empty(self) -> bool:
        return self._at == len(self._data)

    def count(self, least: int, what: str) -> int:
        """A number of things of at least so many bytes, all of which must be there."""
        count = self.u32(f"the number of {what}")
        if count * least > len(self._data) - self._at:
            raise ProtocolError(f"the daemon's answer is cut off: {count} {what} have no place in it")
        return count

    def options(self, known: Tuple[int, ...], what: str) -> Dict[int, bytes]:
        """Options, those of them that are known. Others are skipped, unless they must be understood."""
        found: Dict[int, bytes] = {}
        last = 0
        while True:
            tag = self.u8("the options")
            if tag == 0:
                return found
            number = tag & ~_MUST
            if number <= last:
                raise ProtocolError(f"option {number} of {what} follows option {last}: numbers must rise")
            last = number
            length = self.u8("the length of an option")
            if length == _LENGTH_FOLLOWS:
                length = self.u32("the length of an option")
            value = self.raw(length, "an option")
            if number in known:
                found[number] = value
            elif tag & _MUST:
                raise ProtocolError(
                    f"option {number} of {what} must be understood, and is not known here: update this program"
                )

    def end(self, what: str) -> None:
        """The end of a payload: options of which none is known here, or nothing."""
        if not self.is_empty:
            self.options((), what)
        if not self.is_empty:
            raise ProtocolError(f"{what} has {len(self._data) - self._at} bytes too many")


def utf8(data: bytes, what: str) -> str:
    """Bytes as a text. Raises `ProtocolError`."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ProtocolError(f"{what} is not UTF-8") from None


def number(value: bytes, what: str) -> int:
    """The value of an option as a number. Raises `ProtocolError`."""
    if len(value) > 8:
        raise ProtocolError(f"{what} has {len(value)} bytes: a number has at most 8")
    return int.from_bytes(value, "little")
