"""The requests of the protocol as bytes. Every function gives a `Request`, which also knows how its answer is read.

All of them raise `ValueError` for what has no place in the request.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Callable, Generic, Iterable, List, Mapping, Optional, Sequence, Tuple, TypeVar, Union

from ..model import Change, ClaimedJob, Lease, LeaseFault, NewJob, Output, Receipts, Seconds, data_of, millis
from ..verdict import Verdict
from . import answers
from .jobs import put_jobs, put_lease
from .wire import Writer

T = TypeVar("T")

VERSION = 2

HELLO, SUBMIT, CLAIM, SETTLE, EXTEND, OUTPUT, UNWAIT = 0x01, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15
SUBMIT_AND_WAIT, PROGRESS, CHECKPOINT, ADMIN, BODY, LOGS, BACKUP = 0x16, 0x17, 0x18, 0x20, 0x21, 0x22, 0x23
BESIDE, SIGNAL, TAKE_UP, CHANGES, LEAVE, REPLACE_BODY = 0x24, 0x25, 0x28, 0x29, 0x2A, 0x50

_STORED_CHECKPOINT, _RESULT = 1, 2
_FOR_EVER = (1 << 64) - 1


@dataclass(frozen=True)
class Request(Generic[T]):
    """A request: its kind, its payload, how its answer is read, and how long the daemon may wait with that on purpose
    (seconds; None: for ever).
    """

    kind: int
    payload: bytes
    read: Callable[[int, bytes], T]
    wait: Optional[float] = 0.0


Jobs = Union[NewJob, Iterable[NewJob]]


def hello(name: str) -> Request[answers.Welcome]:
    """The greeting: this client speaks no other version."""
    out = Writer().raw(b"MUSH").u8(VERSION, "the version").u8(0, "the lowest version").text(name, "the client's name")
    return Request(HELLO, out.done(), answers.welcome)


def submit(jobs: Jobs, key: Optional[str] = None, completes: Optional[Lease] = None) -> Request[Receipts]:
    """New jobs, all or none."""
    out = Writer()
    if key is not None:
        out.option(1, key.encode(), must=True)
    if completes is not None:
        out.option(2, put_lease(Writer(), completes).done(), must=True)
    put_jobs(out.end(), jobs)
    return Request(SUBMIT, out.done(), answers.receipts)


def submit_and_wait(jobs: Jobs, longest: Optional[Seconds] = None) -> Request[Union[Receipts, Any]]:
    """New jobs, and then their ends, as a second answer."""
    out = Writer()
    if longest is not None:
        out.number(1, millis(longest, "the longest wait"), "the longest wait")
    put_jobs(out.end(), jobs)
    return Request(SUBMIT_AND_WAIT, out.done(), answers.receipts_or_json, _wait(longest))


def claim(
    queues: Union[str, Sequence[str]],
    most: int = 1,
    wait: Optional[Seconds] = 0,
    length: Optional[Seconds] = None,
    bound: bool = True,
) -> Request[List[ClaimedJob]]:
    """Leases jobs that are ready."""
    names = [queues] if isinstance(queues, str) else list(queues)
    out = Writer().u16(len(names), "the number of queues")
    for name in names:
        out.text(name, "a queue's name")
    out.u32(most, "the number of jobs")
    if length is not None:
        out.number(1, millis(length, "the lease"), "the lease")
    wait_ms = _FOR_EVER if wait is None else millis(wait, "the wait")
    if wait_ms:
        out.number(2, wait_ms, "the wait")
    if bound:
        out.number(3, 1, "bound")
    return Request(CLAIM, out.end().done(), answers.jobs, _wait(wait))


def settle(items: Sequence[Tuple[Lease, Verdict]]) -> Request[List[Optional[LeaseFault]]]:
    """Says what became of attempts."""
    out = Writer().u32(len(items), "the number of settles")
    for lease, verdict in items:
        _put_verdict(put_lease(out, lease), verdict)
    return Request(SETTLE, out.done(), lambda kind, payload: answers.settled(kind, payload, len(items)))


def _put_verdict(out: Writer, verdict: Verdict) -> None:
    if verdict.number:
        out.number(1, verdict.number, "the verdict")
    if verdict.error:
        out.option(2, verdict.error.encode())
    if verdict.wait is not None:
        out.number(3, millis(verdict.wait, "the wait"), "the wait")
    if verdict.exit is not None:
        kind, number = verdict.exit
        out.option(4, Writer().u8(kind, "how the process ended").u8(number, "the status or signal").done())
    if verdict.result is not None:
        out.option(5, verdict.result, must=True)
    if verdict.signal is not None:
        out.option(6, verdict.signal.encode(), must=True)
    out.end()


def extend(leases: Sequence[Lease], length: Optional[Seconds] = None) -> Request[List[Union[float, LeaseFault]]]:
    """Makes leases last longer: from now on, so long or as the queue says."""
    out = _leases(Writer(), leases)
    if length is not None:
        out.number(1, millis(length, "the lease"), "the lease").end()
    return Request(EXTEND, out.done(), lambda kind, payload: answers.extended(kind, payload, len(leases)))


def _leases(out: Writer, leases: Sequence[Lease]) -> Writer:
    out.u32(len(leases), "the number of leases")
    for lease in leases:
        put_lease(out, lease)
    return out


def take_up(name: str, token: bytes, leases: Sequence[Lease]) -> Request[answers.TakenUp]:
    """Says who this worker is, and which leases it has."""
    if len(token) != 16:
        raise ValueError(f"the token has {len(token)} bytes instead of 16")
    out = _leases(Writer().text(name, "the worker's name").raw(token), leases)
    return Request(TAKE_UP, out.done(), lambda kind, payload: answers.taken_up(kind, payload, len(leases)))


def output(lease: Lease, stream: int, data: bytes) -> Request[None]:
    """A piece of what a job prints."""
    out = put_lease(Writer(), lease).u8(stream, "the stream").end().raw(data)
    return Request(OUTPUT, out.done(), answers.ok)


def leave() -> Request[None]:
    """Says that this worker leaves, and comes back by another connection: its leases do not end with this one."""
    return Request(LEAVE, b"", answers.ok)


def progress(lease: Lease, percent: int, text: str = "") -> Request[None]:
    """How far a job is, for people."""
    out = put_lease(Writer(), lease).u8(percent, "percent")
    if text:
        out.option(1, text.encode()).end()
    return Request(PROGRESS, out.done(), answers.ok)


def checkpoint(
    lease: Lease, data: Union[bytes, str], length: Optional[Seconds] = None
) -> Request[List[Union[float, LeaseFault]]]:
    """Stores how far a job is, for its next attempt."""
    out = put_lease(Writer(), lease)
    if length is not None:
        out.number(1, millis(length, "the lease"), "the lease")
    out.end().raw(data_of(data))
    return Request(CHECKPOINT, out.done(), lambda kind, payload: answers.extended(kind, payload, 1))


def signal(job: int, name: str, data: Union[bytes, str] = b"") -> Request[None]:
    """Tells a job something that it waits for, or will."""
    out = Writer().u64(job, "the job").option(1, name.encode()).end().raw(data_of(data))
    return Request(SIGNAL, out.done(), answers.ok)


def replace_body(job: int, body: Union[bytes, str]) -> Request[None]:
    """Gives a job that does not run another body."""
    return Request(REPLACE_BODY, Writer().u64(job, "the job").end().raw(data_of(body)).done(), answers.ok)


def body(job: int) -> Request[bytes]:
    """A job's body."""
    return Request(BODY, Writer().u64(job, "the job").done(), answers.body)


