"""The plain client and a real daemon."""

from __future__ import annotations

import contextlib
import threading
import time
import unittest
from datetime import timedelta
from typing import Any, Callable, Iterator, List, Tuple

from helper import Daemon, state, until

from musher import (
    After,
    Backoff,
    Client,
    Disconnected,
    ErrorCode,
    Lease,
    LeaseLost,
    NewJob,
    Refused,
    RequestTooLarge,
    Unique,
    Verdict,
)


class WithDaemon(unittest.TestCase):
    daemon: Daemon

    @classmethod
    def setUpClass(cls) -> None:
        cls.daemon = Daemon("kept")
        cls.addClassCleanup(cls.daemon.close)

    def setUp(self) -> None:
        self.client = self.daemon.client()
        self.addCleanup(self.client.close)

    @contextlib.contextmanager
    def refused(self, code: ErrorCode) -> Iterator[None]:
        with self.assertRaises(Refused) as raised:
            yield
        self.assertEqual(raised.exception.code, code)


class Submits(WithDaemon):
    def test_all_options_arrive(self) -> None:
        first = self.client.submit(NewJob("options")).id
        job = NewJob(
            "options",
            b"body",
            priority=3,
            delay=timedelta(hours=1),
            ttl=7200,
            attempts=4,
            backoff=Backoff("linear", 1, 60, 0.25),
            timeout=9,
            tags={"order": "42"},
            key="customer",
            unique=Unique("u", held=5.0),
            deadline=8000,
            after=[first, After(group="other", when="ended")],
            on_unmet="run",
            group="album",
            seal=True,
        )
        (receipt,) = self.client.submit(job)
        shown = self.client.show(receipt.id)
        self.assertEqual(receipt.what, "new")
        for name, value in {
            "queue": "options",
            "state": "waiting",
            "priority": 3,
            "attempts": 4,
            "timeout_ms": 9000,
            "key": "customer",
            "tags": [["order", "42"]],
            "group": "album",
        }.items():
            self.assertEqual(shown[name], value, shown)
        self.assertEqual(self.client.body(receipt.id), b"body")
        again = self.client.submit(NewJob("options", unique="u"))
        self.assertEqual([tuple(one) for one in again], [(receipt.id, "existing")])
        for what in ("new", "changed"):
            unique = Unique("v", on_conflict="replace")
            self.assertEqual(self.client.submit(NewJob("options", unique=unique))[0].what, what)

    def test_many_and_an_earliest_start(self) -> None:
        receipts = self.client.submit([NewJob("many", str(n), at=time.time() + 3600) for n in range(100)])
        self.assertEqual(list(receipts.ids), list(range(receipts.id, receipts.id + 100)))
        self.assertEqual(state(self.client, receipts[-1].id), "scheduled")
        self.assertEqual(self.client.body(receipts[99].id), b"99")

    def test_an_idempotency_key_gets_the_first_answer(self) -> None:
        job = NewJob("once", "a")
        first = self.client.submit_once("key", job)
        self.assertEqual(self.client.submit_once("key", job), first)
        with self.refused(ErrorCode.NOT_UNIQUE):
            self.client.submit_once("key", NewJob("once", "b"))

    def test_what_the_daemon_refuses(self) -> None:
        with self.refused(ErrorCode.INVALID):
            self.client.submit(NewJob(""))
        with self.refused(ErrorCode.NOT_FOUND):
            self.client.submit(NewJob("q", after=[1 << 40]))
        with self.assertRaises(RequestTooLarge):
            self.client.submit(NewJob("q", bytes(self.client.limits.frame)))
        self.assertTrue(self.client.is_connected)

    def test_submit_and_wait(self) -> None:
        receipts, ends = self.client.submit_and_wait(NewJob("nobody"), longest=0.01)
        self.assertEqual([(end["id"], end["state"]) for end in ends], [(receipts.id, "ready")])


