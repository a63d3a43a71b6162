"""The worker for asyncio: a task for each job that runs. What it does is decided in `_core`; here are the tasks and the clock."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from typing import Any, Awaitable, Callable, Dict, Iterator, List, Optional, TypeVar, Union

from ._actions import Claim, Lane, Send, Start, Tell, Unwait
from ._actions import Cut as CutHandler
from ._attempt import Attempt
from ._calls import DIAL_TIMEOUT, Calls, Identity, unknown
from ._core import END_TIME, Core
from ._handlers import Handlers
from .aclient import AsyncClient
from .client import NAME
from .errors import Disconnected, LeaseLost, MusherError, Refused, Untold
from .job import AsyncJob
from .model import Lease, Seconds
from .outcome import LOST, Cut, verdict_of
from .protocol import requests
from .protocol.answers import TakenUp
from .worker import said

T = TypeVar("T")
AsyncHandler = Callable[[AsyncJob], Awaitable[Union[bytes, str, None]]]
Event = Callable[[Core, float], None]

log = logging.getLogger("musher.worker")


class AsyncLine:
    """The connection for handlers, from one daemon to the next."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._client: Optional[AsyncClient] = None
        self._is_over = False

    def now(self) -> Optional[AsyncClient]:
        """The connection, if there is one."""
        return self._client

    def set(self, client: Optional[AsyncClient]) -> None:
        """There is another one, or none; or a handler was told to end."""
        self._client = client
        # Who waits has this one; later ones wait for the next.
        self._changed.set()
        self._changed = asyncio.Event()

    def close(self) -> None:
        """There will be no other one."""
        self._is_over = True
        self.set(None)

    async def client(self, attempt: Attempt, other_than: Optional[AsyncClient] = None) -> AsyncClient:
        """Waits for a connection as long as the lease lasts."""
        while True:
            if attempt.reason in LOST:
                raise LeaseLost(attempt.lease.id, "the lease was lost while the daemon was away")
            if self._is_over:
                raise Disconnected("the worker has stopped")
            if self._client is not None and self._client is not other_than:
                return self._client
            await self._changed.wait()

    async def ask(self, attempt: Attempt, ask: Callable[[AsyncClient], Awaitable[T]]) -> T:
        """Asks on one connection after the other, until there is an answer or the lease is lost."""
        client = None
        while True:
            client = await self.client(attempt, client)
            try:
                return await ask(client)
            except Disconnected:
                continue


class AsyncWorker(Handlers[AsyncHandler]):
    """Works on queues, each with one coroutine function as its handler, which gets an `AsyncJob`. See `Worker`.

    A handler that was told to end and has not ended two seconds later is cancelled, at the `await` at which it stands.
    """

    def __init__(self, socket: Optional[str] = None, *, concurrency: int = 1, grace: Seconds = 30.0) -> None:
        super().__init__(socket, concurrency=concurrency, grace=grace)
        self._run: Optional[_Run] = None

    def stop(self) -> None:
        """Has `run` end, from a task of its loop: no more jobs, and those that run have the grace; none the second time."""
        if self._run is not None:
            self._run.events.put_nowait(lambda core, now: core.stop(now))

    async def run(self, signals: bool = True) -> None:
        """As `Worker.run`. If its task is cancelled, handlers are cancelled too, and their jobs run again."""
        self._run = _Run(self._socket, self._lanes(), self._handlers, self._grace)
        with _signals(self.stop) if signals else contextlib.nullcontext():
            try:
                await self._run.work()
            finally:
                self._run = None


