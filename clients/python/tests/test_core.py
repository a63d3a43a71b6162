"""What a worker decides, at times that the test makes up: no threads, no sockets."""

from __future__ import annotations

import time
import unittest
from typing import Any, List, Optional

import helper  # noqa: F401

from musher import (
    ClaimedJob,
    Disconnected,
    ErrorCode,
    Fail,
    Later,
    Lease,
    LeaseFault,
    Reason,
    Refused,
    Revoked,
    Stopping,
    Until,
    Verdict,
)
from musher._actions import Claim, Cut, Extend, Lane, Send, Settle, Start, Tell, Unwait
from musher._core import Core
from musher.model import Limits
from musher.outcome import Cut as CutOff
from musher.outcome import verdict_of
from musher.protocol.answers import TakenUp

LIMITS = Limits(1 << 20, 1 << 20, 100)


def job(id: int, **more: Any) -> ClaimedJob:
    return ClaimedJob(Lease(id, 1), "q", b"", 3, 30.0, 0.0, 1024, 0, **more)


class Worker:
    """A core with a connection, and what it has wanted to be done."""

    def __init__(self, slots: int = 2, grace: float = 10.0, within: Optional[float] = 30.0) -> None:
        self.lane = Lane("q", slots)
        self.core = Core([self.lane], grace)
        self.within = within
        self.connect(0.0)

    def connect(self, now: float, *faults: Optional[LeaseFault]) -> None:
        named = self.core.leases()
        taken = None if self.within is None else TakenUp(self.within, [*faults, *[None] * (len(named) - len(faults))])
        self.core.connected(LIMITS, named, taken, now)

    def act(self, now: float) -> List[Any]:
        return [action.what if isinstance(action, Send) else action for action in self.core.act(now)]

    def claim(self, now: float, *jobs: ClaimedJob) -> List[Any]:
        """Answers the claim that is under way; the attempts that begin."""
        self.core.answered(Claim(self.lane), list(jobs), now)
        return [action.attempt for action in self.act(now) if isinstance(action, Start)]


def settles(actions: List[Any]) -> List[Any]:
    return [(lease.id, verdict) for what in actions if isinstance(what, Settle) for lease, verdict in what.items]


class Slots(unittest.TestCase):
    def test_claims_are_for_free_slots_one_at_a_time(self) -> None:
        worker = Worker(slots=3)
        self.assertIsInstance(worker.act(0.0)[0], Claim)
        self.assertEqual(worker.act(0.0), [])
        first, _second = worker.claim(1.0, job(1), job(2))
        self.assertTrue(worker.lane.claiming, "for the third")
        (_third,) = worker.claim(1.0, job(3))
        self.assertFalse(worker.lane.claiming)
        worker.core.ended(first, worker.lane, Verdict.complete())
        self.assertEqual([type(what) for what in worker.act(2.0)], [Settle, Claim])

    def test_more_jobs_than_slots_are_given_back(self) -> None:
        worker = Worker(slots=1)
        worker.act(0.0)
        worker.core.answered(Claim(worker.lane), [job(1), job(2)], 1.0)
        self.assertEqual(settles(worker.act(1.0)), [(2, Verdict.release())])

    def test_a_daemon_that_is_busy_is_asked_again_later(self) -> None:
        worker = Worker()
        worker.act(0.0)
        worker.core.answered(Claim(worker.lane), Refused(ErrorCode.BUSY, "busy"), 1.0)
        self.assertEqual(worker.act(1.0), [])
        again = worker.core.next_wake(1.0)
        self.assertEqual([type(what) for what in worker.act(again or 0)], [Claim])

    def test_what_does_not_heal_stops_the_worker(self) -> None:
        worker = Worker()
        worker.act(0.0)
        worker.core.answered(Claim(worker.lane), Refused(ErrorCode.FORBIDDEN, "no"), 1.0)
        worker.act(1.0)
        self.assertTrue(worker.core.is_over(1.0))
        self.assertEqual(str(worker.core.fatal), "no")


