"""What a worker is set up with: queues, each with a handler."""

from __future__ import annotations

from typing import Callable, Dict, Generic, List, Optional, TypeVar

from ._actions import Lane
from .model import Seconds, seconds

H = TypeVar("H")
Self = TypeVar("Self", bound="Handlers")  # type: ignore[type-arg]


class Handlers(Generic[H]):
    """The part of a worker that both kinds share."""

    def __init__(self, socket: Optional[str] = None, *, concurrency: int = 1, grace: Seconds = 30.0) -> None:
        self._socket = socket
        self._concurrency = concurrency
        self._grace = seconds(grace)
        self._handlers: Dict[str, H] = {}
        self._queues: List[Lane] = []

    def handle(
        self: Self, queue: str, handler: H, *, concurrency: Optional[int] = None, lease: Optional[Seconds] = None
    ) -> Self:
        """Adds a queue. `lease`: the length of its leases in seconds, else it is the queue's.

        Raises `ValueError` if the queue has a handler already, or no slots.
        """
        slots = self._concurrency if concurrency is None else concurrency
        if queue in self._handlers:
            raise ValueError(f"queue {queue!r} has a handler already")
        if slots < 1:
            raise ValueError(f"concurrency is {slots}: at least 1 job must be able to run")
        self._handlers[queue] = handler
        self._queues.append(Lane(queue, slots, lease))
        return self

    def handler(
        self, queue: str, *, concurrency: Optional[int] = None, lease: Optional[Seconds] = None
    ) -> Callable[[H], H]:
        """The same as a decorator."""

        def add(handler: H) -> H:
            self.handle(queue, handler, concurrency=concurrency, lease=lease)
            return handler

        return add

    def _lanes(self) -> List[Lane]:
        """Fresh ones, for a run."""
        return [Lane(lane.queue, lane.slots, lane.length) for lane in self._queues]
