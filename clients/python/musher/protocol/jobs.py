"""Jobs of a submit as bytes: groups of jobs that are alike, each with its options once."""

from __future__ import annotations

from typing import Iterable, List, Sequence, Tuple, Union

from ..model import After, Backoff, Lease, NewJob, Unique, data_of, millis, moment
from .wire import Writer

_BACKOFFS = ("fixed", "linear", "exponential")
_CONFLICTS = ("existing", "raise", "debounce", "reject", "replace")
_CONDITIONS = ("done", "ended", "failed")
_UNMET = ("cancel", "run", "hold")


def put_lease(out: Writer, lease: Lease) -> Writer:
    """A lease is an id and an attempt."""
    return out.u64(lease[0], "a job's id").u32(lease[1], "an attempt")


def put_jobs(out: Writer, jobs: Union[NewJob, Iterable[NewJob]]) -> None:
    """The groups of a submit. Jobs that follow each other and are alike make one."""
    groups: List[Tuple[bytes, List[bytes]]] = []
    for job in (jobs,) if isinstance(jobs, NewJob) else jobs:
        head = _head(job)
        if not groups or groups[-1][0] != head:
            groups.append((head, []))
        groups[-1][1].append(data_of(job.body))
    out.u32(len(groups), "the number of groups")
    for head, bodies in groups:
        out.raw(head).u32(len(bodies), "the number of bodies")
        for body in bodies:
            out.blob(body, "a body")


def _head(job: NewJob) -> bytes:
    out = Writer().text(job.queue, "the queue's name")
    if job.delay is not None and job.at is not None:
        raise ValueError("a job has a delay or an earliest start, not both")
    if job.priority is not None:
        out.number(1, job.priority, "the priority")
    if job.delay is not None:
        out.number(2, millis(job.delay, "the delay"), "the delay")
    if job.at is not None:
        out.number(3, moment(job.at, "the earliest start"), "the earliest start")
    if job.ttl is not None:
        out.number(4, millis(job.ttl, "the time to live"), "the time to live")
    if job.attempts is not None:
        out.number(5, job.attempts, "the attempts")
    if job.backoff is not None:
        out.option(6, _backoff(job.backoff))
    if job.timeout is not None:
        out.number(7, millis(job.timeout, "the timeout"), "the timeout")
    if job.tags:
        out.option(8, _tags(job))
    if job.key is not None:
        out.option(9, job.key.encode(), must=True)
    if job.unique is not None:
        _put_unique(out, Unique(job.unique) if isinstance(job.unique, str) else job.unique)
    if job.deadline is not None:
        out.number(15, millis(job.deadline, "the deadline"), "the deadline", must=True)
    _put_ties(out, job)
    if job.to_topic:
        out.option(20, b"", must=True)
    return out.end().done()


def _tags(job: NewJob) -> bytes:
    tags = Writer()
    for name, value in job.tags.items():
        tags.text(name, "a tag's name").text(value, "a tag's value")
    return tags.done()


def _backoff(backoff: Backoff) -> bytes:
    kind = _place(_BACKOFFS, backoff.kind, "the backoff's kind")
    out = Writer().u8(kind, "kind").u64(millis(backoff.base, "the backoff's base"), "base")
    out.u64(millis(backoff.longest, "the longest wait"), "longest")
    return out.u16(round(backoff.jitter * 1000), "the jitter, in thousandths,").done()


def _put_unique(out: Writer, unique: Unique) -> None:
    out.option(10, unique.key.encode(), must=True)
    if unique.held == "waiting":
        out.option(11, b"", must=True)
    elif isinstance(unique.held, str):
        if unique.held != "unfinished":
            raise ValueError(f"held is {unique.held!r}: `waiting`, `unfinished` or a time")
    else:
        out.number(12, millis(unique.held, "how long the key is held"), "held", must=True)
    conflict = _place(_CONFLICTS, unique.on_conflict, "on_conflict")
    if conflict:
        out.number(13, conflict, "on_conflict", must=True)
    if unique.longest is not None:
        out.number(14, millis(unique.longest, "the longest delay"), "longest", must=True)


def _put_ties(out: Writer, job: NewJob) -> None:
    if job.after:
        after = Writer()
        for one in job.after:
            _put_after(after, After(job=one) if isinstance(one, int) else one)
        out.option(16, after.done(), must=True)
    unmet = _place(_UNMET, job.on_unmet, "on_unmet")
    if unmet:
        out.number(17, unmet, "on_unmet", must=True)
    if job.group is not None:
        out.option(18, job.group.encode(), must=True)
    if job.seal:
        out.option(19, b"", must=True)


def _put_after(out: Writer, after: After) -> None:
    when = _place(_CONDITIONS, after.when, "when")
    if [after.job, after.place, after.group].count(None) != 2:
        raise ValueError("a job waits for a job, a place or a group: one of these for each `After`")
    if after.job is not None:
        out.u8(0, "kind").u8(when, "when").u64(after.job, "the job that is waited for")
    elif after.place is not None:
        out.u8(1, "kind").u8(when, "when").u32(after.place, "the place that is waited for")
    elif after.group is not None:
        out.u8(2, "kind").u8(when, "when").text(after.group, "the group that is waited for")


def _place(names: Sequence[str], name: str, what: str) -> int:
    if name not in names:
        raise ValueError(f"{what} is {name!r}: one of {', '.join(names)}")
    return names.index(name)