class Leases(unittest.TestCase):
    def test_they_are_extended_at_a_third_and_those_soon_due_go_along(self) -> None:
        worker = Worker()
        worker.act(0.0)
        worker.claim(0.0, job(1))
        worker.claim(4.0, job(2))
        self.assertEqual(worker.core.next_wake(4.0), 10.0)
        self.assertEqual(worker.act(9.9), [])
        (extend,) = worker.act(10.0)
        self.assertEqual([attempt.lease.id for attempt in extend.attempts], [1, 2])
        self.assertEqual(worker.core.next_wake(10.0), 20.0)

    def test_a_lost_lease_is_told_and_its_verdict_dropped(self) -> None:
        worker = Worker()
        worker.act(0.0)
        first, second = worker.claim(0.0, job(1), job(2))
        fault = LeaseFault(1, "lost", 1, 1, "cancelled")
        worker.core.answered(Extend([first, second], 0.0), [fault, LeaseFault(2, "not found")], 1.0)
        self.assertEqual(worker.act(1.0), [Tell(first), Tell(second)])
        self.assertEqual((first.reason, second.reason), (Reason.CANCELLED, Reason.LEASE_LOST))
        self.assertEqual(worker.act(3.0), [Cut(first), Cut(second)])

    def test_notices(self) -> None:
        worker = Worker()
        worker.act(0.0)
        first, second = worker.claim(0.0, job(1), job(2))
        worker.core.notice(Revoked(Lease(1, 1), True), 1.0)
        worker.core.notice(Revoked(Lease(9, 1), True), 1.0)
        self.assertEqual(worker.act(1.0), [Tell(first)])
        worker.core.notice(Stopping(5.0), 2.0)
        self.assertEqual(worker.act(2.0), [Unwait()])
        self.assertEqual([Tell(second)], [action for action in worker.act(7.0) if isinstance(action, Tell)])
        self.assertEqual(second.reason, Reason.STOPPING)
        worker.core.disconnected(8.0)
        self.assertEqual(second.reason, Reason.DISCONNECTED, "the daemon has taken the leases back")

    def test_time_limits(self) -> None:
        worker = Worker()
        worker.act(0.0)
        first, second = worker.claim(0.0, job(1, timeout=5.0), job(2, timeout=9.0, deadline=time.time() + 3))
        worker.act(3.1)
        self.assertEqual((first.reason, second.reason), (None, Reason.DEADLINE))
        worker.act(5.0)
        self.assertEqual(first.reason, Reason.TIMED_OUT)
        self.assertEqual((first.over, second.over), ("timed out after 5 s", "the job's deadline was over"))


class Away(unittest.TestCase):
    def test_handlers_run_on_and_what_they_come_to_is_told_when_it_is_back(self) -> None:
        worker = Worker()
        worker.act(0.0)
        first, second = worker.claim(0.0, job(1), job(2))
        worker.core.disconnected(1.0)
        worker.core.ended(first, worker.lane, Verdict.complete())
        self.assertEqual(worker.act(2.0), [])
        self.assertEqual(worker.core.leases(), [Lease(2, 1), Lease(1, 1)])
        worker.connect(3.0)
        actions = worker.act(3.0)
        self.assertEqual(settles(actions), [(1, Verdict.complete())])
        self.assertEqual([what.attempts for what in actions if isinstance(what, Extend)], [[second]])

    def test_a_verdict_whose_answer_was_lost_is_told_again(self) -> None:
        worker = Worker(slots=1)
        worker.act(0.0)
        (attempt,) = worker.claim(0.0, job(1))
        worker.core.ended(attempt, worker.lane, Verdict.complete())
        what = next(what for what in worker.act(1.0) if isinstance(what, Settle))
        worker.core.answered(what, Disconnected(), 1.0)
        worker.core.disconnected(1.0)
        worker.connect(2.0)
        self.assertEqual(settles(worker.act(2.0)), [(1, Verdict.complete())])

    def test_leases_that_the_daemon_does_not_know_any_more(self) -> None:
        worker = Worker()
        worker.act(0.0)
        first, second = worker.claim(0.0, job(1), job(2))
        worker.core.disconnected(1.0)
        worker.core.ended(second, worker.lane, Verdict.complete())
        worker.connect(2.0, LeaseFault(1, "lost"), LeaseFault(2, "lost"))
        actions = worker.act(2.0)
        self.assertEqual((Tell(first) in actions, settles(actions)), (True, []))

    def test_leases_end_by_the_workers_clock_but_not_before_the_daemons(self) -> None:
        for within, end in [(5.0, 30.0), (60.0, 61.0)]:
            worker = Worker(within=within)
            worker.act(0.0)
            (attempt,) = worker.claim(0.0, job(1))
            worker.core.disconnected(1.0)
            self.assertEqual(worker.core.next_wake(1.0), end)
            self.assertEqual(worker.act(end - 0.1), [])
            self.assertEqual(worker.act(end), [Tell(attempt)])
            self.assertEqual(attempt.reason, Reason.LEASE_LOST)

    def test_a_daemon_that_knows_no_such_workers_ends_leases_with_the_connection(self) -> None:
        worker = Worker(within=None)
        worker.act(0.0)
        (attempt,) = worker.claim(0.0, job(1))
        worker.core.disconnected(1.0)
        self.assertEqual((worker.act(1.0), attempt.reason), ([Tell(attempt)], Reason.DISCONNECTED))


