"""What a worker does, without threads, tasks, clocks and sockets: events go in with the time, actions come out.

The plain and the asyncio worker share it. It claims for free slots, extends leases, collects verdicts, and decides who is told
to end, also while the daemon is away.
"""

from __future__ import annotations

import logging
from typing import Any, Dict, List, Optional, Sequence

from ._actions import (
    RETRY_LEAST,
    Action,
    Claim,
    Cut,
    Extend,
    Item,
    Lane,
    Progress,
    Send,
    Settle,
    Start,
    Tell,
    Unwait,
    What,
)
from ._attempt import Attempt, begin
from .errors import Disconnected, ErrorCode, MusherError, Refused
from .model import ClaimedJob, Lease, LeaseFault, Limits, Notice, Revoked, Seconds
from .outcome import LOST, Reason
from .protocol import requests
from .protocol.answers import TakenUp
from .verdict import Verdict

log = logging.getLogger("musher.worker")

END_TIME = 2.0
"""Seconds that a handler has to end once it is told to."""

_LAST_WAIT = 3.0
_RETRY_MOST = 5.0


class Core:
    """A worker's state."""

    def __init__(self, lanes: Sequence[Lane], grace: float) -> None:
        self.lanes = list(lanes)
        self.fatal: Optional[MusherError] = None
        self.online = False
        self.stop_at: Optional[float] = None
        """When all that runs is told to end; set when the worker is to stop."""
        self._grace = grace
        self._held: Dict[Lease, Attempt] = {}
        self._settles: List[Item] = []
        self._single: List[Item] = []
        self._settling = 0
        self._settle_at = 0.0
        self._within: Optional[float] = None
        self._away_until = 0.0
        self._daemon_stops_at: Optional[float] = None
        self._limits = Limits(1 << 20, 1 << 20, 100)
        self._actions: List[Action] = []

    # Events

    def leases(self) -> List[Lease]:
        """Those to take up on the next connection."""
        kept = [lease for lease, attempt in self._held.items() if attempt.extend_at is not None]
        return kept + [lease for lease, _ in self._settles + self._single]

    def connected(self, limits: Limits, named: Sequence[Lease], taken: Optional[TakenUp], now: float) -> None:
        """There is a connection. `taken`: what the daemon says of the leases that were named; None if it knows no such workers."""
        self.online, self._limits = True, limits
        self._within = None if taken is None else taken.resume_within
        for lease, fault in zip(named, taken.faults if taken else ()):
            if fault is not None:
                self._drop(lease)
                self._lose(lease, fault, now)
        if taken is None:
            self.give_up(now)
        for attempt in self._held.values():
            if attempt.extend_at is not None:
                attempt.extend_at = now
            if attempt.said is not None:
                self._actions.append(Send(Progress(), requests.progress(attempt.lease, *attempt.said)))

    def disconnected(self, now: float) -> None:
        """The connection is gone, and what it had to answer is answered."""
        self.online = False
        for lane in self.lanes:
            lane.claiming = False
        if self._within is None or self._daemon_stops_at is not None:
            # The daemon has taken the leases back.
            self.give_up(now)
        else:
            # A daemon leaves leases alone for so long after its start, and none has started before now.
            self._away_until = now + self._within
        self._daemon_stops_at = None

    def give_up(self, now: float) -> None:
        """All leases are lost with the connection."""
        for attempt in self._held.values():
            self._tell(attempt, Reason.DISCONNECTED, now)
        self._settles.clear()
        self._single.clear()

    @property
    def patience(self) -> float:
        """How long a daemon that is there may refuse this worker, until its leases count as lost: seconds."""
        return (self._within or 0.0) / 2

    def answered(self, what: What, answer: Any, now: float) -> None:
        """The answer to what was sent, or the exception in its place."""
        if isinstance(what, Claim):
            self._claimed(what.lane, answer, now)
        elif isinstance(what, Settle):
            self._settled(what.items, answer, now)
        elif isinstance(what, Extend):
            self._extended(what, answer, now)

    def ended(self, attempt: Attempt, lane: Lane, verdict: Optional[Verdict]) -> None:
        """A handler has ended; its slot is free."""
        lane.running -= 1
        self._held.pop(attempt.lease, None)
        if verdict is not None and not attempt.is_reported and not attempt.completed:
            self._settles.append((attempt.lease, _possible(attempt.lease, verdict)))

    def notice(self, notice: Notice, now: float) -> None:
        """The daemon has said something unasked."""
        if isinstance(notice, Revoked):
            attempt = self._held.get(notice.lease)
            if attempt is not None and not attempt.completing:
                self._tell(attempt, Reason.CANCELLED if notice.cancelled else Reason.LEASE_LOST, now)
        else:
            log.info("the daemon is stopping: its jobs are told to end in %g s", notice.grace)
            self._daemon_stops_at = now + notice.grace
            self._actions.append(Unwait())

    def stop(self, now: float, grace: Optional[float] = None) -> None:
        """The worker is to stop: no more claims, and what runs has the grace. The second time there is none."""
        if self.stop_at is not None:
            self.stop_at = min(self.stop_at, now)
            return
        self.stop_at = now + (self._grace if grace is None else grace)
        self._actions.append(Unwait())

    def fail(self, error: MusherError, now: float) -> None:
        """An error that does not heal: the worker stops with it."""
        log.error("%s; the worker stops", error)
        self.fatal = self.fatal or error
        if self.stop_at is None:
            self.stop(now)

    # Actions

    def act(self, now: float) -> List[Action]:
        """What is to be done now."""
        self._limits_of_time(now)
        if self.online:
            self._extend(now)
            self._settle(now)
            if self.stop_at is None and self._daemon_stops_at is None:
                self._claim(now)
        actions, self._actions = self._actions, []
        return actions

    def next_wake(self, now: float) -> Optional[float]:
        """When `act` is to be called at the latest, whatever happens. It was called `now`."""
        times = [at for at in (self.stop_at, self._daemon_stops_at, self._leave_at) if at is not None]
        for attempt in self._held.values():
            times += self._times(attempt)
        if self.online:
            times += [lane.retry_at for lane in self.lanes if lane.retry_at and not lane.claiming]
            times += [self._settle_at] if self._settles or self._single else []
        return min((at for at in times if at > now), default=None)

    def _times(self, attempt: Attempt) -> List[float]:
        if attempt.reason is not None:
            end = [] if attempt.is_cut else [attempt.told_at + END_TIME]
        else:
            end = [] if attempt.limit_at is None else [attempt.limit_at]
        if attempt.extend_at is None:
            return end
        return [*end, attempt.extend_at if self.online else max(attempt.until, self._away_until)]

    def is_over(self, now: float) -> bool:
        """Whether the worker has stopped."""
        if self.stop_at is None:
            return False
        if self._leave_at is not None and now >= self._leave_at:
            return True
        is_open = self._settles or self._single or self._settling or any(lane.claiming for lane in self.lanes)
        # It waits for a daemon that is away as long as handlers would have had time.
        is_quiet = not is_open or (not self.online and now >= self.stop_at)
        return is_quiet and all(attempt.is_reported for attempt in self._held.values())

    @property
    def untold(self) -> List[int]:
        """Jobs whose verdicts the daemon was not told. What was to be given back has come to nothing anyway."""
        return [lease.id for lease, verdict in self._settles + self._single if verdict.number != 3]

    @property
    def running(self) -> int:
        """How many handlers run."""
        return sum(lane.running for lane in self.lanes)

    @property
    def _leave_at(self) -> Optional[float]:
        return None if self.stop_at is None else self.stop_at + END_TIME + _LAST_WAIT

    def _limits_of_time(self, now: float) -> None:
        stops = [at for at in (self.stop_at, self._daemon_stops_at) if at is not None]
        is_stopped = bool(stops) and min(stops) <= now
        for attempt in list(self._held.values()):
            if attempt.limit_at is not None and attempt.limit_at <= now:
                self._tell(attempt, attempt.limit_reason, now)
            if is_stopped:
                self._tell(attempt, Reason.STOPPING, now)
            is_kept = attempt.extend_at is not None
            if not self.online and is_kept and max(attempt.until, self._away_until) <= now:
                # Nobody can ask for it any more.
                self._tell(attempt, Reason.LEASE_LOST, now)
            if attempt.reason is not None and not attempt.is_cut and attempt.told_at + END_TIME <= now:
                attempt.is_cut = True
                self._actions.append(Cut(attempt))

    def report(self, attempt: Attempt, verdict: Optional[Verdict]) -> None:
        """A handler cannot be ended: the daemon is told all the same what becomes of the job, unless it was cancelled. Then its
        lease lasts as long as it may, so that nothing of its key runs beside it.
        """
        if attempt.reason is Reason.CANCELLED:
            return
        attempt.is_reported = True
        attempt.extend_at = None
        if verdict is not None and not attempt.completing:
            self._settles.append((attempt.lease, verdict))

    def _tell(self, attempt: Attempt, reason: Reason, now: float) -> None:
        if reason in LOST or reason is Reason.CANCELLED:
            attempt.extend_at = None
            if attempt.reason is not None and attempt.reason is not reason:
                # What was said before holds no more.
                attempt.reason = reason
                self._actions.append(Tell(attempt))
        if attempt.reason is None:
            attempt.reason, attempt.told_at = reason, now
            self._actions.append(Tell(attempt))

    def _lose(self, lease: Lease, fault: LeaseFault, now: float) -> None:
        attempt = self._held.get(lease)
        if attempt is None or attempt.extend_at is None:
            return
        if attempt.completing:
            attempt.extend_at = None
            return
        log.warning("the handler of job %d is told to end: %s", lease.id, fault)
        self._tell(attempt, Reason.CANCELLED if fault.is_cancelled else Reason.LEASE_LOST, now)

    # Claims

    def _claim(self, now: float) -> None:
        for lane in self.lanes:
            free = min(lane.slots - lane.running, self._limits.batch)
            if free > 0 and not lane.claiming and lane.retry_at <= now:
                lane.claiming, lane.retry_at = True, 0.0
                request = requests.claim(lane.queue, free, None, lane.length, bound=True)
                self._actions.append(Send(Claim(lane), request))

    def _claimed(self, lane: Lane, answer: Any, now: float) -> None:
        lane.claiming = False
        if isinstance(answer, Disconnected):
            return
        if isinstance(answer, Refused) and (answer.may_try_again or answer.code == ErrorCode.INTERNAL):
            log.info("no jobs for now: %s", answer)
            lane.retry_at = now + lane.retry_wait
            lane.retry_wait = min(lane.retry_wait * 2, _RETRY_MOST)
            return
        if isinstance(answer, MusherError):
            lane.retry_at = now + _RETRY_MOST
            return self.fail(answer, now)
        lane.retry_wait = RETRY_LEAST
        for job in answer:
            self._start(lane, job, now)

    def _start(self, lane: Lane, job: ClaimedJob, now: float) -> None:
        attempt = begin(job, lane.length, now)
        is_late = attempt.limit_at is not None and attempt.limit_at <= now
        if self.stop_at is not None or lane.running >= lane.slots or is_late:
            # One that is late expires when it is given back.
            self._settles.append((job.lease, Verdict.release()))
            return
        lane.running += 1
        self._held[job.lease] = attempt
        self._actions.append(Start(attempt, lane))

    # Leases

    def _extend(self, now: float) -> None:
        due: Dict[Optional[Seconds], List[Attempt]] = {}
        kept = [(attempt, attempt.extend_at) for attempt in self._held.values() if attempt.extend_at is not None]
        if not any(at <= now for _, at in kept):
            return
        for attempt, at in kept:
            # Those that would be due soon go along.
            if at <= now + attempt.third / 2:
                attempt.extend_at = now + attempt.third
                due.setdefault(attempt.asked, []).append(attempt)
        for length, attempts in due.items():
            for start in range(0, len(attempts), self._limits.batch):
                some = attempts[start : start + self._limits.batch]
                request = requests.extend([attempt.lease for attempt in some], length)
                self._actions.append(Send(Extend(some, now), request))

    def _extended(self, what: Extend, answer: Any, now: float) -> None:
        if isinstance(answer, MusherError):
            if not isinstance(answer, Disconnected):
                log.warning("%d leases are not extended: %s", len(what.attempts), answer)
            return
        for attempt, result in zip(what.attempts, answer):
            if isinstance(result, LeaseFault):
                self._lose(attempt.lease, result, now)
            else:
                attempt.until = what.asked_at + attempt.job.lease_length

    # Verdicts

    def _drop(self, lease: Lease) -> None:
        # It may well have been said to the daemon that has ended.
        self._settles = [item for item in self._settles if item[0] != lease]
        self._single = [item for item in self._single if item[0] != lease]

    def _settle(self, now: float) -> None:
        if now < self._settle_at:
            return
        # One with a result goes by itself: if it is too long, nothing else of its request is done either.
        alone = self._single + [item for item in self._settles if item[1].result is not None]
        together = [item for item in self._settles if item[1].result is None]
        self._settles, self._single = [], []
        most = max(1, min(self._limits.batch, self._limits.frame // 4096))
        parts = [[item] for item in alone]
        parts += [together[start : start + most] for start in range(0, len(together), most)]
        for part in parts:
            self._settling += 1
            self._actions.append(Send(Settle(part), requests.settle(part)))

    def _settled(self, items: Sequence[Item], answer: Any, now: float) -> None:
        self._settling -= 1
        if isinstance(answer, Disconnected):
            # Whether the daemon has it, the next one says.
            self._settles += items
        elif isinstance(answer, Refused) and (answer.may_try_again or answer.code == ErrorCode.INTERNAL):
            self._settles += items
            self._settle_at = now + 1.0
        elif isinstance(answer, MusherError):
            self._unsettled(items, answer)
        else:
            for (lease, verdict), fault in zip(items, answer):
                if fault is not None and verdict.number != 3:
                    log.warning("what job %d, attempt %d, has come to came too late: %s", *lease, fault)

    def _unsettled(self, items: Sequence[Item], error: MusherError) -> None:
        if len(items) > 1:
            self._single += items
            return
        lease, verdict = items[0]
        if verdict.number in (1, 2, 3):
            log.error("what job %d has come to is lost: %s", lease.id, error)
        else:
            self._single.append((lease, Verdict.fail(str(error))))


def _possible(lease: Lease, verdict: Verdict) -> Verdict:
    """A verdict that can be sent; a failure if the handler has said something that cannot."""
    try:
        requests.settle([(lease, verdict)])
    except (ValueError, TypeError) as error:
        return Verdict.fail(f"the handler's verdict is not possible: {error}")
    return verdict