class Work(WithDaemon):
    def claim(self, queue: str, body: str = "x", **options: Any) -> Tuple[int, Lease]:
        job = self.client.submit(NewJob(queue, body, **options)).id
        (claimed,) = self.client.claim(queue, wait=10)
        self.assertEqual((claimed.id, claimed.body), (job, body.encode()))
        return job, claimed.lease

    def test_every_verdict(self) -> None:
        ends: List[Tuple[Callable[[Lease], None], str]] = [
            (lambda lease: self.client.complete(lease, "result"), "done"),
            (lambda lease: self.client.fail(lease, "no"), "scheduled"),
            (lambda lease: self.client.fail(lease, "no", retry_after=3600), "scheduled"),
            (lambda lease: self.client.fail(lease, "no", bury=True), "dead"),
            (lambda lease: self.client.release(lease), "ready"),
            (lambda lease: self.client.release(lease, 3600), "scheduled"),
            (lambda lease: self.client.later(lease, "not now", 3600), "scheduled"),
            (lambda lease: self.client.exited(lease, status=0), "done"),
            (lambda lease: self.client.until_signal(lease, "go", 3600), "scheduled"),
        ]
        for settle, expected in ends:
            job, lease = self.claim("kept", backoff=Backoff("fixed", 3600, 3600))
            settle(lease)
            self.assertEqual(state(self.client, job), expected)
            with self.assertRaises(LeaseLost) as lost:
                self.client.complete(lease)
            self.assertEqual((lost.exception.job, lost.exception.state), (job, expected))
            if expected == "done" and job == 1:
                self.assertEqual(self.client.result(job), b"result")
            if expected not in ("done", "dead"):
                self.client.cancel(job)

    def test_results_and_checkpoints(self) -> None:
        job, lease = self.claim("kept")
        with self.refused(ErrorCode.WRONG_STATE):
            self.client.result(job)
        with self.refused(ErrorCode.NOT_FOUND):
            self.client.stored_checkpoint(job)
        self.assertGreater(self.client.checkpoint(lease, "half"), time.time())
        self.client.progress(lease, 50, "half")
        self.client.output(lease, 1, b"printed")
        self.assertEqual(self.client.show(job)["progress"]["percent"], 50)
        self.assertEqual(self.client.stored_checkpoint(job), b"half")
        self.assertGreater(self.client.extend(lease, 500), time.time() + 400)
        self.client.release(lease)
        (claimed,) = self.client.claim("kept", wait=10)
        self.assertEqual(claimed.checkpoint, b"half")
        self.assertEqual(self.client.settle([(claimed.lease, Verdict.complete(b"\0\xff"))]), [None])
        self.assertEqual(self.client.result(job), b"\0\xff")
        self.assertEqual([(piece.stream, piece.data) for piece in self.client.logs(job)], [(1, b"printed")])

    def test_a_signal(self) -> None:
        job, lease = self.claim("signals")
        self.client.until_signal(lease, "go", 3600)
        self.client.signal(job, "go", "now")
        (claimed,) = self.client.claim("signals", wait=10)
        self.assertEqual(claimed.signal, ("go", b"now"))

    def test_what_follows_from_a_job(self) -> None:
        _job, lease = self.claim("steps")
        follows = self.client.complete_and_submit(lease, NewJob("kept-steps"), key="step")
        self.assertEqual(state(self.client, follows.id), "ready")
        self.assertEqual(self.client.complete_and_submit(lease, NewJob("kept-steps"), key="step"), follows)
        with self.refused(ErrorCode.NOT_FOUND):
            self.client.complete_and_submit(lease, NewJob("kept-steps"))

    def test_a_claim_that_waits_holds_up_nobody(self) -> None:
        claimed = []
        thread = threading.Thread(target=lambda: claimed.extend(self.client.claim(["later", "never"], wait=None)))
        thread.start()
        until("a claim that waits", lambda: self.client.status()["waiting_claims"] >= 2)
        job = self.client.submit(NewJob("later")).id
        thread.join()
        self.assertEqual([one.id for one in claimed], [job])

    def test_bound_leases_end_with_the_connection(self) -> None:
        job = self.client.submit(NewJob("bound")).id
        with self.daemon.client() as other:
            self.assertEqual([one.id for one in other.claim("bound")], [job])
        (again,) = self.client.claim("bound", wait=10)
        self.assertEqual((again.id, again.attempt), (job, 2))

    def test_a_claim_without_jobs(self) -> None:
        self.assertEqual(self.client.claim("nothing", wait=0.01), [])