class Stops(unittest.TestCase):
    def test_what_runs_has_the_grace_and_is_given_back(self) -> None:
        worker = Worker(slots=1, grace=10.0)
        worker.act(0.0)
        (attempt,) = worker.claim(0.0, job(1, timeout=500.0))
        worker.core.stop(1.0)
        self.assertEqual(worker.act(1.0), [Unwait()])
        self.assertFalse(worker.core.is_over(1.0))
        self.assertIn(Tell(attempt), worker.act(11.0))
        self.assertEqual(worker.act(13.0), [Cut(attempt)])
        worker.core.report(attempt, verdict_of(None, CutOff(), attempt.reason, attempt.over))
        (settle,) = worker.act(13.0)
        self.assertEqual(settles([settle]), [(1, Verdict.release())])
        worker.core.answered(settle, [None], 13.0)
        self.assertTrue(worker.core.is_over(13.0))

    def test_a_second_one_leaves_no_grace(self) -> None:
        worker = Worker(slots=1, grace=1000.0)
        worker.act(0.0)
        (attempt,) = worker.claim(0.0, job(1))
        worker.core.stop(1.0)
        worker.core.stop(2.0)
        self.assertIn(Tell(attempt), worker.act(2.0))

    def test_without_a_daemon_it_waits_as_long_as_handlers_may(self) -> None:
        worker = Worker(slots=1, grace=10.0)
        worker.act(0.0)
        (attempt,) = worker.claim(0.0, job(1))
        worker.core.disconnected(1.0)
        worker.core.ended(attempt, worker.lane, Verdict.complete())
        worker.core.stop(2.0)
        worker.act(2.0)
        self.assertEqual([worker.core.is_over(now) for now in (2.0, 12.0)], [False, True])
        self.assertEqual(worker.core.untold, [1])


class Verdicts(unittest.TestCase):
    def test_what_a_handler_says_is_what_the_daemon_is_told(self) -> None:
        for value, error, expected in [
            (None, None, Verdict.complete()),
            ("text", None, Verdict.complete("text")),
            (None, ValueError("no"), Verdict.fail("ValueError: no")),
            (None, Fail("no"), Verdict.fail("no")),
            (None, Fail("no", retry_after=1), Verdict.fail("no", 1)),
            (None, Fail("no", bury=True), Verdict.fail("no", bury=True)),
            (None, Later(5, "not yet"), Verdict.later("not yet", 5)),
            (None, Until("go", 5), Verdict.until("go", 5)),
        ]:
            self.assertEqual(verdict_of(value, error, None, ""), expected)
        self.assertRegex(verdict_of(7, None, None, "").error, "int")  # type: ignore[union-attr]
        self.assertEqual(len(Verdict.fail("é" * 100_000).error.encode()), 1000)

    def test_who_was_told_to_end_is_judged_by_why(self) -> None:
        error, over = ValueError("no"), "timed out after 5 s"
        for value, raised, reason, expected in [
            ("text", None, Reason.LEASE_LOST, None),
            (None, error, Reason.DISCONNECTED, None),
            ("text", None, Reason.CANCELLED, Verdict.release()),
            (None, error, Reason.STOPPING, Verdict.release()),
            (None, CutOff(), Reason.STOPPING, Verdict.release()),
            ("text", None, Reason.STOPPING, Verdict.complete("text")),
            (None, error, Reason.TIMED_OUT, Verdict.fail("timed out after 5 s: ValueError: no")),
            (None, CutOff(), Reason.TIMED_OUT, Verdict.fail(over)),
            (None, None, Reason.DEADLINE, Verdict.complete()),
        ]:
            self.assertEqual(verdict_of(value, raised, reason, over), expected, (raised, reason))

    def test_a_verdict_that_cannot_be_sent_is_a_failure(self) -> None:
        worker = Worker(slots=1)
        worker.act(0.0)
        (attempt,) = worker.claim(0.0, job(1))
        worker.core.ended(attempt, worker.lane, Verdict.later("", -1))
        ((_, verdict),) = settles(worker.act(1.0))
        self.assertRegex(verdict.error, "not possible")

    def test_a_result_that_is_too_long_fails_its_job_alone(self) -> None:
        worker = Worker()
        worker.act(0.0)
        first, second = worker.claim(0.0, job(1), job(2))
        worker.core.ended(first, worker.lane, Verdict.complete("long"))
        worker.core.ended(second, worker.lane, Verdict.complete())
        one, _other = (what for what in worker.act(1.0) if isinstance(what, Settle))
        self.assertEqual([item[0].id for item in one.items], [1])
        worker.core.answered(one, Refused(ErrorCode.TOO_LARGE, "too long"), 1.0)
        self.assertEqual(settles(worker.act(1.0)), [(1, Verdict.fail("too long"))])


if __name__ == "__main__":
    unittest.main()
