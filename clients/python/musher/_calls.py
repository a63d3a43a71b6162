"""When a worker calls the daemon, and what it makes of it if nobody answers."""

from __future__ import annotations

import logging
import os
import random
from typing import Optional

from ._core import Core
from .errors import ConnectError, Disconnected, ErrorCode, MusherError, Refused

log = logging.getLogger("musher.worker")

DIAL_TIMEOUT = 5.0
"""Seconds that a greeting may take."""

_FIRST, _LEAST, _MOST = 0.01, 0.1, 1.0
_DENIED_MOST = 5


class Identity:
    """Who a worker is: a name for people, and a secret that only it knows."""

    def __init__(self) -> None:
        self.name = f"python worker {os.getpid()}"
        self.token = os.urandom(16)


class Calls:
    """The times of the calls. They grow from one to the next, and are uneven so that not all workers call at once."""

    def __init__(self, core: Core, now: float) -> None:
        self.at: Optional[float] = now
        """When to call; None while there is a connection, or if it is of no use."""
        self._core = core
        self._wait = _LEAST
        self._denied = 0
        self._is_said = False
        self._there_since: Optional[float] = None

    def lost(self, now: float) -> None:
        """The connection has ended."""
        log.warning("the daemon is gone; waiting for it to come back, with %d jobs that run on", self._core.running)
        self.at, self._there_since, self._is_said = now + _FIRST, None, True

    def done(self) -> None:
        """There is a connection."""
        log.info("the daemon is there")
        self.at, self._wait, self._denied, self._there_since = None, _LEAST, 0, None

    def failed(self, error: MusherError, now: float) -> None:
        """A call was in vain."""
        is_denied = isinstance(error.__cause__, PermissionError)
        self._denied = self._denied + 1 if is_denied else 0
        if not _heals(error) or self._denied >= _DENIED_MOST:
            self.at = None
            return self._core.fail(error, now)
        if not self._is_said:
            log.warning("%s; waiting for it", error)
            self._is_said = True
        if isinstance(error, Disconnected) or isinstance(error.__cause__, (FileNotFoundError, ConnectionRefusedError)):
            self._there_since = None
        else:
            # A daemon that is there does not leave the leases alone for ever.
            if self._there_since is None:
                self._there_since = now
            if now - self._there_since >= self._core.patience:
                self._core.give_up(now)
        self.at = now + self._wait * random.uniform(0.5, 1.0)
        self._wait = min(self._wait * 2, _MOST)


def _heals(error: MusherError) -> bool:
    if isinstance(error, Refused):
        return error.may_try_again or error.code == ErrorCode.INTERNAL
    return isinstance(error, (ConnectError, Disconnected))


def unknown(error: Refused) -> None:
    """The daemon does not take up leases: they end with the connection. Raises what may be different later."""
    if error.may_try_again:
        raise error
    log.warning("jobs will not outlive the daemon, which says: %s", error)
