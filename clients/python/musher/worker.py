"""The worker with threads: one for each job that runs. What it does is decided in `_core`; here are the threads and the clock."""

from __future__ import annotations

import contextlib
import logging
import queue
import signal
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, Optional, TypeVar, Union

from ._actions import Claim, Lane, Send, Start, Tell, Unwait
from ._actions import Cut as CutHandler
from ._attempt import Attempt
from ._calls import DIAL_TIMEOUT, Calls, Identity, unknown
from ._core import Core
from ._handlers import Handlers
from .client import NAME, Client
from .errors import Disconnected, LeaseLost, MusherError, Refused, Untold
from .job import BaseJob, Job
from .model import Lease, Seconds
from .outcome import LOST, Cut, Fail, Later, Until, verdict_of
from .protocol import requests
from .protocol.answers import TakenUp
from .verdict import Verdict

T = TypeVar("T")
Handler = Callable[[Job], Union[bytes, str, None]]
Event = Callable[[Core, float], None]

log = logging.getLogger("musher.worker")

# Threads cannot wait for any time.
_WAIT_MOST = 3600.0


class Line:
    """The connection for handlers, from one daemon to the next."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._client: Optional[Client] = None
        self._is_over = False

    def now(self) -> Optional[Client]:
        """The connection, if there is one."""
        return self._client

    def set(self, client: Optional[Client]) -> None:
        """There is another one, or none; or a handler was told to end."""
        with self._changed:
            self._client = client
            self._changed.notify_all()

    def close(self) -> None:
        """There will be no other one."""
        with self._changed:
            self._is_over, self._client = True, None
            self._changed.notify_all()

    def client(self, attempt: Attempt, other_than: Optional[Client] = None) -> Client:
        """Waits for a connection as long as the lease lasts."""
        with self._changed:
            while True:
                if attempt.reason in LOST:
                    raise LeaseLost(attempt.lease.id, "the lease was lost while the daemon was away")
                if self._is_over:
                    raise Disconnected("the worker has stopped")
                if self._client is not None and self._client is not other_than:
                    return self._client
                self._changed.wait()

    def ask(self, attempt: Attempt, ask: Callable[[Client], T]) -> T:
        """Asks on one connection after the other, until there is an answer or the lease is lost."""
        client = None
        while True:
            client = self.client(attempt, client)
            try:
                return ask(client)
            except Disconnected:
                continue


class Worker(Handlers[Handler]):
    """Works on queues, each with one function as its handler, which gets a `Job`.

    A handler that returns has done the job; `bytes` or `str` are its result. One that raises has failed it, with the exception's
    text; `Later`, `Fail` and `Until` say something else. A handler cannot be ended from outside: one that takes long looks at
    `job.cancelled`. Leases are extended while handlers run. When the daemon goes away they run on, and the worker finds it again.

    `socket`: as for `Client`. `concurrency`: how many jobs of each queue run at a time. `grace`: seconds that handlers have when
    the worker is told to stop; what runs then is told to end, and given back two seconds later.
    """

    def __init__(self, socket: Optional[str] = None, *, concurrency: int = 1, grace: Seconds = 30.0) -> None:
        super().__init__(socket, concurrency=concurrency, grace=grace)
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def stop(self) -> None:
        """Has `run` end: no more jobs, and those that run have the grace; none the second time. From any thread, and from a
        signal's handler.
        """
        self._events.put(lambda core, now: core.stop(now))

    def run(self, signals: bool = True) -> None:
        """Works until it is told to stop; it waits for a daemon that is not there. With `signals`, SIGTERM and SIGINT stop it
        (in the main thread only).

        Raises what does not heal (`Refused`, `ProtocolError`, …), and `Untold` if it had to stop without a daemon.
        """
        run = _Run(self._socket, self._lanes(), self._handlers, self._grace, self._events)
        with _signals(self.stop) if signals else contextlib.nullcontext():
            try:
                run.work()
            finally:
                self._events = queue.SimpleQueue()


class _Run:
    """A worker at work: the thread that calls `work` does everything but run handlers and read sockets."""

    def __init__(
        self,
        socket: Optional[str],
        lanes: List[Lane],
        handlers: Dict[str, Handler],
        grace: float,
        events: queue.SimpleQueue[Event],
    ) -> None:
        self._socket = socket
        self._handlers = handlers
        self._events = events
        self._core = Core(lanes, grace)
        self._calls = Calls(self._core, time.monotonic())
        self._identity = Identity()
        self._line = Line()
        self._client: Optional[Client] = None
        self._serial = 0
        self._jobs: Dict[Lease, Job] = {}
        self._claims: List[int] = []

    def work(self) -> None:
        try:
            self._loop()
        finally:
            self._line.close()
            if self._client is not None:
                self._client.close()
        if self._core.fatal is not None:
            raise self._core.fatal
        if self._core.untold:
            raise Untold(self._core.untold)

    def _loop(self) -> None:
        core = self._core
        while True:
            now = time.monotonic()
            if self._calls.at is not None and self._calls.at <= now:
                self._call()
                now = time.monotonic()
            for action in core.act(now):
                self._do(action)
            if core.is_over(now):
                return
            wakes = [at for at in (core.next_wake(now), self._calls.at) if at is not None]
            wait = min(max(min(wakes) - time.monotonic(), 0.0), _WAIT_MOST) if wakes else None
            with contextlib.suppress(queue.Empty):
                self._events.get(timeout=wait)(core, time.monotonic())
                while True:
                    self._events.get_nowait()(core, time.monotonic())

    # The connection

    def _call(self) -> None:
        self._serial += 1
        serial, core, named = self._serial, self._core, self._core.leases()
        client: Optional[Client] = None
        try:
            client = Client(
                self._socket,
                name=NAME + " worker",
                timeout=DIAL_TIMEOUT,
                on_notice=lambda told: self._events.put(lambda core, now: core.notice(told, now)),
                on_end=lambda: self._events.put(lambda core, now: self._lost(serial, now)),
            )
            taken = self._take_up(client, named)
        except MusherError as error:
            self._serial += 1
            if client is not None:
                client.close()
            return self._calls.failed(error, time.monotonic())
        client.timeout = 60.0
        self._client = client
        self._calls.done()
        core.connected(client.limits, named, taken, time.monotonic())
        self._line.set(client)

    def _take_up(self, client: Client, named: List[Lease]) -> Optional[TakenUp]:
        try:
            return TakenUp(*client.take_up(self._identity.name, self._identity.token, named))
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
            started = self._jobs[action.attempt.lease] = Job(action.attempt, self._line)
            name = f"musher job {started.id}"
            threading.Thread(target=self._run, args=(started, action), name=name, daemon=True).start()
        elif isinstance(action, Tell):
            job = self._jobs.get(action.attempt.lease)
            if job is not None:
                job.cancelled.set()
            self._line.set(self._line.now())
        elif isinstance(action, CutHandler):
            self._cut(action.attempt)

    def _send(self, action: Send) -> None:
        what, events = action.what, self._events
        number = self._start(
            action.request, lambda answer: events.put(lambda core, now: core.answered(what, answer, now))
        )
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
        log.warning("the handler of job %d was told to end and does not: %s", attempt.lease.id, attempt.reason)
        verdict = verdict_of(None, Cut(), attempt.reason, attempt.over)
        self._events.put(lambda core, now: core.report(attempt, verdict))

    # Handlers

    def _run(self, job: Job, start: Start) -> None:
        value, error = None, None
        try:
            value = self._handlers[start.lane.queue](job)
        except BaseException as raised:
            error = raised
        verdict = said(job, start.attempt, value, error)
        self._events.put(lambda core, now: self._ended(start, verdict))

    def _ended(self, start: Start, verdict: Optional[Verdict]) -> None:
        self._jobs.pop(start.attempt.lease, None)
        self._core.ended(start.attempt, start.lane, verdict)


def said(job: BaseJob, attempt: Attempt, value: Any, error: Optional[BaseException]) -> Optional[Verdict]:
    """What to tell the daemon of a handler that has ended."""
    if error is not None and not isinstance(error, (Later, Fail, Until, Cut)):
        log.info("the handler of job %d has failed", job.id, exc_info=error)
    return verdict_of(value, error, attempt.reason, attempt.over)


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT call `stop` meanwhile."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: stop()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
