"""When something is tried again that a broken connection has left open, and for how long."""

from __future__ import annotations

import time

from .errors import ConnectError, Disconnected, ErrorCode, MusherError, Refused


class Patience:
    """How long something is tried again, with growing waits: `seconds` in all."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._wait = 0.05

    @property
    def left(self) -> float:
        """Seconds until it is over, at least a little."""
        return max(self._until - time.monotonic(), 0.001)

    def wait_after(self, error: MusherError) -> float:
        """How long to wait now. Raises the error if it does not heal by itself, or the time is over."""
        if not heals(error) or time.monotonic() + self._wait >= self._until:
            raise error
        wait, self._wait = self._wait, min(self._wait * 2, 1.0)
        return wait


def heals(error: BaseException) -> bool:
    """Whether another connection may help."""
    if isinstance(error, (Disconnected, ConnectError)):
        return True
    return isinstance(error, Refused) and error.code in (ErrorCode.DRAINING, ErrorCode.BUSY)