class _Run:
    """A worker at work: one task does everything but run handlers and read the socket."""

    def __init__(
        self, socket: Optional[str], lanes: List[Lane], handlers: Dict[str, AsyncHandler], grace: float
    ) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self._socket = socket
        self._handlers = handlers
        self._core = Core(lanes, grace)
        self._calls = Calls(self._core, time.monotonic())
        self._identity = Identity()
        self._line = AsyncLine()
        self._client: Optional[AsyncClient] = None
        self._serial = 0
        self._jobs: Dict[Lease, AsyncJob] = {}
        self._tasks: Dict[Attempt, asyncio.Task[None]] = {}
        self._claims: List[int] = []

    async def work(self) -> None:
        try:
            await self._loop()
        finally:
            self._line.close()
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=END_TIME)
            if self._client is not None:
                await self._client.close()
        if self._core.fatal is not None:
            raise self._core.fatal
        if self._core.untold:
            raise Untold(self._core.untold)

    async def _loop(self) -> None:
        core = self._core
        while True:
            now = time.monotonic()
            if self._calls.at is not None and self._calls.at <= now:
                await self._call()
                now = time.monotonic()
            for action in core.act(now):
                self._do(action)
            if core.is_over(now):
                return
            wakes = [at for at in (core.next_wake(now), self._calls.at) if at is not None]
            await self._next(max(min(wakes) - time.monotonic(), 0.0) if wakes else None)

    async def _next(self, wait: Optional[float]) -> None:
        """Takes the events that there are, or waits for one."""
        timer = None
        if wait is not None:
            # An event that says nothing but the time.
            timer = asyncio.get_running_loop().call_later(wait, self.events.put_nowait, lambda core, now: None)
        try:
            (await self.events.get())(self._core, time.monotonic())
        finally:
            if timer is not None:
                timer.cancel()
        while not self.events.empty():
            self.events.get_nowait()(self._core, time.monotonic())

    # The connection

    async def _call(self) -> None:
        self._serial += 1
        serial, core, named, put = self._serial, self._core, self._core.leases(), self.events.put_nowait
        client = AsyncClient(
            self._socket,
            name=NAME + " worker",
            timeout=DIAL_TIMEOUT,
            on_notice=lambda told: put(lambda core, now: core.notice(told, now)),
            on_end=lambda: put(lambda core, now: self._lost(serial, now)),
        )
        try:
            await client.reconnect()
            taken = await self._take_up(client, named)
        except MusherError as error:
            self._serial += 1
            await client.close()
            return self._calls.failed(error, time.monotonic())
        client.timeout = 60.0
        self._client = client
        self._calls.done()
        core.connected(client.limits, named, taken, time.monotonic())
        self._line.set(client)

    async def _take_up(self, client: AsyncClient, named: List[Lease]) -> Optional[TakenUp]:
        try:
            return TakenUp(*await client.take_up(self._identity.name, self._identity.token, named))
        except Refused as error:
            unknown(error)
            return None

    def _lost(self, serial: int, now: float) -> None:
        if serial == self._serial:
            self._line.set(None)
            self._client = None
            self._claims = []  # The next connection has other numbers.
            self._core.disconnected(now)
            self._calls.lost(now)

    # Actions

    def _do(self, action: Any) -> None:
        if isinstance(action, Send):
            self._send(action)
        elif isinstance(action, Unwait):
            for number in self._claims:
                self._start(requests.unwait(number), lambda answer: None)
        elif isinstance(action, Start):
            started = self._jobs[action.attempt.lease] = AsyncJob(action.attempt, self._line)
            self._tasks[action.attempt] = asyncio.ensure_future(self._handle(started, action))
        elif isinstance(action, Tell):
            job = self._jobs.get(action.attempt.lease)
            if job is not None:
                job.cancelled.set()
            self._line.set(self._line.now())
        elif isinstance(action, CutHandler):
            self._cut(action.attempt)

    def _send(self, action: Send) -> None:
        what, put = action.what, self.events.put_nowait
        number = self._start(action.request, lambda answer: put(lambda core, now: core.answered(what, answer, now)))
        if isinstance(what, Claim) and number is not None:
            self._claims = [*self._claims[-len(self._core.lanes) :], number]

    def _start(self, request: requests.Request[Any], sink: Callable[[Any], None]) -> Optional[int]:
        try:
            if self._client is None:
                raise Disconnected()
            return self._client.start(request, sink)
        except MusherError as error:
            sink(error)
            return None

    def _cut(self, attempt: Attempt) -> None:
        log.warning("the handler of job %d is cancelled: %s", attempt.lease.id, attempt.reason)
        task = self._tasks.get(attempt)
        if task is None:
            return  # It has ended, and that is not heard yet.
        task.cancel()
        asyncio.get_running_loop().call_later(END_TIME / 2, self._report, attempt)

    def _report(self, attempt: Attempt) -> None:
        """It does not let itself be cancelled."""
        if attempt in self._tasks:
            verdict = verdict_of(None, Cut(), attempt.reason, attempt.over)
            self.events.put_nowait(lambda core, now: core.report(attempt, verdict))

    # Handlers

    async def _handle(self, job: AsyncJob, start: Start) -> None:
        value: Any = None
        error: Optional[BaseException] = None
        try:
            value = await self._handlers[start.lane.queue](job)
        except asyncio.CancelledError:
            error = Cut()
        except BaseException as raised:
            error = raised
        self._tasks.pop(start.attempt, None)
        self._jobs.pop(job.lease, None)
        verdict = said(job, start.attempt, value, error)
        self.events.put_nowait(lambda core, now: core.ended(start.attempt, start.lane, verdict))


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT call `stop` meanwhile, where the loop runs in the main thread."""
    loop, caught = asyncio.get_running_loop(), []
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, stop)
            caught.append(number)
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
