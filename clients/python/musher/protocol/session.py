"""One connection without its socket: requests become bytes, bytes become answers, each for the request it belongs to."""

from __future__ import annotations

from typing import Any, Callable, Dict, Generic, Iterator, List, Optional, Tuple, TypeVar, Union

from ..errors import Disconnected, MusherError, NoAnswer, ProtocolError, Refused
from ..model import Limits, Notice
from . import answers, requests
from .requests import Request
from .wire import FRAME_MAX, Frame, Frames, frame

W = TypeVar("W")

# Answers that more answers to the same request follow.
_MORE = {
    requests.SUBMIT_AND_WAIT: (answers.SUBMITTED, answers.RECEIVED),
    requests.LOGS: (answers.OUTPUT,),
    requests.CHANGES: (answers.CHANGES,),
    requests.BACKUP: (answers.PIECE,),
}


class Told(Exception):
    """The daemon has said why it closes the connection."""


class Session(Generic[W]):
    """Numbers requests and finds who waits for an answer. `W` is whatever waits; the session only keeps it."""

    def __init__(self) -> None:
        self._frames = Frames()
        self._waiting: Dict[int, Tuple[Request[Any], W]] = {}
        self._last = 0
        self._frame_max = FRAME_MAX

    def send(self, request: Request[Any], who: W) -> Tuple[int, bytes]:
        """The request's number, and what to write.

        Raises `RequestTooLarge` if the daemon would not take it.
        """
        number = self._last % 0xFFFFFFFF + 1
        while number in self._waiting:
            number = number % 0xFFFFFFFF + 1
        data = frame(request.kind, number, request.payload, self._frame_max)
        self._last = number
        self._waiting[number] = (request, who)
        return number, data

    def greeted(self, limits: Limits) -> None:
        """The daemon has told its limits."""
        self._frame_max = limits.frame
        self._frames.limit = max(limits.frame, FRAME_MAX)

    def feed(self, data: bytes) -> Iterator[Tuple[Optional[W], Any]]:
        """What came: who waits for it, and the answer or an exception; or None and a notice.

        Raises `ProtocolError` or `Told` if nothing behind it can be read; then the connection must be closed.
        """
        for part in self._frames.feed(data):
            if part.number == 0:
                told = self._unasked(part)
                if told is not None:
                    yield None, told
                continue
            waiting = self._waiting.get(part.number)
            if waiting is None:
                continue  # Nobody waits for it any more.
            request, who = waiting
            if part.kind not in _MORE.get(request.kind, ()):
                del self._waiting[part.number]
            yield who, read(request, part)

    def take(self, data: bytes) -> Tuple[List[Tuple[Optional[W], Any]], Optional[Exception]]:
        """The same at once: what came, and why nothing behind it can be read, if so."""
        came = []
        try:
            for one in self.feed(data):
                came.append(one)
        except (ProtocolError, Told) as error:
            return came, error
        return came, None

    def _unasked(self, part: Frame) -> Optional[Notice]:
        if part.kind != answers.ERROR:
            try:
                return answers.notice(part.kind, part.payload)
            except ProtocolError:
                return None  # A newer form of it is one that is not known.
        raise Told(str(answers.error(part.payload)))

    def ended(self, why: Optional[BaseException] = None) -> Tuple[Callable[[], MusherError], List[W]]:
        """The socket has ended: what makes the error for each who still waits, and who they are."""
        who = [who for _, who in self._waiting.values()]
        self._waiting.clear()
        text = "" if why is None else str(why)
        if isinstance(why, ProtocolError):
            return lambda: ProtocolError(text), who
        if isinstance(why, NoAnswer):
            return lambda: NoAnswer(text), who
        if why is None and self._frames.is_cut:
            text = "it is cut off in the middle of a message"
        return lambda: Disconnected(text), who


def read(request: Request[Any], part: Frame) -> Union[Any, MusherError]:
    """The answer to a request, or the exception that its caller gets."""
    try:
        if part.kind == answers.ERROR:
            return answers.error(part.payload)
        return request.read(part.kind, part.payload)
    except ProtocolError as error:
        return error


def check_welcome(welcome: answers.Welcome) -> answers.Welcome:
    """Raises `Refused` if the daemon takes another version."""
    if welcome.version != requests.VERSION:
        raise Refused(
            2, f"the daemon speaks version {welcome.version} of the protocol, this program {requests.VERSION}"
        )
    return welcome
