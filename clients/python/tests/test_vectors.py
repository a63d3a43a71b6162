"""The frames of `docs/protocol-vectors.json`, which the daemon's own encoder has made: this client writes and reads the same."""

from __future__ import annotations

import json
import unittest
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional

import helper  # noqa: F401

from musher import After, Backoff, Lease, LeaseFault, NewJob, Revoked, Stopping, Unique, Verdict
from musher.model import STATES, Change, ClaimedJob, Limits, Output, Receipt
from musher.protocol import answers, requests
from musher.protocol.wire import Frames, frame

VECTORS = Path(__file__).resolve().parents[3] / "docs" / "protocol-vectors.json"
Says = Mapping[str, Any]


def seconds(millis: Optional[int]) -> Optional[float]:
    return None if millis is None else millis / 1000


def lease(says: Says) -> Lease:
    return Lease(says["job"], says["attempt"])


def unique(says: Says) -> Optional[Unique]:
    if "unique_key" not in says:
        return None
    conflicts = ("existing", "raise", "debounce", "reject", "replace")
    held = "waiting" if says.get("held_while_it_waits") else seconds(says.get("held_for"))
    conflict = conflicts[says.get("on_conflict", 0)]
    longest = seconds(says.get("longest_delay"))
    return Unique(says["unique_key"], "unfinished" if held is None else held, conflict, longest)


def jobs(groups: List[Says]) -> List[NewJob]:
    found = []
    for says in groups:
        backoff = says.get("backoff")
        whens = ("done", "ended", "failed")
        after = [
            After(one.get("job"), one.get("place"), one.get("group"), whens[one["condition"]])
            for one in says.get("after", [])
        ]
        for body in says["bodies"]:
            job = NewJob(
                says["queue"],
                bytes.fromhex(body),
                priority=says.get("priority"),
                delay=seconds(says.get("delay")),
                at=seconds(says.get("earliest_start")),
                ttl=seconds(says.get("time_to_live")),
                deadline=seconds(says.get("deadline")),
                attempts=says.get("attempts"),
                backoff=backoff
                and Backoff(
                    ("fixed", "linear", "exponential")[backoff["kind"]],
                    backoff["base"] / 1000,
                    backoff["longest"] / 1000,
                    backoff["jitter"] / 1000,
                ),
                timeout=seconds(says.get("timeout")),
                tags=dict(says.get("tags", [])),
                key=says.get("key"),
                unique=unique(says),
                after=after,
                on_unmet=("cancel", "run", "hold")[says.get("on_unmet", 0)],
                group=says.get("group"),
                seal=says.get("seal", False),
                to_topic=says.get("to_a_topic", False),
            )
            found.append(job)
    return found


def verdict(says: Says) -> Verdict:
    error, wait, ended = says.get("error", ""), seconds(says.get("wait")), says.get("exit")
    number = says["verdict"]
    if number == 0:
        return Verdict.complete(bytes.fromhex(says["result"])) if "result" in says else Verdict.complete()
    status, signal = None, None
    if ended is not None:
        status, signal = (ended["number"], None) if ended["kind"] == 1 else (None, ended["number"])
    if number == 5:
        return Verdict.exited(status=status, signal=signal, error=error)
    if number in (1, 2):
        found = Verdict.fail(error, retry_after=wait) if number == 1 else Verdict.fail(error, bury=True)
        # How the process ended is not said by name here, only with `exited`.
        return found if ended is None else Verdict(**{**vars(found), "exit": (ended["kind"], ended["number"])})
    if number == 3:
        return Verdict.release(wait or 0)
    if number == 4:
        return Verdict.later(error, wait=wait)
    return Verdict.until(says["until_signal"], wait or 0)


def claim(says: Says) -> Any:
    wait = says.get("wait", 0)
    for_ever = wait == (1 << 64) - 1
    length = seconds(says.get("lease"))
    return requests.claim(
        says["queues"], says["most"], None if for_ever else wait / 1000, length, says.get("bound", False)
    )


def submit(says: Says) -> Any:
    completes = lease(says["completes"]) if "completes" in says else None
    return requests.submit(jobs(says["groups"]), says.get("idempotency_key"), completes)


REQUESTS: Dict[str, Callable[[Says], Any]] = {
    "hello": lambda says: requests.hello(says["name"]),
    "submit": submit,
    "submit and wait": lambda says: requests.submit_and_wait(jobs(says["groups"]), seconds(says["longest_wait"])),
    "claim": claim,
    "settle": lambda says: requests.settle([(lease(one["lease"]), verdict(one)) for one in says["settles"]]),
    "extend": lambda says: requests.extend([lease(one) for one in says["leases"]], seconds(says.get("lease"))),
    "unwait": lambda says: requests.unwait(says["request"]),
    "progress": lambda says: requests.progress(lease(says["lease"]), says["percent"], says["text"]),
    "admin": lambda says: requests.query(says["json"]),
    "body": lambda says: requests.body(says["job"]),
    "beside": lambda says: (requests.stored_checkpoint, requests.result)[says["what"] - 1](says["job"]),
    "checkpoint": lambda says: requests.checkpoint(lease(says["lease"]), bytes.fromhex(says["checkpoint"])),
    "signal": lambda says: requests.signal(says["job"], says["name"], bytes.fromhex(says["says"])),
    "take up": lambda says: requests.take_up(
        says["name"], bytes.fromhex(says["token"]), [lease(one) for one in says["leases"]]
    ),
    "leave": lambda says: requests.leave(),
    "logs": lambda says: requests.logs(says["job"], says["follow"]),
    "changes": lambda says: requests.changes(says["queue"], says["job"]),
    "replace body": lambda says: requests.replace_body(says["job"], bytes.fromhex(says["body"])),
    "backup": lambda says: requests.backup(),
    "backup of a shard": lambda says: requests.backup(says["shard"]),
}
# It sends no output a second time.
LEFT_OUT = {"output"}


