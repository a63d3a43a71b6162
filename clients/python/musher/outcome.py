"""What a handler says of its job by how it ends, and what the daemon is told of it."""

from __future__ import annotations

import enum
from typing import Any, Optional

from .model import Seconds
from .verdict import Verdict


class Later(Exception):
    """Raised by a handler: not now. The job runs again after `wait` seconds, or as the queue's backoff says. No attempt is used
    up.
    """

    def __init__(self, wait: Optional[Seconds] = None, why: str = "") -> None:
        super().__init__(why or "later")
        self.wait, self.why = wait, why


class Fail(Exception):
    """Raised by a handler: the attempt has failed with this text. With `bury` the job is dead at once, with `retry_after` it is
    tried again after so many seconds.
    """

    def __init__(self, text: str, bury: bool = False, retry_after: Optional[Seconds] = None) -> None:
        super().__init__(text)
        self.text, self.bury, self.retry_after = text, bury, retry_after


class Until(Exception):
    """Raised by a handler: the job waits until a signal of this name comes, or for `longest` seconds."""

    def __init__(self, signal: str, longest: Seconds) -> None:
        super().__init__(f"until {signal}")
        self.signal, self.longest = signal, longest


class Reason(str, enum.Enum):
    """Why a handler is told to end."""

    CANCELLED = "cancelled"
    """The job was cancelled, buried or deleted. What the handler says counts no more."""
    LEASE_LOST = "lease lost"
    """Somebody else may have the job by now. What the handler says counts no more."""
    DISCONNECTED = "disconnected"
    """The lease has ended with the connection. As for a lost lease."""
    TIMED_OUT = "timed out"
    """The attempt took longer than its timeout. It has failed, unless the handler returns."""
    DEADLINE = "deadline"
    """The job's deadline is over. As for a timeout."""
    STOPPING = "stopping"
    """The worker or the daemon stops, and the grace is over. The job is given back, unless the handler returns."""


LOST = frozenset((Reason.LEASE_LOST, Reason.DISCONNECTED))
_OVER = frozenset((Reason.TIMED_OUT, Reason.DEADLINE))


class Cut(Exception):
    """In the place of what a handler says that was told to end and did not, or was cancelled."""


def verdict_of(value: Any, error: Optional[BaseException], reason: Optional[Reason], over: str) -> Optional[Verdict]:
    """What to tell the daemon; None if it does not listen any more. `over` says which time limit there was."""
    if reason in LOST:
        return None
    if reason is Reason.CANCELLED:
        return Verdict.release()
    if isinstance(error, Later):
        return Verdict.later(error.why, error.wait)
    if isinstance(error, Until):
        return Verdict.until(error.signal, error.longest)
    if isinstance(error, Fail) and error.bury:
        return Verdict.fail(error.text, bury=True)
    if (error is not None and reason is Reason.STOPPING) or (isinstance(error, Cut) and reason not in _OVER):
        return Verdict.release()
    if isinstance(error, Cut):
        return Verdict.fail(over)
    if error is not None:
        text = error.text if isinstance(error, Fail) else text_of(error)
        if reason in _OVER:
            return Verdict.fail(f"{over}: {text}")
        return Verdict.fail(text, error.retry_after if isinstance(error, Fail) else None)
    if value is None or isinstance(value, (bytes, str)):
        return Verdict.complete(value)
    return Verdict.fail(f"the handler has returned {type(value).__name__}: a result is bytes or str, else None")


def text_of(error: BaseException) -> str:
    """An exception for people."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
