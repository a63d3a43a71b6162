"""What programs and the daemon tell each other: jobs to submit, jobs to work on, and what became of them.

Times are seconds, as `float`, `int` or `timedelta`; points in time are seconds since 1970, or a `datetime`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Iterator, Mapping, NamedTuple, Optional, Sequence, Tuple, Union, overload

Seconds = Union[float, timedelta]
Moment = Union[float, datetime]

STATES = ("scheduled", "ready", "leased", "done", "dead", "cancelled", "expired", "waiting")
"""The states of a job, by their numbers."""


def seconds(value: Seconds) -> float:
    """A time as a number."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def millis(value: Seconds, what: str) -> int:
    """Seconds as the protocol has them. Raises `ValueError` if they are less than nothing."""
    time = seconds(value)
    if not 0 <= time < 1 << 53:
        raise ValueError(f"{what} is {time} s: it must be 0 or more")
    return round(time * 1000)


def moment(value: Moment, what: str) -> int:
    """A point in time as the protocol has it. Raises `ValueError` if it is before 1970."""
    return millis(value.timestamp() if isinstance(value, datetime) else value, what)


def data_of(value: Union[bytes, str]) -> bytes:
    """A text is UTF-8."""
    return value.encode() if isinstance(value, str) else bytes(value)


class Lease(NamedTuple):
    """One attempt at a job, which one worker has for a time."""

    id: int
    attempt: int


@dataclass(frozen=True)
class Backoff:
    """The waits between attempts: `kind` is `fixed`, `linear` or `exponential`, `jitter` a part from 0 to 1."""

    kind: str
    base: Seconds
    longest: Seconds
    jitter: float = 0.0


@dataclass(frozen=True)
class Unique:
    """A unique key: of the jobs of a queue that hold the same one there is only one.

    `held` says until when a job holds it: `unfinished` (until it has ended), `waiting` (until its first attempt begins),
    or so many seconds after its end. `on_conflict` says what happens if another job holds it: `existing` (nothing),
    `raise` (that one gets the higher priority of both), `debounce` (it runs as late as this one would, at most `longest`
    after its arrival; the job must have a `delay` or an `at`), `reject` (the submit is refused), or `replace` (it gets
    body, priority and start of this one).
    """

    key: str
    held: Union[str, Seconds] = "unfinished"
    on_conflict: str = "existing"
    longest: Optional[Seconds] = None


@dataclass(frozen=True)
class After:
    """Something that a job waits for: one of a `job`, the `place` of an earlier job of the same submit (from 0 on), or
    the name of a `group`. `when` is how it must end: `done`, `ended` or `failed`.
    """

    job: Optional[int] = None
    place: Optional[int] = None
    group: Optional[str] = None
    when: str = "done"


@dataclass(frozen=True)
class NewJob:
    """A job to submit. What is None is left to the queue's settings, or not wanted.

    `priority`: 0 goes first. `delay` or `at`: when it may run at the earliest. `ttl`: it expires if it was never claimed
    until then. `deadline`: it expires if it has not ended until then. `attempts`: after how many failed ones it is dead.
    `timeout`: of one attempt; 0 for without end. `key`: of jobs with the same one only so many run at a time. `after`:
    what it waits for, all of it (a number is a job's id); `on_unmet`: what becomes of it if one of these ends otherwise:
    `cancel`, `run` or `hold`. `group`: the group that it belongs to, and with `seal` the last one that it takes.
    `to_topic`: the queue's name is that of a topic.
    """

    queue: str
    body: Union[bytes, str] = b""
    priority: Optional[int] = None
    delay: Optional[Seconds] = None
    at: Optional[Moment] = None
    ttl: Optional[Seconds] = None
    deadline: Optional[Seconds] = None
    attempts: Optional[int] = None
    backoff: Optional[Backoff] = None
    timeout: Optional[Seconds] = None
    tags: Mapping[str, str] = field(default_factory=dict)
    key: Optional[str] = None
    unique: Union[Unique, str, None] = None
    after: Sequence[Union[After, int]] = ()
    on_unmet: str = "cancel"
    group: Optional[str] = None
    seal: bool = False
    to_topic: bool = False


