"""The answers of the protocol, read from bytes. All of them raise `ProtocolError` for what is not as the protocol says."""

from __future__ import annotations

import json
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union

from ..errors import ProtocolError, Refused
from ..model import (
    STATES,
    Change,
    ClaimedJob,
    Lease,
    LeaseFault,
    Limits,
    Notice,
    Output,
    Receipts,
    Revoked,
    Stopping,
)
from .wire import Reader, number, utf8

WELCOME, SUBMITTED, JOBS, SETTLED, EXTENDED, OK, BODY, OUTPUT = 0x81, 0x90, 0x91, 0x92, 0x93, 0x94, 0x95, 0x96
PIECE, RECEIVED, CHANGES, JSON, TAKEN_UP, REVOKED, STOPPING, ERROR = 0x97, 0x98, 0x99, 0xA0, 0xA8, 0xC0, 0xC1, 0xF0

_RECEIVED = ("new", "existing", "changed")
_GONE = 255
# The fewest bytes of a receipt, of a change and of a job.
_RECEIPT, _CHANGE, _JOB = 9, 27, 47


class Welcome(NamedTuple):
    """What the daemon says first."""

    version: int
    limits: Limits
    name: str


class TakenUp(NamedTuple):
    """How long the daemon leaves leases alone after its start, in seconds, and what it says of each that was named."""

    resume_within: float
    faults: List[Optional[LeaseFault]]


def _open(kind: int, payload: bytes, wanted: int) -> Reader:
    if kind != wanted:
        raise ProtocolError(
            f"the daemon's answer has the kind {kind:#04x} instead of {wanted:#04x}: "
            "it is newer than this program, or this is a bug"
        )
    return Reader(payload)


def error(payload: bytes) -> Refused:
    """A refusal, to be raised."""
    reader = Reader(payload)
    refused = Refused(reader.u16("the code"), reader.text("the message"))
    reader.end("an error")
    return refused


def welcome(kind: int, payload: bytes) -> Welcome:
    reader = _open(kind, payload, WELCOME)
    version = reader.u16("the version")
    limits = Limits(reader.u32("a limit"), reader.u32("a limit"), reader.u32("a limit"))
    name = reader.text("the daemon's name")
    reader.end("a greeting")
    return Welcome(version, limits, name)


def receipts(kind: int, payload: bytes) -> Receipts:
    if kind == RECEIVED:
        reader = Reader(payload)
        ids, whats = [], []
        for _ in range(reader.count(_RECEIPT, "receipts")):
            ids.append(reader.u64("an id"))
            what = reader.u8("what became of a job")
            if what >= len(_RECEIVED):
                raise ProtocolError(f"job {ids[-1]} is there in a way ({what}) that is not known here")
            whats.append(_RECEIVED[what])
        reader.end("receipts")
        return Receipts(ids, whats)
    reader = _open(kind, payload, SUBMITTED)
    first, count = reader.u64("an id"), reader.u64("the number of jobs")
    reader.end("a submit's answer")
    if count >= 1 << 32:
        raise ProtocolError(f"{count} jobs at once: there cannot be so many")
    return Receipts(range(first, first + count))


def receipts_or_json(kind: int, payload: bytes) -> Union[Receipts, Any]:
    return receipts(kind, payload) if kind in (SUBMITTED, RECEIVED) else json_or_ok(kind, payload)


def _lease(reader: Reader) -> Lease:
    return Lease(reader.u64("a job's id"), reader.u32("an attempt"))


def jobs(kind: int, payload: bytes) -> List[ClaimedJob]:
    reader = _open(kind, payload, JOBS)
    found = [_job(reader) for _ in range(reader.count(_JOB, "jobs"))]
    reader.end("jobs")
    return found


def _job(reader: Reader) -> ClaimedJob:
    lease = _lease(reader)
    attempts = reader.u32("the attempts")
    length, until = reader.u64("the lease"), reader.u64("the lease's end")
    queue = reader.text("the queue's name")
    priority, owner = reader.u32("the priority"), reader.u32("the owner")
    options = reader.options((1, 2, 3, 4, 5, 6, 7), "a job")
    timeout = number(options.get(1, b""), "the timeout")
    return ClaimedJob(
        lease=lease,
        queue=queue,
        body=reader.blob("the body"),
        attempts=attempts,
        lease_length=length / 1000,
        lease_until=until / 1000,
        priority=priority,
        owner=owner,
        timeout=timeout / 1000 if timeout else None,
        tags=_tags(options.get(2, b"")),
        key=utf8(options[3], "the key") if 3 in options else None,
        deadline=number(options[4], "the deadline") / 1000 if 4 in options else None,
        checkpoint=options.get(5),
        signal=(utf8(options[6], "the signal's name"), options.get(7, b"")) if 6 in options else None,
    )


