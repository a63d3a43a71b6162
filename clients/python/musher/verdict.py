"""What a worker may say of a job that it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple, Union

from .model import Seconds, data_of

ERROR_MAX = 1000
"""Longer errors are cut, in bytes."""


@dataclass(frozen=True)
class Verdict:
    """What became of an attempt. Make one with `complete`, `fail`, `release`, `later`, `exited` or `until`."""

    number: int
    error: str = ""
    wait: Optional[Seconds] = None
    exit: Optional[Tuple[int, int]] = None
    result: Optional[bytes] = None
    signal: Optional[str] = None

    @staticmethod
    def complete(result: Union[bytes, str, None] = None) -> Verdict:
        """The job is done, with a result that is kept as long as the job (at most `limits.result`)."""
        return Verdict(0, result=None if result is None else data_of(result))

    @staticmethod
    def fail(error: str, retry_after: Optional[Seconds] = None, bury: bool = False) -> Verdict:
        """The attempt has failed. It is tried again as the queue says, or after `retry_after`; with `bury` the job is dead.

        Raises `ValueError` for both.
        """
        if bury and retry_after is not None:
            raise ValueError("a job that is buried is not tried again: no retry_after")
        return Verdict(2 if bury else 1, cut(error), retry_after)

    @staticmethod
    def release(delay: Seconds = 0) -> Verdict:
        """The job is given back; the attempt does not count."""
        return Verdict(3, wait=delay or None)

    @staticmethod
    def later(why: str = "", wait: Optional[Seconds] = None) -> Verdict:
        """Not now: again after `wait`, or as the queue's backoff says. No attempt is used up, within `later_max`."""
        return Verdict(4, cut(why), wait)

    @staticmethod
    def exited(status: Optional[int] = None, signal: Optional[int] = None, error: str = "") -> Verdict:
        """Its process has ended with this status, or by this signal: the queue's `on_exit` says what that means.

        Raises `ValueError` unless it is one of both.
        """
        if (status is None) == (signal is None):
            raise ValueError("a process ends with a status, or by a signal")
        return Verdict(5, cut(error), exit=(2, signal or 0) if status is None else (1, status))

    @staticmethod
    def until(signal: str, longest: Seconds) -> Verdict:
        """The job is given back until a signal of this name comes, or for so long."""
        return Verdict(6, wait=longest, signal=signal)


def cut(text: str) -> str:
    """A text of a length that the daemon takes, and without what UTF-8 has no place for."""
    return text.encode(errors="replace")[:ERROR_MAX].decode(errors="ignore")
