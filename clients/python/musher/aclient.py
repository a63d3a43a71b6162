"""The client for asyncio. Its methods are those of the plain one, whose documentation holds here as well."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import (
    Any,
    AsyncIterator,
    Callable,
    Dict,
    Iterable,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Type,
    TypeVar,
    Union,
)

from ._aconnection import AsyncConnection, Box, stream
from ._patience import Patience
from .client import NAME, in_force
from .errors import Disconnected, MusherError
from .model import Change, ClaimedJob, Lease, LeaseFault, Limits, Notice, Output, Receipts, Seconds
from .paths import find_socket
from .protocol import requests
from .protocol.requests import Jobs, Request
from .verdict import Verdict

T = TypeVar("T")


class AsyncClient:
    """A connection to the daemon, for the tasks of one event loop. Make it with `await AsyncClient.connect()`, or use it as
    `async with AsyncClient() as client`. See `Client`.
    """

    def __init__(
        self,
        socket: Optional[str] = None,
        *,
        name: str = NAME,
        timeout: Optional[float] = 60.0,
        on_notice: Optional[Callable[[Notice], None]] = None,
        on_end: Optional[Callable[[], None]] = None,
    ) -> None:
        self.timeout = timeout
        self._socket = socket
        self._name = name
        self._on_notice = on_notice
        self._on_end = on_end
        self._connected: Optional[AsyncConnection] = None

    @classmethod
    async def connect(
        cls, socket: Optional[str] = None, *, name: str = NAME, timeout: Optional[float] = 60.0
    ) -> AsyncClient:
        """A client that is connected. Raises `ConnectError` if no daemon answers."""
        client = cls(socket, name=name, timeout=timeout)
        await client.reconnect()
        return client

    async def __aenter__(self) -> AsyncClient:
        await self.reconnect()
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection, and with it the leases that are bound to it."""
        if self._connected is not None:
            await self._connected.close()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection that has not ended, as far as is known."""
        return self._connected is not None and self._connected.is_open

    @property
    def limits(self) -> Limits:
        """What the daemon takes."""
        return self._connection.welcome.limits

    @property
    def _connection(self) -> AsyncConnection:
        if self._connected is None:
            raise Disconnected("it was never made: call `connect`")
        return self._connected

    async def reconnect(self) -> None:
        """As `Client.reconnect`."""
        await self._reconnect(self.timeout)

    async def _reconnect(self, timeout: Optional[float]) -> None:
        if self.is_connected:
            return
        await self.close()
        path = find_socket(self._socket)
        made = await AsyncConnection.connect(path, self._name, timeout, self._on_notice, self._on_end)
        if self.is_connected:
            return await made.close()  # Another task was faster.
        self._connected = made

    async def _ask(self, request: Request[T]) -> T:
        return await self._connection.ask(request, self.timeout)

    def start(self, request: Request[Any], sink: Callable[[Any], None]) -> int:
        """As `Client.start`."""
        return self._connection.start(request, sink)

    # Submits

    async def submit(self, jobs: Jobs, key: Optional[str] = None) -> Receipts:
        """As `Client.submit`."""
        return await self._ask(requests.submit(jobs, key))

    async def submit_once(self, key: str, jobs: Jobs, patience: float = 60.0) -> Receipts:
        """As `Client.submit_once`."""
        request, again = requests.submit(jobs, key), Patience(patience)
        while True:
            try:
                timeout = again.left if self.timeout is None else min(again.left, self.timeout)
                await self._reconnect(timeout)
                return await self._connection.ask(request, timeout)
            except MusherError as error:
                await asyncio.sleep(again.wait_after(error))

    async def submit_and_wait(
        self, jobs: Jobs, longest: Optional[Seconds] = None
    ) -> Tuple[Receipts, List[Dict[str, Any]]]:
        """As `Client.submit_and_wait`."""
        request, box = requests.submit_and_wait(jobs, longest), Box()
        connection = self._connection
        connection.start(request, box.put)
        receipts = await connection.take(box, 0, self.timeout)
        return receipts, await connection.take(box, request.wait, self.timeout)

    async def complete_and_submit(self, lease: Lease, jobs: Jobs, key: Optional[str] = None) -> Receipts:
        """As `Client.complete_and_submit`."""
        return await self._ask(requests.submit(jobs, key, completes=lease))

    # Work

    async def claim(
        self,
        queues: Union[str, Sequence[str]],
        most: int = 1,
        wait: Optional[Seconds] = 0,
        length: Optional[Seconds] = None,
        bound: bool = True,
    ) -> List[ClaimedJob]:
        """As `Client.claim`."""
        return await self._ask(requests.claim(queues, most, wait, length, bound))

    async def settle(self, items: Sequence[Tuple[Lease, Verdict]]) -> List[Optional[LeaseFault]]:
        """As `Client.settle`."""
        return await self._ask(requests.settle(items))

    async def _settle(self, lease: Lease, verdict: Verdict) -> None:
        in_force((await self.settle([(lease, verdict)]))[0])

    async def complete(self, lease: Lease, result: Union[bytes, str, None] = None) -> None:
        await self._settle(lease, Verdict.complete(result))

    async def fail(self, lease: Lease, error: str, retry_after: Optional[Seconds] = None, bury: bool = False) -> None:
        """As `Client.fail`."""
        await self._settle(lease, Verdict.fail(error, retry_after, bury))

    async def release(self, lease: Lease, delay: Seconds = 0) -> None:
        """As `Client.release`."""
        await self._settle(lease, Verdict.release(delay))

    async def later(self, lease: Lease, why: str = "", wait: Optional[Seconds] = None) -> None:
        """As `Client.later`."""
        await self._settle(lease, Verdict.later(why, wait))

    async def exited(
        self, lease: Lease, status: Optional[int] = None, signal: Optional[int] = None, error: str = ""
    ) -> None:
        """As `Client.exited`."""
        await self._settle(lease, Verdict.exited(status, signal, error))

    async def until_signal(self, lease: Lease, signal: str, longest: Seconds) -> None:
        """As `Client.until_signal`."""
        await self._settle(lease, Verdict.until(signal, longest))

    async def extend(self, lease: Lease, length: Optional[Seconds] = None) -> float:
        """As `Client.extend`."""
        return in_force((await self.extend_all([lease], length))[0])

    async def extend_all(
        self, leases: Sequence[Lease], length: Optional[Seconds] = None
    ) -> List[Union[float, LeaseFault]]:
        """As `Client.extend_all`."""
        return await self._ask(requests.extend(leases, length))

    async def checkpoint(self, lease: Lease, data: Union[bytes, str], length: Optional[Seconds] = None) -> float:
        """As `Client.checkpoint`."""
        return in_force((await self._ask(requests.checkpoint(lease, data, length)))[0])

    async def progress(self, lease: Lease, percent: int, text: str = "") -> None:
        """As `Client.progress`."""
        await self._ask(requests.progress(lease, percent, text))

    async def output(self, lease: Lease, stream: int, data: bytes) -> None:
        """As `Client.output`."""
        await self._ask(requests.output(lease, stream, data))

    async def take_up(
        self, name: str, token: bytes, leases: Sequence[Lease]
    ) -> Tuple[float, List[Optional[LeaseFault]]]:
        """As `Client.take_up`."""
        return await self._ask(requests.take_up(name, token, leases))

    # Jobs

    async def signal(self, job: int, name: str, data: Union[bytes, str] = b"") -> None:
        """As `Client.signal`."""
        await self._ask(requests.signal(job, name, data))

    async def body(self, job: int) -> bytes:
        """As `Client.body`."""
        return await self._ask(requests.body(job))

    async def replace_body(self, job: int, body: Union[bytes, str]) -> None:
        """As `Client.replace_body`."""
        await self._ask(requests.replace_body(job, body))

    async def result(self, job: int) -> bytes:
        """As `Client.result`."""
        return await self._ask(requests.result(job))

    async def stored_checkpoint(self, job: int) -> bytes:
        """As `Client.stored_checkpoint`."""
        return await self._ask(requests.stored_checkpoint(job))

    async def wait(self, jobs: Sequence[int], longest: Optional[Seconds] = None) -> List[Dict[str, Any]]:
        """As `Client.wait`."""
        found: List[Dict[str, Any]] = await self._ask(requests.wait_for_jobs(jobs, longest))
        return found

    async def wait_for_groups(
        self, groups: Sequence[str], longest: Optional[Seconds] = None, first_error: bool = False
    ) -> List[Dict[str, Any]]:
        """As `Client.wait_for_groups`."""
        found: List[Dict[str, Any]] = await self._ask(requests.wait_for_groups(groups, longest, first_error))
        return found

    # Questions

    async def query(self, question: Mapping[str, Any]) -> Any:
        """As `Client.query`."""
        return await self._ask(requests.query(question))

    async def status(self) -> Dict[str, Any]:
        """As `Client.status`."""
        found: Dict[str, Any] = await self.query({"do": "status"})
        return found

    async def show(self, job: int) -> Dict[str, Any]:
        """As `Client.show`."""
        found: Dict[str, Any] = await self.query({"do": "show", "id": job})
        return found

    async def list(self, limit: int = 50, **filters: Any) -> Dict[str, Any]:
        """As `Client.list`."""
        found: Dict[str, Any] = await self.query({"do": "list", "limit": limit, **filters})
        return found

    async def edit(self, what: str, jobs: Iterable[int], **more: Any) -> List[Dict[str, Any]]:
        """As `Client.edit`."""
        found: List[Dict[str, Any]] = await self.query({"do": "edit", "edit": what, "ids": [*jobs], **more})
        return found

    async def cancel(self, *jobs: int) -> List[Dict[str, Any]]:
        """As `Client.cancel`."""
        return await self.edit("cancel", jobs)

    # Streams, each on a connection of its own

    def _stream(self, request: Request[Optional[T]]) -> AsyncIterator[T]:
        return stream(find_socket(self._socket), self._name, self.timeout, request)

    def logs(self, job: int, follow: bool = False) -> AsyncIterator[Output]:
        return self._stream(requests.logs(job, follow))

    async def changes(self, queue: Optional[str] = None, job: Optional[int] = None) -> AsyncIterator[Change]:
        """As `Client.changes`."""
        missed = 0
        async for more, found in self._stream(requests.changes(queue, job)):
            missed += more
            for change in found:
                yield change._replace(missed=missed)
                missed = 0

    def backup(self, shard: Optional[int] = None) -> AsyncIterator[bytes]:
        """As `Client.backup`."""
        return self._stream(requests.backup(shard))
