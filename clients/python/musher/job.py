"""The job as a handler gets it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import TYPE_CHECKING, Any, Mapping, Optional, Tuple, Union

from ._attempt import Attempt
from .errors import Disconnected
from .model import ClaimedJob, Lease, NewJob, Receipts
from .outcome import Reason
from .protocol.requests import Jobs

if TYPE_CHECKING:
    from .aclient import AsyncClient
    from .aworker import AsyncLine
    from .client import Client
    from .worker import Line


class BaseJob:
    """What both kinds of jobs have."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    @property
    def info(self) -> ClaimedJob:
        """All that the daemon has said of it."""
        return self._attempt.job

    @property
    def id(self) -> int:
        """The job's id."""
        return self.lease.id

    @property
    def attempt(self) -> int:
        """Which attempt this is. The numbers of those that count as none are used up as well."""
        return self.lease.attempt

    @property
    def lease(self) -> Lease:
        """The lease, for requests that name it."""
        return self._attempt.lease

    @property
    def queue(self) -> str:
        """Its queue."""
        return self.info.queue

    @property
    def tags(self) -> Mapping[str, str]:
        """Its tags."""
        return self.info.tags

    @property
    def body(self) -> bytes:
        """The body."""
        return self.info.body

    @property
    def text(self) -> str:
        """The body as a text. Raises `ValueError` if it is not UTF-8."""
        return self.info.body.decode()

    def json(self) -> Any:
        """The body, read as JSON. Raises `ValueError` if it is none."""
        return json.loads(self.info.body)

    @property
    def last_checkpoint(self) -> Optional[bytes]:
        """The newest checkpoint that an earlier attempt has stored."""
        return self.info.checkpoint

    @property
    def signal(self) -> Optional[Tuple[str, bytes]]:
        """Name and data of the signal that it has waited for, if that came."""
        return self.info.signal

    @property
    def reason(self) -> Optional[Reason]:
        """Why the handler is to end, if it is."""
        return self._attempt.reason

    @property
    def time_left(self) -> Optional[float]:
        """Seconds until the attempt's timeout or the job's deadline; None without either."""
        limit = self._attempt.limit_at
        return None if limit is None else max(limit - time.monotonic(), 0.0)


class Job(BaseJob):
    """A job of a `Worker`. `cancelled` is set when its handler is to end; `reason` says why.

    What it asks waits while the daemon is away, until the lease is lost; then it raises `LeaseLost`. If the worker stops without
    a daemon, it raises `Disconnected`.
    """

    def __init__(self, attempt: Attempt, line: Line) -> None:
        super().__init__(attempt)
        self._line = line
        self.cancelled = threading.Event()

    @property
    def client(self) -> Client:
        """The connection to the daemon as it is now. Do not close it."""
        return self._line.client(self._attempt)

    def progress(self, percent: int, text: str = "") -> None:
        """Says how far the job is, for people. While the daemon is away it does not wait: the newest is said when it is back."""
        self._attempt.said = (percent, text)
        client = self._line.now()
        try:
            if client is not None:
                client.progress(self.lease, percent, text)
        except Disconnected:
            pass
        except BaseException:
            self._attempt.said = None
            raise

    def checkpoint(self, data: Union[bytes, str]) -> None:
        """Stores how far the job is, for its next attempt. When this returns, it is on disk.

        Raises `LeaseLost`, and `Refused` if it is too long.
        """
        length = self._attempt.asked
        self._line.ask(self._attempt, lambda client: client.checkpoint(self.lease, data, length))

    def complete_and_submit(self, jobs: Jobs, key: Optional[str] = None) -> Receipts:
        """Completes the job and enqueues what follows from it, both or neither. What the handler says then counts no more.

        With an idempotency `key` it is asked again after a broken connection. Raises `Refused` if the lease is lost, and without
        a key `Disconnected`.
        """
        attempt = self._attempt
        attempt.completing = True
        try:
            if key is None:
                receipts = self.client.complete_and_submit(self.lease, jobs)
            else:
                some = jobs if isinstance(jobs, NewJob) else list(jobs)
                receipts = self._line.ask(attempt, lambda client: client.complete_and_submit(self.lease, some, key))
        except BaseException:
            attempt.completing = False
            raise
        attempt.completed = True
        return receipts


class AsyncJob(BaseJob):
    """A job of an `AsyncWorker`; see `Job`. Two seconds after `cancelled` is set, the handler's task is cancelled."""

    def __init__(self, attempt: Attempt, line: AsyncLine) -> None:
        super().__init__(attempt)
        self._line = line
        self.cancelled = asyncio.Event()

    async def client(self) -> AsyncClient:
        """The connection to the daemon as it is now. Do not close it."""
        return await self._line.client(self._attempt)

    async def progress(self, percent: int, text: str = "") -> None:
        """As `Job.progress`."""
        self._attempt.said = (percent, text)
        client = self._line.now()
        try:
            if client is not None:
                await client.progress(self.lease, percent, text)
        except Disconnected:
            pass
        except BaseException:
            self._attempt.said = None
            raise

    async def checkpoint(self, data: Union[bytes, str]) -> None:
        """As `Job.checkpoint`."""
        length = self._attempt.asked
        await self._line.ask(self._attempt, lambda client: client.checkpoint(self.lease, data, length))

    async def complete_and_submit(self, jobs: Jobs, key: Optional[str] = None) -> Receipts:
        """As `Job.complete_and_submit`."""
        attempt = self._attempt
        attempt.completing = True
        try:
            if key is None:
                receipts = await (await self.client()).complete_and_submit(self.lease, jobs)
            else:
                some = jobs if isinstance(jobs, NewJob) else list(jobs)
                receipts = await self._line.ask(
                    attempt, lambda client: client.complete_and_submit(self.lease, some, key)
                )
        except BaseException:
            attempt.completing = False
            raise
        attempt.completed = True
        return receipts
