"""The plain client: each call waits for its answer. One client serves any number of threads at a time."""

from __future__ import annotations

import queue
import threading
import time
from types import TracebackType
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Type,
    TypeVar,
    Union,
)

from ._connection import Connection, stream
from ._patience import Patience
from .errors import LeaseLost, MusherError
from .model import Change, ClaimedJob, Lease, LeaseFault, Limits, Notice, Output, Receipts, Seconds
from .paths import find_socket
from .protocol import requests
from .protocol.requests import Jobs, Request
from .verdict import Verdict

T = TypeVar("T")

NAME = "musher-python 0.1.0"


def in_force(result: Union[T, LeaseFault]) -> T:
    """What the daemon says of one lease. Raises `LeaseLost` if it is refused."""
    if isinstance(result, LeaseFault):
        raise LeaseLost(result.job, str(result), result.state or None, result.newest or None)
    return result


class Client:
    """A connection to the daemon.

    `socket` is its path; without one it is looked for (`MUSHER_SOCKET`, else the usual places). `timeout`: seconds until an
    answer must be there, on top of what the daemon was asked to wait; None for without end. When it is over, the
    connection is closed, as nobody knows what is still to come. `on_notice` and `on_end` are called with what the daemon says
    unasked, and when a connection has ended, in the thread that reads: they must not block.

    Every call raises `Refused` if the daemon refuses, `Disconnected` if the connection is gone (then whether it was done is not
    known; `reconnect` makes another one), `NoAnswer` after the timeout, `ProtocolError` for an answer that cannot be read, and
    `ValueError` for what has no place in a request.
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
        self._socket = socket
        self._on_end = on_end
        self._name = name
        self.timeout = timeout
        self._on_notice = on_notice
        self._dialing = threading.Lock()
        self._connection = self._dial(timeout)

    def _dial(self, timeout: Optional[float]) -> Connection:
        return Connection(find_socket(self._socket), self._name, timeout, self._on_notice, self._on_end)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection, and with it the leases that are bound to it."""
        self._connection.close()

    @property
    def is_connected(self) -> bool:
        """Whether the connection has not ended, as far as is known."""
        return self._connection.is_open

    @property
    def limits(self) -> Limits:
        """What the daemon takes."""
        return self._connection.welcome.limits

    def reconnect(self) -> None:
        """Makes another connection if this one is gone. Raises `ConnectError` if no daemon answers."""
        self._reconnect(self.timeout)

    def _reconnect(self, timeout: Optional[float]) -> None:
        with self._dialing:
            if not self._connection.is_open:
                self._connection.close()
                self._connection = self._dial(timeout)

    def _ask(self, request: Request[T]) -> T:
        return self._connection.ask(request, self.timeout)

    def start(self, request: Request[Any], sink: Callable[[Any], None]) -> int:
        """Sends a request of `musher.protocol.requests` without waiting: its answer, or an exception, goes to `sink`, in the
        thread that reads, which it must not hold up. Returns the request's number.
        """
        return self._connection.start(request, sink)

    # Submits

    def submit(self, jobs: Jobs, key: Optional[str] = None) -> Receipts:
        """Enqueues one job or many, all or none. When this returns, they are on disk.

        With an idempotency `key` the same submit can be sent again and gets the same answer; see `submit_once`. It is never
        sent again by this method.
        """
        return self._ask(requests.submit(jobs, key))

    def submit_once(self, key: str, jobs: Jobs, patience: float = 60.0) -> Receipts:
        """Enqueues jobs under an idempotency key, and sends them again after a broken connection until there is an answer.

        The daemon remembers the key for `limits.idempotency`, over crashes too, so they are enqueued once. It also asks again
        while the daemon drains or is busy. Raises the last error when `patience` seconds are over: then whether they were
        enqueued is not known, and the same call may be made again.
        """
        request, again = requests.submit(jobs, key), Patience(patience)
        while True:
            try:
                timeout = again.left if self.timeout is None else min(again.left, self.timeout)
                self._reconnect(timeout)
                return self._connection.ask(request, timeout)
            except MusherError as error:
                time.sleep(again.wait_after(error))

    def submit_and_wait(self, jobs: Jobs, longest: Optional[Seconds] = None) -> Tuple[Receipts, List[Dict[str, Any]]]:
        """Enqueues jobs and waits for their ends, at most `longest` seconds: returns what became of each, and its end."""
        request, box = requests.submit_and_wait(jobs, longest), queue.SimpleQueue()  # type: ignore[var-annotated]
        connection = self._connection
        connection.start(request, box.put)
        receipts = connection.take(box, 0, self.timeout)
        return receipts, connection.take(box, request.wait, self.timeout)

    def complete_and_submit(self, lease: Lease, jobs: Jobs, key: Optional[str] = None) -> Receipts:
        """Completes a job and enqueues what follows from it, both or neither. Raises `Refused` if the lease is lost."""
        return self._ask(requests.submit(jobs, key, completes=lease))

    # Work

    def claim(
        self,
        queues: Union[str, Sequence[str]],
        most: int = 1,
        wait: Optional[Seconds] = 0,
        length: Optional[Seconds] = None,
        bound: bool = True,
    ) -> List[ClaimedJob]:
        """Leases at most so many jobs that are ready; waits up to `wait` seconds for the first one (None: for ever).

        `length` is that of the leases, else it is the queue's. Bound leases end with the connection, and their jobs are
        ready again at once; others can be settled by any connection.
        """
        return self._ask(requests.claim(queues, most, wait, length, bound))

    def settle(self, items: Sequence[Tuple[Lease, Verdict]]) -> List[Optional[LeaseFault]]:
        """Says what became of attempts; for each, None or why it is refused. For single ones there are methods below."""
        return self._ask(requests.settle(items))

    def _settle(self, lease: Lease, verdict: Verdict) -> None:
        in_force(self.settle([(lease, verdict)])[0])

    def complete(self, lease: Lease, result: Union[bytes, str, None] = None) -> None:
        """The job is done, with a result if there is one. Raises `LeaseLost`, as all of these."""
        self._settle(lease, Verdict.complete(result))

    def fail(self, lease: Lease, error: str, retry_after: Optional[Seconds] = None, bury: bool = False) -> None:
        """The attempt has failed; with `bury` the job is dead at once."""
        self._settle(lease, Verdict.fail(error, retry_after, bury))

    def release(self, lease: Lease, delay: Seconds = 0) -> None:
        """Gives the job back; the attempt does not count."""
        self._settle(lease, Verdict.release(delay))

    def later(self, lease: Lease, why: str = "", wait: Optional[Seconds] = None) -> None:
        """Not now: again after `wait`, or as the queue's backoff says. No attempt is used up."""
        self._settle(lease, Verdict.later(why, wait))

    def exited(self, lease: Lease, status: Optional[int] = None, signal: Optional[int] = None, error: str = "") -> None:
        """The job's process has ended so: the queue's `on_exit` says what that means."""
        self._settle(lease, Verdict.exited(status, signal, error))

    def until_signal(self, lease: Lease, signal: str, longest: Seconds) -> None:
        """Gives the job back until a signal of this name comes, or for so long."""
        self._settle(lease, Verdict.until(signal, longest))

    def extend(self, lease: Lease, length: Optional[Seconds] = None) -> float:
        """Has the lease end `length` seconds from now, or as the queue says. Returns when: seconds since 1970.

        Raises `LeaseLost`.
        """
        return in_force(self.extend_all([lease], length)[0])

    def extend_all(self, leases: Sequence[Lease], length: Optional[Seconds] = None) -> List[Union[float, LeaseFault]]:
        """The same for many; for each, its end or why it is refused."""
        return self._ask(requests.extend(leases, length))

    def checkpoint(self, lease: Lease, data: Union[bytes, str], length: Optional[Seconds] = None) -> float:
        """Stores how far a job is, in the place of what was stored before, for its next attempt. Extends the lease as well.

        Raises `LeaseLost`.
        """
        return in_force(self._ask(requests.checkpoint(lease, data, length))[0])

    def progress(self, lease: Lease, percent: int, text: str = "") -> None:
        """Says how far a job is, for people: it is not on disk, and prolongs no lease."""
        self._ask(requests.progress(lease, percent, text))

    def output(self, lease: Lease, stream: int, data: bytes) -> None:
        """Keeps a piece of what a job prints: on stream 1 or 2."""
        self._ask(requests.output(lease, stream, data))

    def take_up(self, name: str, token: bytes, leases: Sequence[Lease]) -> Tuple[float, List[Optional[LeaseFault]]]:
        """Says who this worker is (with 16 random bytes that only it knows) and which leases it has, so that they outlive the
        daemon. Returns for how many seconds a daemon leaves them alone after its start, and for each whether it is in force.
        """
        return self._ask(requests.take_up(name, token, leases))

    # Jobs

    def signal(self, job: int, name: str, data: Union[bytes, str] = b"") -> None:
        """Tells a job something that it waits for, or will."""
        self._ask(requests.signal(job, name, data))

    def body(self, job: int) -> bytes:
        """A job's body."""
        return self._ask(requests.body(job))

    def replace_body(self, job: int, body: Union[bytes, str]) -> None:
        """Gives a job that does not run another body."""
        self._ask(requests.replace_body(job, body))

    def result(self, job: int) -> bytes:
        """What a job has come to. Raises `Refused`: not found if it has none, wrong state if it is not done."""
        return self._ask(requests.result(job))

    def stored_checkpoint(self, job: int) -> bytes:
        """A job's newest checkpoint. Raises `Refused`: not found if it has none."""
        return self._ask(requests.stored_checkpoint(job))

    def wait(self, jobs: Sequence[int], longest: Optional[Seconds] = None) -> List[Dict[str, Any]]:
        """Waits until these jobs have ended, or for so long; returns how each is (`id`, `state`, `error`, …)."""
        found: List[Dict[str, Any]] = self._ask(requests.wait_for_jobs(jobs, longest))
        return found

    def wait_for_groups(
        self, groups: Sequence[str], longest: Optional[Seconds] = None, first_error: bool = False
    ) -> List[Dict[str, Any]]:
        """The same for groups of jobs; with `first_error` a group is waited for until one of its jobs is not done."""
        found: List[Dict[str, Any]] = self._ask(requests.wait_for_groups(groups, longest, first_error))
        return found

    # Questions

    def query(self, question: Mapping[str, Any]) -> Any:
        """Asks anything in JSON: `{"do": "show", "id": 42}`. Returns the answer, None where there is nothing to say.

        For questions that wait for something use `wait` and `wait_for_groups`, which know how long.
        """
        return self._ask(requests.query(question))

    def status(self) -> Dict[str, Any]:
        """The daemon and its queues."""
        found: Dict[str, Any] = self.query({"do": "status"})
        return found

    def show(self, job: int) -> Dict[str, Any]:
        """All of one job but its body. Raises `Refused`: not found."""
        found: Dict[str, Any] = self.query({"do": "show", "id": job})
        return found

    def list(self, limit: int = 50, **filters: Any) -> Dict[str, Any]:
        """A page of at most `limit` jobs: `jobs`, and `next` where there may be more, to be given as `after`. Filters are those
        of the protocol: `queue`, `state`, `tags`, `key`, `group`, ….
        """
        found: Dict[str, Any] = self.query({"do": "list", "limit": limit, **filters})
        return found

    def edit(self, what: str, jobs: Iterable[int], **more: Any) -> List[Dict[str, Any]]:
        """Changes jobs: `cancel`, `retry`, `kick`, `bury`, `delete`, `move` (with `to`), `prioritize` (with `priority`).

        What became of each job is in the answer: `error` if it was refused.
        """
        found: List[Dict[str, Any]] = self.query({"do": "edit", "edit": what, "ids": [*jobs], **more})
        return found

    def cancel(self, *jobs: int) -> List[Dict[str, Any]]:
        """Stops jobs for good, running ones too."""
        return self.edit("cancel", jobs)

    # Streams, each on a connection of its own

    def _stream(self, request: Request[Optional[T]]) -> Iterator[T]:
        return stream(find_socket(self._socket), self._name, self.timeout, request)

    def logs(self, job: int, follow: bool = False) -> Iterator[Output]:
        """What a job has printed; with `follow` until it has ended."""
        return self._stream(requests.logs(job, follow))

    def changes(self, queue: Optional[str] = None, job: Optional[int] = None) -> Iterator[Change]:
        """What becomes of jobs, as it happens, from when the iterator is first asked. Closing the iterator ends it."""
        missed = 0
        for more, found in self._stream(requests.changes(queue, job)):
            missed += more
            for change in found:
                yield change._replace(missed=missed)
                missed = 0

    def backup(self, shard: Optional[int] = None) -> Iterator[bytes]:
        """The pieces of a backup. It is complete if the iterator ends without an error.

        `shard`: of which, in a cluster of several, from 0 on.
        """
        return self._stream(requests.backup(shard))
