"""The worker with threads and a real daemon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import unittest
from typing import Any, Dict, List, Optional

from helper import DEADLINE, Daemon, state, until

from musher import Backoff, Fail, Job, Later, LeaseLost, NewJob, Reason, Refused, Until, Untold, Worker

PACKAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir)


class Running:
    """A worker that runs in a thread until the block ends."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.error: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.worker.run()
        except BaseException as error:
            self.error = error

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.worker.stop()
        self.join()

    def join(self) -> None:
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "the worker has not ended"


class Works(unittest.TestCase):
    daemon: Daemon

    @classmethod
    def setUpClass(cls) -> None:
        cls.daemon = Daemon("kept", "chained", config='[queues.short]\nlease = "1s"\nkeep.done = "1h"\n')
        cls.addClassCleanup(cls.daemon.close)

    def setUp(self) -> None:
        self.client = self.daemon.client()
        self.addCleanup(self.client.close)

    def submit(self, queue: str, body: str = "", **options: Any) -> int:
        return self.client.submit(NewJob(queue, body, **options)).id

    def until_state(self, job: int, expected: str) -> Dict[str, Any]:
        until(f"job {job} is {expected}", lambda: state(self.client, job) == expected)
        return self.client.show(job)

    def test_what_handlers_say(self) -> None:
        def handle(job: Job) -> Optional[str]:
            if job.text == "done":
                return f"{job.queue} {job.attempt} {job.tags['a']} {job.info.priority}"
            if job.text == "later":
                raise Later(3600, "not yet")
            if job.text == "until":
                raise Until("go", 3600)
            raise {"bury": Fail("never", bury=True), "fail": Fail("not so"), "raise": KeyError("x")}[job.text]

        with Running(Worker(self.daemon.socket, concurrency=3).handle("kept", handle)):
            hour = Backoff("fixed", 3600, 3600)
            ids = {
                body: self.submit("kept", body, tags={"a": "b"}, backoff=hour, priority=7)
                for body in ("done", "later", "until", "bury", "fail", "raise")
            }
            self.assertEqual(self.client.wait([ids["done"]])[0]["state"], "done")
            self.assertEqual(self.client.result(ids["done"]), b"kept 1 b 7")
            for body, expected, text in [
                ("bury", "dead", "never"),
                ("fail", "scheduled", "not so"),
                ("raise", "scheduled", "KeyError: 'x'"),
                ("later", "scheduled", "not yet"),
                ("until", "scheduled", ""),
            ]:
                self.assertIn(text, str(self.until_state(ids[body], expected)))

    def test_concurrency_is_for_each_queue(self) -> None:
        together = threading.Barrier(3)
        most, running, lock = [0], [0], threading.Lock()

        def handle(job: Job) -> None:
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            together.wait(DEADLINE)
            with lock:
                running[0] -= 1

        with Running(Worker(self.daemon.socket).handle("wide", handle, concurrency=3)):
            ids = list(self.client.submit([NewJob("wide")] * 9).ids)
            self.client.wait(ids)
        self.assertEqual(most, [3])

    def test_leases_are_extended_while_a_handler_runs(self) -> None:
        begun = threading.Event()

        def handle(job: Job) -> None:
            begun.set()
            first = self.client.show(job.id)["leased_until"]
            # Well beyond the first lease.
            until("an extended lease", lambda: self.client.show(job.id)["leased_until"] > first + 700)

        with Running(Worker(self.daemon.socket).handle("short", handle)):
            job = self.submit("short")
            self.assertEqual(self.client.wait([job])[0]["state"], "done")
            self.assertTrue(begun.is_set())

    def test_a_handler_is_told_that_its_job_is_cancelled(self) -> None:
        reasons: List[Any] = []

        def handle(job: Job) -> None:
            job.progress(10, "waiting")
            self.client.cancel(job.id)
            job.cancelled.wait(DEADLINE)
            reasons.append(job.reason)

        with Running(Worker(self.daemon.socket).handle("kept", handle)):
            self.until_state(self.submit("kept"), "cancelled")
        self.assertEqual(reasons, [Reason.CANCELLED])

    def test_an_attempt_that_takes_too_long(self) -> None:
        def handle(job: Job) -> None:
            self.assertLess(job.time_left or 9, 1)
            job.cancelled.wait(DEADLINE)
            raise ValueError("stopped")

        with Running(Worker(self.daemon.socket).handle("slow", handle)):
            shown = self.until_state(self.submit("slow", timeout=0.1, attempts=1), "dead")
        self.assertIn("timed out after 0.1 s: ValueError: stopped", str(shown))

    def test_checkpoints_signals_and_what_follows(self) -> None:
        def handle(job: Job) -> None:
            if job.last_checkpoint is None:
                job.checkpoint("half")
                raise Until("go", 3600)
            self.assertEqual((job.last_checkpoint, job.signal), (b"half", ("go", b"!")))
            follows = job.complete_and_submit([NewJob("followers")], key=f"after-{job.id}")
            job.client.signal(follows.id, "from", str(job.id))

        with Running(Worker(self.daemon.socket).handle("chained", handle)):
            job = self.submit("chained")
            self.client.signal(job, "go", "!")
            self.assertEqual(self.client.wait([job])[0]["state"], "done")
            until("what follows", lambda: self.client.list(queue="followers")["jobs"])

    def test_a_stop_lets_handlers_end_and_gives_back_the_rest(self) -> None:
        begun, go = threading.Barrier(3), threading.Event()

        def handle(job: Job) -> None:
            begun.wait(DEADLINE)
            (go if job.text == "quick" else job.cancelled).wait(DEADLINE)
            if job.text == "slow":
                raise RuntimeError(str(job.reason))

        worker = Worker(self.daemon.socket, concurrency=2, grace=0.2).handle("kept", handle)
        quick, slow = self.submit("kept", "quick"), self.submit("kept", "slow")
        with Running(worker) as running:
            begun.wait(DEADLINE)
            worker.stop()
            go.set()
            running.join()
        self.assertEqual([state(self.client, job) for job in (quick, slow)], ["done", "ready"])
        self.assertEqual(self.client.show(slow)["failed"], 0)
        self.client.cancel(slow)

    def test_a_handler_that_does_not_end_is_left_behind_and_its_job_given_back(self) -> None:
        begun, go = threading.Event(), threading.Event()

        def handle(job: Job) -> None:
            begun.set()
            go.wait(DEADLINE)

        worker = Worker(self.daemon.socket, grace=0).handle("stuck", handle)
        job = self.submit("stuck")
        with Running(worker) as running:
            begun.wait(DEADLINE)
            worker.stop()
            running.join()
            self.assertEqual(state(self.client, job), "ready")
            go.set()

    def test_what_does_not_heal_ends_the_worker(self) -> None:
        with Running(Worker(self.daemon.socket).handle("not a queue", lambda job: None)) as running:
            running.join()
        self.assertIsInstance(running.error, Refused)

    def test_sigterm_stops_a_program(self) -> None:
        program = (
            "import sys, musher\n"
            "worker = musher.Worker(sys.argv[1])\n"
            "@worker.handler('kept')\n"
            "def handle(job):\n"
            "    print('begun', flush=True)\n"
            "    job.cancelled.wait(0.2)\n"
            "worker.run()\n"
            "print('ended')\n"
        )
        job = self.submit("kept")
        for number in (signal.SIGTERM, signal.SIGINT):
            with subprocess.Popen(
                [sys.executable, "-B", "-c", program, self.daemon.socket],
                env={**os.environ, "PYTHONPATH": PACKAGE},
                stdout=subprocess.PIPE,
                text=True,
            ) as child:
                assert child.stdout is not None
                self.assertEqual(child.stdout.readline(), "begun\n")
                child.send_signal(number)
                self.assertEqual(child.stdout.read(), "ended\n")
                self.assertEqual(child.wait(DEADLINE), 0)
            self.assertEqual(state(self.client, job), "done")
            job = self.submit("kept")
        self.client.cancel(job)