def result(job: int) -> Request[bytes]:
    """What a job has come to."""
    return Request(BESIDE, Writer().u64(job, "the job").u8(_RESULT, "what").done(), answers.body)


def stored_checkpoint(job: int) -> Request[bytes]:
    """A job's newest checkpoint."""
    return Request(BESIDE, Writer().u64(job, "the job").u8(_STORED_CHECKPOINT, "what").done(), answers.body)


def logs(job: int, follow: bool = False) -> Request[Optional[Output]]:
    """What a job has printed; None is the end."""
    out = Writer().u64(job, "the job")
    if follow:
        out.number(1, 1, "follow").end()
    return Request(LOGS, out.done(), answers.output_or_end, None if follow else 0.0)


def changes(queue: Optional[str] = None, job: Optional[int] = None) -> Request[Optional[Tuple[int, List[Change]]]]:
    """What becomes of jobs from now on; None is the end."""
    out = Writer()
    if queue is not None:
        out.option(1, queue.encode(), must=True)
    if job is not None:
        out.number(2, job, "the job", must=True)
    return Request(CHANGES, out.end().done(), answers.changes_or_end, None)


def backup(shard: Optional[int] = None) -> Request[Optional[bytes]]:
    """The pieces of a backup; None is the end. `shard`: of which, in a cluster of several."""
    out = Writer()
    if shard is not None:
        out.number(1, shard, "the shard", must=True).end()
    return Request(BACKUP, out.done(), answers.piece_or_end)


def unwait(number: int) -> Request[None]:
    """Has a request that waits answered at once."""
    return Request(UNWAIT, Writer().u32(number, "the request").done(), answers.ok)


def query(question: Mapping[str, Any], wait: Optional[float] = 0.0) -> Request[Any]:
    """A question in JSON."""
    text = json.dumps(question, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Request(ADMIN, text.encode(), answers.json_or_ok, wait)


def wait_for_jobs(jobs: Sequence[int], longest: Optional[Seconds] = None) -> Request[Any]:
    """Waits for the ends of jobs."""
    return _waiting({"do": "wait", "ids": list(jobs)}, longest)


def wait_for_groups(
    groups: Sequence[str], longest: Optional[Seconds] = None, first_error: bool = False
) -> Request[Any]:
    """Waits for the ends of groups."""
    question = {"do": "wait_for_groups", "groups": list(groups)}
    return _waiting({**question, "first_error": True} if first_error else question, longest)


def _waiting(question: Mapping[str, Any], longest: Optional[Seconds]) -> Request[Any]:
    if longest is not None:
        question = {**question, "timeout_ms": millis(longest, "the longest wait")}
    return query(question, _wait(longest))


def _wait(longest: Optional[Seconds]) -> Optional[float]:
    return None if longest is None else millis(longest, "the longest wait") / 1000
