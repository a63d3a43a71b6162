"""A socket with a thread that reads it: any number of threads may ask at a time, and each gets its own answer."""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
from typing import Any, Callable, Iterator, Optional, TypeVar

from .errors import ConnectError, Disconnected, MusherError, NoAnswer
from .model import Notice
from .protocol import requests
from .protocol.answers import Welcome
from .protocol.requests import Request
from .protocol.session import Session, Told, check_welcome

T = TypeVar("T")
Sink = Callable[[Any], None]
"""Gets an answer or an exception, in the thread that reads: it must not block."""

_CHUNK = 256 << 10


def dial(path: str, timeout: Optional[float]) -> socket.socket:
    """A socket that is connected. Raises `ConnectError`."""
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        raw.settimeout(timeout)
        raw.connect(path)
    except OSError as error:
        raw.close()
        raise ConnectError(path, error.strerror or error) from error
    return raw


class Connection:
    """One connection, greeted. `timeout`: seconds that the greeting may take, and each write."""

    def __init__(
        self,
        path: str,
        name: str,
        timeout: Optional[float],
        on_notice: Optional[Callable[[Notice], None]] = None,
        on_end: Optional[Callable[[], None]] = None,
    ) -> None:
        self._on_notice = on_notice
        self._on_end = on_end
        self._why: Optional[BaseException] = None
        self._session: Session[Sink] = Session()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._gone: Optional[Callable[[], MusherError]] = None
        self._socket = dial(path, timeout)
        self._socket.settimeout(None)
        if timeout:
            # A daemon that stands still must not hold up who writes either.
            limit = struct.pack("ll", int(timeout), int(timeout % 1 * 1_000_000))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._reader = threading.Thread(target=self._read, name="musher connection", daemon=True)
        self._reader.start()
        try:
            self.welcome: Welcome = check_welcome(self.ask(requests.hello(name), timeout))
        except BaseException:
            self.close()
            raise
        with self._lock:
            self._session.greeted(self.welcome.limits)

    @property
    def is_open(self) -> bool:
        """Whether it has not ended yet."""
        return self._gone is None and self._why is None

    def start(self, request: Request[Any], sink: Sink) -> int:
        """Sends a request; its answers go to `sink`. Returns its number, for `requests.unwait`.

        Raises `Disconnected` if the connection is gone, `RequestTooLarge`.
        """
        with self._lock:
            if self._gone is not None:
                raise self._gone()
            number, data = self._session.send(request, sink)
        try:
            with self._writing:
                self._socket.sendall(data)
        except OSError as error:
            # The sink is told by this.
            self._end(NoAnswer("it takes no more requests") if isinstance(error, BlockingIOError) else error)
        return number

    def ask(self, request: Request[T], timeout: Optional[float]) -> T:
        """Sends a request and waits for its answer, at most `timeout` seconds more than the daemon holds it back.

        Raises the error that the answer is; `Disconnected`, and `NoAnswer` if it does not come in time.
        """
        box: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.start(request, box.put)
        answer: T = self.take(box, request.wait, timeout)
        return answer

    def take(self, box: queue.SimpleQueue[Any], wait: Optional[float], timeout: Optional[float]) -> Any:
        """The next answer of a request whose sink is `box.put`, and whose answer may take `wait`."""
        try:
            answer = box.get(
                timeout=None if timeout is None or wait is None else min(timeout + wait, threading.TIMEOUT_MAX)
            )
        except queue.Empty:
            self._end(NoAnswer("the daemon has not answered in time"))
            answer = box.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def close(self) -> None:
        """Ends it; who waits for an answer gets an error. Returns when its thread has ended."""
        self._end(Told("this program has closed it"))
        if threading.current_thread() is not self._reader:
            self._reader.join()

    def _read(self) -> None:
        why: Optional[BaseException] = None
        try:
            while True:
                data = self._socket.recv(_CHUNK)
                if not data:
                    break
                with self._lock:
                    # A sink must not run while the lock is held: it may want to send.
                    came, why = self._session.take(data)
                for sink, answer in came:
                    self._tell(sink, answer)
                if why is not None:
                    break
        except Exception as error:
            why = error
        self._finish(why)

    def _tell(self, sink: Optional[Sink], answer: Any) -> None:
        if sink is not None:
            sink(answer)
        elif self._on_notice is not None:
            self._on_notice(answer)

    def _end(self, why: BaseException) -> None:
        """Wakes the thread that reads, which tells all who wait: so they hear of it in one order."""
        with self._lock:
            self._why = self._why or why
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _finish(self, why: Optional[BaseException]) -> None:
        with self._lock:
            gone, waiting = self._session.ended(self._why or why)
            self._gone = gone
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        with self._writing:
            self._socket.close()
        for sink in waiting:
            sink(gone())
        if self._on_end is not None:
            self._on_end()


def stream(path: str, name: str, timeout: Optional[float], request: Request[Optional[T]]) -> Iterator[T]:
    """The answers of a request that has many, on a connection of its own: who reads slowly holds up nobody else."""
    with contextlib.closing(dial(path, timeout)) as raw:
        session: Session[bool] = Session()
        raw.sendall(session.send(requests.hello(name), False)[1])
        welcome = check_welcome(next(_answers(raw, session)))
        session.greeted(welcome.limits)
        raw.sendall(session.send(request, True)[1])
        if request.wait is None:
            raw.settimeout(None)
        for answer in _answers(raw, session):
            if answer is None:
                return
            yield answer


def _answers(raw: socket.socket, session: Session[bool]) -> Iterator[Any]:
    while True:
        try:
            data = raw.recv(_CHUNK)
            came = list(session.feed(data))
        except socket.timeout:
            raise NoAnswer("the daemon has not answered in time") from None
        except (OSError, Told) as error:
            raise Disconnected(str(error)) from error
        if not data:
            raise session.ended()[0]()
        for who, answer in came:
            if isinstance(answer, BaseException):
                raise answer
            if who is not None:
                yield answer
