"""A socket with a task that reads it, for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, AsyncIterator, Callable, List, Optional, Tuple, TypeVar

from .errors import ConnectError, Disconnected, MusherError, NoAnswer
from .model import Notice
from .protocol import requests
from .protocol.answers import Welcome
from .protocol.requests import Request
from .protocol.session import Session, Told, check_welcome
from .verdict import Verdict

T = TypeVar("T")
Sink = Callable[[Any], None]
"""Gets an answer or an exception; it must not block."""

_CHUNK = 256 << 10


async def dial(path: str, timeout: Optional[float]) -> Tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A socket that is connected. Raises `ConnectError`."""
    try:
        return await asyncio.wait_for(asyncio.open_unix_connection(path, limit=_CHUNK), timeout)
    except asyncio.TimeoutError as error:
        raise ConnectError(path, "it does not answer") from error
    except OSError as error:
        raise ConnectError(path, error.strerror or error) from error


class Box:
    """The answers of one request, for one who waits for them."""

    def __init__(self) -> None:
        self._answers: asyncio.Queue[Any] = asyncio.Queue()
        self._instead: Optional[Sink] = None

    def put(self, answer: Any) -> None:
        if self._instead is None:
            self._answers.put_nowait(answer)
        else:
            self._instead(answer)

    async def take(self) -> Any:
        return await self._answers.get()

    def leave(self, instead: Sink) -> None:
        """Nobody waits any more: what comes, and what has come meanwhile, goes there."""
        self._instead = instead
        while not self._answers.empty():
            instead(self._answers.get_nowait())


class AsyncConnection:
    """One connection. Make it with `connect`."""

    welcome: Welcome

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        on_notice: Optional[Callable[[Notice], None]],
        on_end: Optional[Callable[[], None]],
    ) -> None:
        self._writer = writer
        self._on_notice = on_notice
        self._on_end = on_end
        self._session: Session[Sink] = Session()
        self._gone: Optional[Callable[[], MusherError]] = None
        self._why: Optional[BaseException] = None
        self._draining = asyncio.Lock()
        self._task = asyncio.ensure_future(self._read(reader))

    @staticmethod
    async def connect(
        path: str,
        name: str,
        timeout: Optional[float],
        on_notice: Optional[Callable[[Notice], None]] = None,
        on_end: Optional[Callable[[], None]] = None,
    ) -> AsyncConnection:
        """Connects and greets. `timeout`: seconds that each of both may take."""
        connection = AsyncConnection(*await dial(path, timeout), on_notice, on_end)
        try:
            connection.welcome = check_welcome(await connection.ask(requests.hello(name), timeout))
        except BaseException:
            await connection.close()
            raise
        connection._session.greeted(connection.welcome.limits)
        return connection

    @property
    def is_open(self) -> bool:
        """Whether it has not ended yet."""
        return self._gone is None and self._why is None

    def start(self, request: Request[Any], sink: Sink) -> int:
        """Sends a request; its answers go to `sink`. Returns its number.

        Raises `Disconnected` if the connection is gone, `RequestTooLarge`.
        """
        if self._gone is not None:
            raise self._gone()
        number, data = self._session.send(request, sink)
        self._writer.write(data)
        return number

    async def ask(self, request: Request[T], timeout: Optional[float]) -> T:
        """Sends a request and waits for its answer, at most `timeout` seconds more than the daemon holds it back.

        A task that is cancelled in here leaves no request behind that waits, and no jobs that nobody works on.
        """
        box = Box()
        number = self.start(request, box.put)
        try:
            answer: T = await self.take(box, request.wait, timeout)
        except asyncio.CancelledError:
            box.leave(self._give_back if request.kind == requests.CLAIM else _ignore)
            if request.wait != 0 and self.is_open:
                self.start(requests.unwait(number), _ignore)
            raise
        return answer

    async def take(self, box: Box, wait: Optional[float], timeout: Optional[float]) -> Any:
        """The next answer of a request whose sink is `box.put`, and whose answer may take `wait`."""
        timer = None
        if timeout is not None and wait is not None:
            late = NoAnswer("the daemon has not answered in time")
            timer = asyncio.get_running_loop().call_later(timeout + wait, self._end, late)
        try:
            with contextlib.suppress(OSError):
                # Who sends much waits here for a daemon that reads slowly. That it is gone the answer says. Before Python 3.10
                # only one task may wait so.
                async with self._draining:
                    await self._writer.drain()
            answer = await box.take()
        finally:
            if timer is not None:
                timer.cancel()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _give_back(self, jobs: Any) -> None:
        if isinstance(jobs, list) and jobs and self.is_open:
            self.start(requests.settle([(job.lease, Verdict.release()) for job in jobs]), _ignore)

    async def close(self) -> None:
        """Ends it; who waits for an answer gets an error. Returns when its task has ended."""
        self._end(Told("this program has closed it"))
        if asyncio.current_task() is not self._task:
            await asyncio.wait([self._task])

    async def _read(self, reader: asyncio.StreamReader) -> None:
        why: Optional[BaseException] = None
        try:
            while True:
                data = await reader.read(_CHUNK)
                if not data:
                    break
                for sink, answer in self._session.feed(data):
                    if sink is not None:
                        sink(answer)
                    elif self._on_notice is not None:
                        self._on_notice(answer)
        except Exception as error:
            why = error
        finally:
            self._finish(why)

    def _end(self, why: BaseException) -> None:
        self._why = self._why or why
        self._writer.transport.abort()

    def _finish(self, why: Optional[BaseException]) -> None:
        gone, waiting = self._session.ended(self._why or why)
        self._gone = gone
        self._writer.transport.abort()
        for sink in waiting:
            sink(gone())
        if self._on_end is not None:
            self._on_end()


def _ignore(answer: Any) -> None:
    """Nobody waits for it."""


async def stream(path: str, name: str, timeout: Optional[float], request: Request[Optional[T]]) -> AsyncIterator[T]:
    """The answers of a request that has many, on a connection of its own: who reads slowly holds up nobody else."""
    reader, writer = await dial(path, timeout)
    try:
        session: Session[bool] = Session()
        writer.write(session.send(requests.hello(name), False)[1])
        welcome = check_welcome((await _answers(reader, session, timeout))[0])
        session.greeted(welcome.limits)
        writer.write(session.send(request, True)[1])
        while True:
            for answer in await _answers(reader, session, None if request.wait is None else timeout):
                if answer is None:
                    return
                yield answer
    finally:
        writer.transport.abort()


async def _answers(reader: asyncio.StreamReader, session: Session[bool], timeout: Optional[float]) -> List[Any]:
    """The next answers: at least one."""
    found: List[Any] = []
    while not found:
        try:
            data = await asyncio.wait_for(reader.read(_CHUNK), timeout)
            came = list(session.feed(data))
        except asyncio.TimeoutError:
            raise NoAnswer("the daemon has not answered in time") from None
        except (OSError, Told) as error:
            raise Disconnected(str(error)) from error
        if not data:
            raise session.ended()[0]()
        found = [answer for who, answer in came if who is not None]
        for answer in found:
            if isinstance(answer, BaseException):
                raise answer
    return found
