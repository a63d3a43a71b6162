"""What the core of a worker wants to be done: `Action`, and what a request is about: `What`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Optional, Sequence, Tuple, Union

from ._attempt import Attempt
from .model import Lease, Seconds
from .protocol.requests import Request
from .verdict import Verdict

RETRY_LEAST = 0.1
Item = Tuple[Lease, Verdict]


@dataclass(eq=False)
class Lane:
    """A queue with so many slots."""

    queue: str
    slots: int
    length: Optional[Seconds] = None
    running: int = 0
    claiming: bool = False
    retry_at: float = 0.0
    retry_wait: float = RETRY_LEAST


class Claim(NamedTuple):
    lane: Lane


class Settle(NamedTuple):
    items: Sequence[Item]


class Extend(NamedTuple):
    attempts: Sequence[Attempt]
    asked_at: float


class Progress(NamedTuple):
    """Its answer does not matter."""


What = Union[Claim, Settle, Extend, Progress]


class Send(NamedTuple):
    """Send a request, and tell `Core.answered` what it was about."""

    what: What
    request: Request[Any]


class Unwait(NamedTuple):
    """Have the claims that wait answered at once."""


class Start(NamedTuple):
    """Start the handler."""

    attempt: Attempt
    lane: Lane


class Tell(NamedTuple):
    """Tell the handler to end: `attempt.reason` says why."""

    attempt: Attempt


class Cut(NamedTuple):
    """End the handler, if that is possible."""

    attempt: Attempt


Action = Union[Send, Unwait, Start, Tell, Cut]