def _tags(value: bytes) -> Dict[str, str]:
    reader = Reader(value)
    tags: Dict[str, str] = {}
    while not reader.is_empty:
        name = reader.text("a tag's name")
        tags[name] = reader.text("a tag's value")
    return tags


def _fault(reader: Reader) -> Optional[LeaseFault]:
    reason = reader.u8("a result")
    if reason == 0:
        return None
    job = reader.u64("a job's id")
    options = reader.options((1, 2, 3), "a result")
    attempt, newest, state = (number(options.get(n, b""), "a result") for n in (1, 2, 3))
    if reason == 2:
        return LeaseFault(job, "lost", attempt, newest, _state(state))
    return LeaseFault(job, "not found" if reason == 1 else str(reason))


def _state(state: int) -> str:
    return STATES[state] if state < len(STATES) else f"in state {state}, which is not known here"


def _same(count: int, expected: int) -> None:
    if count != expected:
        raise ProtocolError(f"the daemon has answered {count} of {expected} leases")


def settled(kind: int, payload: bytes, expected: int) -> List[Optional[LeaseFault]]:
    reader = _open(kind, payload, SETTLED)
    faults = [_fault(reader) for _ in range(reader.count(1, "results"))]
    reader.end("results")
    _same(len(faults), expected)
    return faults


def extended(kind: int, payload: bytes, expected: int) -> List[Union[float, LeaseFault]]:
    """The ends of leases, or why they are not extended."""
    reader = _open(kind, payload, EXTENDED)
    results: List[Union[float, LeaseFault]] = []
    for _ in range(reader.count(1, "results")):
        fault = _fault(reader)
        results.append(reader.u64("the lease's end") / 1000 if fault is None else fault)
    reader.end("results")
    _same(len(results), expected)
    return results


def taken_up(kind: int, payload: bytes, expected: int) -> TakenUp:
    reader = _open(kind, payload, TAKEN_UP)
    within = reader.u64("the time to come back")
    faults = [_fault(reader) for _ in range(reader.count(1, "results"))]
    reader.end("results")
    _same(len(faults), expected)
    return TakenUp(within / 1000, faults)


def ok(kind: int, payload: bytes) -> None:
    _open(kind, payload, OK).end("an answer")


def body(kind: int, payload: bytes) -> bytes:
    return _open(kind, payload, BODY).rest()


def json_or_ok(kind: int, payload: bytes) -> Any:
    """None where there is nothing to say."""
    if kind == OK:
        ok(kind, payload)
        return None
    try:
        return json.loads(_open(kind, payload, JSON).rest())
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the daemon's answer is not JSON: {error}") from error


def output_or_end(kind: int, payload: bytes) -> Optional[Output]:
    if kind == OK:
        ok(kind, payload)
        return None
    reader = _open(kind, payload, OUTPUT)
    attempt, stream = reader.u32("the attempt"), reader.u8("the stream")
    reader.options((), "a piece of output")
    return Output(attempt, stream, reader.rest())


def piece_or_end(kind: int, payload: bytes) -> Optional[bytes]:
    if kind == OK:
        ok(kind, payload)
        return None
    return _open(kind, payload, PIECE).rest()


def changes_or_end(kind: int, payload: bytes) -> Optional[Tuple[int, List[Change]]]:
    """How many changes were left out before these, and these."""
    if kind == OK:
        ok(kind, payload)
        return None
    reader = _open(kind, payload, CHANGES)
    missed, found = reader.u64("the number of missed changes"), []
    for _ in range(reader.count(_CHANGE, "changes")):
        first, count = reader.u64("a job's id"), reader.u64("the number of jobs")
        queue, state = reader.text("a queue's name"), reader.u8("a state")
        name = "gone" if state == _GONE else _state(state)
        found.append(Change(first, count, queue, name, reader.u64("a time") / 1000, 0))
    reader.end("changes")
    return missed, found


def notice(kind: int, payload: bytes) -> Optional[Notice]:
    """What the daemon says unasked; None if it is not known here, which is ignored."""
    reader = Reader(payload)
    if kind == REVOKED:
        told = Revoked(_lease(reader), reader.u8("why") != 1)
        reader.end("a notice")
        return told
    if kind == STOPPING:
        stops = Stopping(reader.u64("the time") / 1000)
        reader.end("a notice")
        return stops
    return None