def fault(says: Says) -> Optional[LeaseFault]:
    if says["refused"] == 0:
        return None
    if says["refused"] == 1:
        return LeaseFault(says["job"], "not found")
    return LeaseFault(says["job"], "lost", says["named"], says["newest"], STATES[says["state"]])


def claimed(says: Says) -> ClaimedJob:
    signal = (says["signal"], bytes.fromhex(says["says"])) if "signal" in says else None
    checkpoint = bytes.fromhex(says["checkpoint"]) if "checkpoint" in says else None
    return ClaimedJob(
        lease=lease(says["lease"]),
        queue=says["queue"],
        body=bytes.fromhex(says["body"]),
        attempts=says["attempts_at_most"],
        lease_length=says["length"] / 1000,
        lease_until=says["end"] / 1000,
        priority=says["priority"],
        owner=says["user"],
        timeout=seconds(says.get("timeout")),
        tags=dict(says.get("tags", [])),
        key=says.get("key"),
        deadline=seconds(says.get("deadline")),
        checkpoint=checkpoint,
        signal=signal,
    )


def change(says: Says) -> Change:
    return Change(says["first"], says["count"], says["queue"], STATES[says["state"]], says["when"] / 1000, 0)


def read_answer(name: str, kind: int, payload: bytes, says: Says) -> None:
    """Reads an answer and compares it with what it says."""
    results = says.get("results", [])
    expected: Any
    found: Any
    if name == "welcome":
        limits = Limits(says["longest_frame"], says["longest_body"], says["most_jobs"])
        found, expected = answers.welcome(kind, payload), answers.Welcome(says["version"], limits, says["name"])
    elif name == "submitted":
        found = list(answers.receipts(kind, payload))
        expected = [Receipt(says["first"] + n, "new") for n in range(says["count"])]
    elif name == "received":
        whats = ("new", "existing", "changed")
        found = list(answers.receipts(kind, payload))
        expected = [Receipt(one["job"], whats[one["what"]]) for one in says["receipts"]]
    elif name == "jobs":
        found, expected = answers.jobs(kind, payload), [claimed(one) for one in says["jobs"]]
    elif name == "settled":
        found, expected = answers.settled(kind, payload, len(results)), [fault(one) for one in results]
    elif name == "extended":
        found = answers.extended(kind, payload, len(results))
        expected = [one["end"] / 1000 if one["refused"] == 0 else fault(one) for one in results]
    elif name == "taken up":
        found = answers.taken_up(kind, payload, len(results))
        expected = answers.TakenUp(says["resume_within"] / 1000, [fault(one) for one in results])
    elif name == "ok":
        found, expected = answers.ok(kind, payload), None  # type: ignore[func-returns-value]
    elif name == "body":
        found, expected = answers.body(kind, payload), bytes.fromhex(says["body"])
    elif name == "output":
        found = answers.output_or_end(kind, payload)
        expected = Output(says["attempt"], says["stream"], bytes.fromhex(says["piece"]))
    elif name == "changes":
        found = answers.changes_or_end(kind, payload)
        expected = (says["left_out"], [change(one) for one in says["changes"]])
    elif name == "piece":
        found, expected = answers.piece_or_end(kind, payload), bytes.fromhex(says["piece"])
    elif name == "json":
        found, expected = answers.json_or_ok(kind, payload), says["json"]
    elif name == "error":
        refused = answers.error(payload)
        found, expected = (int(refused.code), refused.message), (says["code"], says["message"])
    elif name == "revoked":
        found, expected = answers.notice(kind, payload), Revoked(lease(says["lease"]), says["why"] == 2)
    elif name == "stopping":
        found, expected = answers.notice(kind, payload), Stopping(says["time"] / 1000)
    elif name == "reconfigured":
        found, expected = answers.notice(kind, payload), None
    else:
        raise AssertionError(f"there is no reader for {name}")
    assert found == expected, f"{name}: {found!r} instead of {expected!r}"


class Vectors(unittest.TestCase):
    def setUp(self) -> None:
        if not VECTORS.exists():
            self.skipTest("this is not the whole repository: there are no vectors")
        self.vectors = json.loads(VECTORS.read_text())

    def test_requests_are_written_as_the_daemon_reads_them(self) -> None:
        tried = 0
        for vector in self.vectors["requests"]:
            if vector["message"] in LEFT_OUT:
                continue
            with self.subTest(vector["message"], says=vector["says"]):
                request = REQUESTS[vector["message"]](vector["says"])
                written = frame(request.kind, vector["number"], request.payload)
                self.assertEqual(written.hex(), vector["frame"])
            tried += 1
        self.assertGreater(tried, 25)

    def test_answers_are_read_as_the_daemon_writes_them(self) -> None:
        for vector in self.vectors["answers"]:
            with self.subTest(vector["message"]):
                frames = Frames()
                ((kind, number, payload),) = frames.feed(bytes.fromhex(vector["frame"]))
                self.assertEqual(number, vector["number"])
                read_answer(vector["message"], kind, payload, vector["says"])


if __name__ == "__main__":
    unittest.main()