class Questions(WithDaemon):
    def test_lists_edits_and_waits(self) -> None:
        ids = list(self.client.submit([NewJob("lists", tags={"a": "b"})] * 3).ids)
        page = self.client.list(queue="lists", tags=[["a", "b"]], limit=2)
        self.assertEqual([job["id"] for job in page["jobs"]], ids[:2])
        self.assertEqual(self.client.cancel(ids[0])[0].get("error"), None)
        self.assertEqual(self.client.edit("prioritize", [ids[1]], priority=1)[0].get("error"), None)
        self.assertEqual(self.client.wait([ids[1]], 0.01)[0]["state"], "ready")
        self.assertIsNone(self.client.query({"do": "pause", "queue": "lists"}))
        self.client.replace_body(ids[1], "other")
        self.assertEqual(self.client.body(ids[1]), b"other")
        with self.assertRaisesRegex(Refused, "nonsense"):
            self.client.query({"do": "nonsense"})

    def test_groups(self) -> None:
        self.client.submit([NewJob("grouped", group="album")])
        (end,) = self.client.wait_for_groups(["album"], 0.01)
        self.assertEqual((end["group"], end["live"]), ("album", 1))
        for job in self.client.claim("grouped"):
            self.client.complete(job.lease)
        self.client.query({"do": "group_seal", "name": "album"})
        self.assertEqual(self.client.wait_for_groups(["album"])[0]["state"], "done")

    def test_changes(self) -> None:
        changes = self.client.changes(queue="watched")
        found: list = []  # type: ignore[type-arg]
        thread = threading.Thread(target=lambda: found.append(next(changes)))
        thread.start()
        ids = []

        def submit() -> bool:
            ids.append(self.client.submit(NewJob("watched")).id)
            return bool(found)

        until("a change", submit)
        thread.join()
        changes.close()  # type: ignore[attr-defined]
        self.assertIn(found[0].first, ids)
        self.assertEqual((found[0].queue, found[0].state), ("watched", "ready"))

    def test_a_backup(self) -> None:
        self.assertGreater(sum(len(piece) for piece in self.client.backup()), 0)


class Restarts(unittest.TestCase):
    def setUp(self) -> None:
        self.daemon = Daemon()
        self.addCleanup(self.daemon.close)

    def test_a_connection_that_is_gone_says_so_until_there_is_another(self) -> None:
        with self.daemon.client() as client:
            self.daemon.kill()
            for _ in range(2):
                with self.assertRaises(Disconnected):
                    client.status()
            self.daemon.start()
            with self.assertRaises(Disconnected):
                client.status()
            client.reconnect()
            self.assertEqual(client.status()["version"][0], "0")

    def test_submits_with_keys_are_enqueued_once_whatever_is_killed(self) -> None:
        made, stop = [], threading.Event()

        def submit(name: str) -> None:
            with Client(self.daemon.socket) as client:
                number = 0
                while not stop.is_set() or number < 3:
                    made.append(client.submit_once(f"{name}-{number}", NewJob("q", f"{name}-{number}")).id)
                    number += 1

        threads = [threading.Thread(target=submit, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        for _ in range(3):
            before = len(made)
            until("more submits", lambda before=before: len(made) > before + 20)  # type: ignore[misc]
            self.daemon.kill()
            self.daemon.start()
        before = len(made)
        until("more submits", lambda: len(made) > before)
        stop.set()
        for thread in threads:
            thread.join()
        with self.daemon.client() as client:
            jobs = client.claim("q", len(made) + 10)
            self.assertEqual(sorted(job.id for job in jobs), sorted(made))
            self.assertEqual(len({job.body for job in jobs}), len(made), "each once")


if __name__ == "__main__":
    unittest.main()