class Receipt(NamedTuple):
    """What became of one job of a submit: its id, or that of the job that holds its unique key.

    `what` is `new`, `existing` (it was there) or `changed` (it was there, and has changed).
    """

    id: int
    what: str


class Receipts(Sequence[Receipt]):
    """What became of the jobs of a submit, in their order."""

    def __init__(self, ids: Sequence[int], whats: Optional[Sequence[str]] = None) -> None:
        self.ids = ids
        self._whats = whats

    @property
    def id(self) -> int:
        """The id of the first job, for submits of one. Raises `IndexError` if there is none."""
        return self.ids[0]

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, at: int) -> Receipt: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Receipt]: ...

    def __getitem__(self, at: Union[int, slice]) -> Union[Receipt, Sequence[Receipt]]:
        if isinstance(at, slice):
            return [self[n] for n in range(*at.indices(len(self)))]
        return Receipt(self.ids[at], self._whats[at] if self._whats else "new")

    def __iter__(self) -> Iterator[Receipt]:
        return (self[n] for n in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Receipts) and list(self) == list(other)

    def __repr__(self) -> str:
        return f"Receipts({list(self)!r})"


@dataclass(frozen=True)
class ClaimedJob:
    """A job as a worker gets it.

    `attempts`: after how many failed ones it is dead. `lease_length`: seconds; `lease_until` and `deadline`: seconds since
    1970. `timeout`: seconds that this attempt may take. `owner`: the number of the user who submitted it. `checkpoint`:
    the newest that an earlier attempt has stored. `signal`: name and data of the signal that it has waited for.
    """

    lease: Lease
    queue: str
    body: bytes
    attempts: int
    lease_length: float
    lease_until: float
    priority: int
    owner: int
    timeout: Optional[float] = None
    tags: Mapping[str, str] = field(default_factory=dict)
    key: Optional[str] = None
    deadline: Optional[float] = None
    checkpoint: Optional[bytes] = None
    signal: Optional[Tuple[str, bytes]] = None

    @property
    def id(self) -> int:
        """The job's id."""
        return self.lease.id

    @property
    def attempt(self) -> int:
        """Which attempt this is."""
        return self.lease.attempt

    def json(self) -> Any:
        """The body, read as JSON. Raises `ValueError` if it is none."""
        return json.loads(self.body)


@dataclass(frozen=True)
class LeaseFault:
    """Why one settle, extend or take up was refused: the job is not there, or the lease is not in force."""

    job: int
    reason: str
    attempt: int = 0
    newest: int = 0
    state: str = ""

    @property
    def is_cancelled(self) -> bool:
        """Whether the job is cancelled and this attempt is the one that is to stop, and to say so by a release."""
        return self.reason == "lost" and self.attempt == self.newest and self.state == "cancelled"

    def __str__(self) -> str:
        if self.reason == "not found":
            return f"job {self.job} not found: it was never submitted, or has ended and is not kept"
        if self.reason == "lost":
            return (
                f"lease lost: attempt {self.attempt} of job {self.job} is not in force (the job is {self.state}, "
                f"attempt {self.newest}); drop its result"
            )
        return f"job {self.job}: refused for a reason that is not known here ({self.reason}); drop its result"


class Change(NamedTuple):
    """So many jobs of consecutive ids from `first` on have come into a state, `at` seconds since 1970.

    `missed` is how many changes were left out before this one.
    """

    first: int
    how_many: int
    queue: str
    state: str
    at: float
    missed: int


class Output(NamedTuple):
    """A piece of what a job has printed: `stream` is 1 or 2."""

    attempt: int
    stream: int
    data: bytes


class Limits(NamedTuple):
    """What the daemon takes: the longest frame and body, in bytes, and the most jobs of a request."""

    frame: int
    body: int
    batch: int


class Revoked(NamedTuple):
    """A lease has ended under its holder, because the job was `cancelled` by hand, or its time was over."""

    lease: Lease
    cancelled: bool


class Stopping(NamedTuple):
    """The daemon stops: settle within so many seconds."""

    grace: float


Notice = Union[Revoked, Stopping]
