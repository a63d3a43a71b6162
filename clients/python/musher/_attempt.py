"""One attempt at a job as a worker keeps it: its lease, its times, and whether its handler was told to end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Optional, Tuple

from .model import ClaimedJob, Lease, Seconds
from .outcome import Reason

_EXTEND_LEAST, _EXTEND_MOST = 0.01, 3600.0


@dataclass(eq=False)
class Attempt:
    """An attempt whose handler runs. Times are those of `time.monotonic`."""

    job: ClaimedJob
    asked: Optional[Seconds]
    """The length of the lease to ask for."""
    until: float
    """When the lease ends, if nobody has heard of another end."""
    extend_at: Optional[float]
    """None once it is given up."""
    limit_at: Optional[float] = None
    limit_reason: Reason = Reason.TIMED_OUT
    reason: Optional[Reason] = None
    told_at: float = 0.0
    is_cut: bool = False
    is_reported: bool = False
    """The daemon was told what became of it, though the handler has not ended."""
    completing: bool = False
    """The handler completes it by itself, so that its lease may be gone."""
    completed: bool = False
    said: Optional[Tuple[int, str]] = None
    """The newest progress."""

    @property
    def lease(self) -> Lease:
        return self.job.lease

    @property
    def third(self) -> float:
        """How long after an extend the next one is due."""
        return min(max(self.job.lease_length / 3, _EXTEND_LEAST), _EXTEND_MOST)

    @property
    def over(self) -> str:
        """What is said of it when its time is over."""
        if self.limit_reason is Reason.DEADLINE:
            return "the job's deadline was over"
        return f"timed out after {self.job.timeout or 0:g} s"


def begin(job: ClaimedJob, asked: Optional[Seconds], now: float) -> Attempt:
    """An attempt that begins now."""
    attempt = Attempt(job, asked, now + job.lease_length, None)
    attempt.extend_at = now + attempt.third
    if job.timeout is not None:
        attempt.limit_at = now + job.timeout
    if job.deadline is not None:
        end = now + job.deadline - time.time()
        if attempt.limit_at is None or end < attempt.limit_at:
            attempt.limit_at, attempt.limit_reason = end, Reason.DEADLINE
    return attempt
