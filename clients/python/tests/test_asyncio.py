"""The client and the worker for asyncio, and a real daemon."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import unittest
from typing import Any, Callable, List, Optional

from helper import DEADLINE, Daemon

from musher import (
    AsyncClient,
    AsyncJob,
    AsyncWorker,
    Disconnected,
    ErrorCode,
    Fail,
    Later,
    LeaseLost,
    NewJob,
    Reason,
    Refused,
    Until,
    Verdict,
)


async def until(what: str, look: Callable[[], Any]) -> Any:
    """Waits until `look`, which may be a coroutine function, finds something."""
    deadline = time.monotonic() + DEADLINE
    while True:
        found = look()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {DEADLINE} s")
        await asyncio.sleep(0.005)


class WithDaemon(unittest.IsolatedAsyncioTestCase):
    daemon: Daemon

    @classmethod
    def setUpClass(cls) -> None:
        cls.daemon = Daemon("kept", config='[daemon]\ndrain_timeout = "100ms"\n')
        cls.addClassCleanup(cls.daemon.close)

    async def asyncSetUp(self) -> None:
        self.client = await AsyncClient.connect(self.daemon.socket)
        self.addAsyncCleanup(self.client.close)

    async def state(self, job: int) -> str:
        try:
            return str((await self.client.show(job))["state"])
        except Refused:
            return "gone"

    async def until_state(self, job: int, expected: str) -> None:
        async def look() -> bool:
            return await self.state(job) == expected

        await until(f"job {job} is {expected}", look)

    async def submit(self, queue: str, body: str = "", **options: Any) -> int:
        return (await self.client.submit(NewJob(queue, body, **options))).id

    async def running(self, worker: AsyncWorker) -> asyncio.Task[None]:
        task = asyncio.ensure_future(worker.run(signals=False))

        async def end() -> None:
            worker.stop()
            await asyncio.wait([task], timeout=DEADLINE)
            self.assertTrue(task.done())

        self.addAsyncCleanup(end)
        return task


class Clients(WithDaemon):
    async def test_work_by_hand(self) -> None:
        job = await self.submit("kept", "body")
        (claimed,) = await self.client.claim("kept")
        self.assertEqual((claimed.id, claimed.body), (job, b"body"))
        self.assertGreater(await self.client.extend(claimed.lease, 100), time.time())
        self.assertGreater(await self.client.checkpoint(claimed.lease, "half"), time.time())
        await self.client.progress(claimed.lease, 5, "text")
        await self.client.output(claimed.lease, 1, b"printed")
        await self.client.complete(claimed.lease, "result")
        self.assertEqual(await self.client.result(job), b"result")
        self.assertEqual((await self.client.wait([job]))[0]["state"], "done")
        self.assertEqual([piece.data async for piece in self.client.logs(job)], [b"printed"])
        with self.assertRaises(LeaseLost):
            await self.client.fail(claimed.lease, "no")

    async def test_verdicts_and_questions(self) -> None:
        jobs = (await self.client.submit([NewJob("verdicts")] * 5)).ids
        claimed = await self.client.claim("verdicts", 5)
        await self.client.fail(claimed[0].lease, "no", bury=True)
        await self.client.later(claimed[1].lease, "no", 3600)
        await self.client.release(claimed[2].lease, 3600)
        await self.client.until_signal(claimed[3].lease, "go", 3600)
        self.assertEqual(await self.client.settle([(claimed[4].lease, Verdict.complete())]), [None])
        page = await self.client.list(queue="verdicts")
        self.assertEqual([job["state"] for job in page["jobs"]], ["dead", "scheduled", "scheduled", "scheduled"])
        await self.client.cancel(*jobs[:4])
        receipts, ends = await self.client.submit_and_wait(NewJob("verdicts"), longest=0)
        self.assertEqual((ends[0]["id"], ends[0]["state"]), (receipts.id, "ready"))
        with self.assertRaises(Refused) as refused:
            await self.client.show(1 << 40)
        self.assertEqual(refused.exception.code, ErrorCode.NOT_FOUND)

    async def test_requests_at_the_same_time(self) -> None:
        claim = asyncio.ensure_future(self.client.claim("together", wait=None))
        receipts = await asyncio.gather(*(self.client.submit(NewJob("other", str(n))) for n in range(50)))
        bodies = await asyncio.gather(*(self.client.body(one.id) for one in receipts))
        self.assertEqual(bodies, [str(n).encode() for n in range(50)])
        job = await self.submit("together")
        self.assertEqual([one.id for one in await claim], [job])

    async def test_a_claim_that_is_cancelled_leaves_no_job_behind(self) -> None:
        before = (await self.client.status())["waiting_claims"]
        claim = asyncio.ensure_future(self.client.claim("left", wait=None))

        async def waits() -> bool:
            return bool((await self.client.status())["waiting_claims"] > before)

        await until("a claim that waits", waits)
        submit = asyncio.ensure_future(self.submit("left"))
        await asyncio.sleep(0)
        claim.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await claim
        await self.until_state(await submit, "ready")

    async def test_changes(self) -> None:
        changes = self.client.changes(queue="watched")
        first = asyncio.ensure_future(changes.__anext__())
        ids: List[int] = []

        async def submit() -> bool:
            ids.append(await self.submit("watched"))
            return first.done()

        await until("a change", submit)
        self.assertIn((await first).first, ids)
        await changes.aclose()  # type: ignore[attr-defined]


class Workers(WithDaemon):
    async def test_what_handlers_say(self) -> None:
        async def handle(job: AsyncJob) -> Optional[str]:
            await asyncio.sleep(0)
            if job.text == "done":
                await job.progress(50, "half")
                await job.checkpoint("half")
                return "result"
            if job.text == "follow":
                await job.complete_and_submit(NewJob("followers"), key="follow")
                await (await job.client()).signal(job.id + 1000, "never")
            raise {"later": Later(3600), "until": Until("go", 3600), "bury": Fail("no", bury=True)}[job.text]

        await self.running(AsyncWorker(self.daemon.socket, concurrency=4).handle("kept", handle))
        for body, state in [
            ("done", "done"),
            ("later", "scheduled"),
            ("until", "scheduled"),
            ("bury", "dead"),
            ("follow", "done"),
        ]:
            job = await self.submit("kept", body)
            await self.until_state(job, state)
            if body == "done":
                self.assertEqual(await self.client.result(job), b"result")

    async def test_handlers_that_are_told_to_end(self) -> None:
        reasons: List[Any] = []

        async def listens(job: AsyncJob) -> None:
            await job.cancelled.wait()
            reasons.append(job.reason)

        async def does_not(job: AsyncJob) -> None:
            try:
                await asyncio.sleep(DEADLINE)
            except asyncio.CancelledError:
                reasons.append(job.reason)
                raise

        worker = AsyncWorker(self.daemon.socket).handle("kept", listens).handle("slow", does_not)
        await self.running(worker)
        slow = await self.submit("slow", timeout=0.1, attempts=1)
        job = await self.submit("kept")
        await self.until_state(job, "leased")
        await self.client.cancel(job)
        await self.until_state(job, "cancelled")
        await self.until_state(slow, "dead")
        self.assertEqual(reasons, [Reason.CANCELLED, Reason.TIMED_OUT])

    async def test_sigterm_lets_handlers_end_and_gives_back_the_rest(self) -> None:
        async def handle(job: AsyncJob) -> None:
            await asyncio.sleep(0 if job.text == "quick" else DEADLINE)

        task = asyncio.ensure_future(
            AsyncWorker(self.daemon.socket, concurrency=2, grace=0).handle("kept", handle).run()
        )
        quick, slow = await self.submit("kept", "quick"), await self.submit("kept", "slow")
        await self.until_state(quick, "done")
        await self.until_state(slow, "leased")
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(task, DEADLINE)
        self.assertEqual(await self.state(slow), "ready")
        self.assertEqual((await self.client.show(slow))["failed"], 0)
        await self.client.cancel(slow)

    async def test_a_worker_whose_task_is_cancelled_ends_with_its_handlers(self) -> None:
        ended = asyncio.Event()

        async def handle(job: AsyncJob) -> None:
            try:
                await asyncio.sleep(DEADLINE)
            finally:
                ended.set()

        task = asyncio.ensure_future(AsyncWorker(self.daemon.socket).handle("cut", handle).run(signals=False))
        job = await self.submit("cut")
        await self.until_state(job, "leased")
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        self.assertTrue(ended.is_set())
        await self.until_state(job, "ready")


class Restarts(WithDaemon):
    async def test_handlers_run_on_while_the_daemon_is_killed(self) -> None:
        begun: List[int] = []
        go = asyncio.Event()

        async def handle(job: AsyncJob) -> None:
            begun.append(job.id)
            await go.wait()
            await job.checkpoint("after")

        await self.running(AsyncWorker(self.daemon.socket, concurrency=3).handle("kept", handle))
        ids = list((await self.client.submit([NewJob("kept")] * 5)).ids)
        await until("jobs that run", lambda: len(begun) == 3)
        self.daemon.kill()
        go.set()
        with self.assertRaises(Disconnected):
            await self.client.wait(ids)
        self.daemon.start()
        await self.client.reconnect()
        self.assertEqual({end["state"] for end in await self.client.wait(ids)}, {"done"})
        self.assertEqual(sorted(begun), ids, "each began once")

    async def test_submits_with_keys_are_enqueued_once_whatever_is_killed(self) -> None:
        made: List[int] = []

        async def submit(name: str) -> None:
            async with AsyncClient(self.daemon.socket) as client:
                for number in range(60):
                    made.append((await client.submit_once(f"{name}-{number}", NewJob("once"))).id)

        tasks = [asyncio.ensure_future(submit(name)) for name in "abcd"]
        for _ in range(2):
            before = len(made)
            await until("more submits", lambda before=before: len(made) >= before + 20)  # type: ignore[misc]
            self.daemon.kill()
            await asyncio.get_running_loop().run_in_executor(None, self.daemon.start)
        await asyncio.gather(*tasks)
        await self.client.reconnect()
        jobs = await self.client.claim("once", 1000)
        self.assertEqual(sorted(job.id for job in jobs), sorted(made))
        self.assertEqual(len(made), 240)


if __name__ == "__main__":
    unittest.main()
