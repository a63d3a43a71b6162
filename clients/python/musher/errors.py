"""What may go wrong between a program and its daemon, as exceptions."""

from __future__ import annotations

import enum
from typing import List, Optional, Union


class ErrorCode(enum.IntEnum):
    """The numbers by which the daemon says what kind of refusal it is."""

    MALFORMED = 1
    VERSION = 2
    INVALID = 3
    TOO_LARGE = 4
    NOT_FOUND = 5
    FORBIDDEN = 6
    WRONG_STATE = 7
    UNSUPPORTED = 8
    NOT_UNIQUE = 9
    DRAINING = 20
    QUEUE_FULL = 21
    DISK_FULL = 22
    BUSY = 23
    INTERNAL = 40


class MusherError(Exception):
    """All errors of this package."""


class ConnectError(MusherError):
    """No daemon answers at the socket. `path` is the socket, `__cause__` what the system said."""

    def __init__(self, path: str, why: object) -> None:
        super().__init__(
            f"no daemon answers at {path}: {why}; start one with `musher serve`, or name its socket in MUSHER_SOCKET"
        )
        self.path = path


class Disconnected(MusherError):
    """The connection is gone. Whether the daemon has done what was asked is not known."""

    def __init__(self, why: str = "") -> None:
        super().__init__("the connection to the daemon has ended" + (f": {why}" if why else ""))


class NoAnswer(Disconnected):
    """The daemon did not answer in time, so the connection was closed."""


class ProtocolError(MusherError):
    """The daemon has sent something that cannot be read."""


class Refused(MusherError):
    """The daemon has refused, or failed. The text is the daemon's own.

    `code` is an `ErrorCode`, or a plain number that this version does not know.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code: Union[ErrorCode, int] = ErrorCode(code) if code in _CODES else code
        self.message = message

    @property
    def may_try_again(self) -> bool:
        """Whether the same request may succeed later."""
        return self.code in _LATER


_CODES = frozenset(int(code) for code in ErrorCode)
_LATER = frozenset((ErrorCode.DRAINING, ErrorCode.QUEUE_FULL, ErrorCode.DISK_FULL, ErrorCode.BUSY))


class LeaseLost(MusherError):
    """A lease is not in force any more: somebody else may have the job, so drop its result.

    `job` is the job's id, `state` its state and `newest` its newest attempt, where the daemon has said so.
    """

    def __init__(self, job: int, text: str, state: Optional[str] = None, newest: Optional[int] = None) -> None:
        super().__init__(text)
        self.job = job
        self.state = state
        self.newest = newest


class RequestTooLarge(MusherError, ValueError):
    """A request has more bytes than the daemon takes (`limits.frame`). Nothing was sent."""

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(
            f"the request has {length} bytes, at most {limit} are allowed (limits.frame); send the jobs in smaller batches"
        )


class Untold(MusherError):
    """A worker had to stop without a daemon, and could not tell what these `jobs` have come to. They run again."""

    def __init__(self, jobs: List[int]) -> None:
        super().__init__(f"the daemon is away, and was not told what {len(jobs)} jobs have come to; they run again")
        self.jobs = jobs