class Restarts(unittest.TestCase):
    def setUp(self) -> None:
        self.daemon = Daemon(
            "kept", config='[queues.brief]\nlease = "1s"\n[daemon]\nresume_within = "20s"\ndrain_timeout = "100ms"\n'
        )
        self.addCleanup(self.daemon.close)

    def test_handlers_run_on_while_the_daemon_is_killed(self) -> None:
        begun: List[int] = []
        go = threading.Event()

        def handle(job: Job) -> str:
            begun.append(job.id)
            job.progress(1, "before")
            go.wait(DEADLINE)
            job.checkpoint("after")
            return "result"

        with Running(Worker(self.daemon.socket, concurrency=4).handle("kept", handle)):
            with self.daemon.client() as client:
                ids = list(client.submit([NewJob("kept")] * 6).ids)
            until("jobs that run", lambda: len(begun) == 4)
            self.daemon.kill()
            go.set()
            self.daemon.start()
            with self.daemon.client() as client:
                self.assertEqual({end["state"] for end in client.wait(ids)}, {"done"})
                self.assertEqual({client.show(job)["attempt"] for job in ids}, {1})
        self.assertEqual(sorted(begun), ids, "each began once")

    def test_jobs_are_done_once_each_over_many_kills(self) -> None:
        done: List[str] = []

        def handle(job: Job) -> None:
            done.append(job.text)

        with Running(Worker(self.daemon.socket, concurrency=8).handle("kept", handle)):
            for round in range(3):
                with self.daemon.client() as client:
                    client.submit([NewJob("kept", f"{round}-{n}") for n in range(100)])
                until("some jobs", lambda round=round: len(done) >= round * 100 + 20)  # type: ignore[misc]
                self.daemon.kill()
                self.daemon.start()
                until("all jobs", lambda round=round: len(set(done)) >= round * 100 + 100)  # type: ignore[misc]
        self.assertEqual(len(set(done)), 300)
        self.assertLess(len(done), 300 + 3 * 8 + 1, "only those that were given out in the last moment run twice")

    def test_a_daemon_that_stops_takes_its_jobs_back(self) -> None:
        begun = threading.Semaphore(0)
        reasons: List[Any] = []

        def handle(job: Job) -> None:
            begun.release()
            if job.attempt == 1:
                job.cancelled.wait(DEADLINE)
                reasons.append(job.reason)
                raise RuntimeError("stopped")

        with Running(Worker(self.daemon.socket).handle("kept", handle)):
            with self.daemon.client() as client:
                job = client.submit(NewJob("kept")).id
            self.assertTrue(begun.acquire(timeout=DEADLINE))
            self.daemon.stop()
            self.daemon.start()
            with self.daemon.client() as client:
                self.assertEqual(client.wait([job])[0]["state"], "done")
                self.assertEqual(client.show(job)["failed"], 0)
        self.assertIn(reasons, ([Reason.STOPPING], [Reason.DISCONNECTED]))

    def test_a_worker_waits_for_a_daemon_at_its_start_and_may_end_without(self) -> None:
        self.daemon.kill()
        done = threading.Event()
        with Running(Worker(self.daemon.socket).handle("kept", lambda job: done.set())):
            self.daemon.start()
            with self.daemon.client() as client:
                client.wait([client.submit(NewJob("kept")).id])
            self.assertTrue(done.is_set())
            self.daemon.kill()

    def test_a_worker_that_must_stop_without_a_daemon_says_what_it_could_not_tell(self) -> None:
        begun, go = threading.Event(), threading.Event()

        def handle(job: Job) -> None:
            begun.set()
            go.wait(DEADLINE)

        worker = Worker(self.daemon.socket, grace=0.1).handle("kept", handle)
        with Running(worker) as running:
            with self.daemon.client() as client:
                job = client.submit(NewJob("kept")).id
            begun.wait(DEADLINE)
            self.daemon.kill()
            worker.stop()
            go.set()
            running.join()
        self.assertIsInstance(running.error, Untold)
        self.assertEqual(getattr(running.error, "jobs", None), [job])

    def test_what_a_handler_asks_fails_when_its_lease_is_lost(self) -> None:
        self.daemon.configure('[queues.brief]\nlease = "1s"\n[daemon]\nresume_within = "100ms"\n')
        self.daemon.kill()
        self.daemon.start()
        begun, errors = threading.Event(), []

        def handle(job: Job) -> None:
            begun.set()
            until("the end of the daemon", lambda: not job._line.now())
            try:
                job.checkpoint("x")
            except LeaseLost as error:
                errors.append((job.reason, error.job))

        with Running(Worker(self.daemon.socket, grace=0).handle("brief", handle)):
            with self.daemon.client() as client:
                job = client.submit(NewJob("brief")).id
            begun.wait(DEADLINE)
            self.daemon.kill()
            until("the loss of the lease", lambda: errors)
        self.assertEqual(errors, [(Reason.LEASE_LOST, job)])


if __name__ == "__main__":
    unittest.main()
