"""The protocol byte by byte, without a daemon."""

from __future__ import annotations

import unittest
from datetime import datetime, timedelta, timezone
from typing import Any, List, Tuple

import helper  # noqa: F401

from musher import (
    After,
    Backoff,
    ErrorCode,
    Lease,
    LeaseFault,
    NewJob,
    ProtocolError,
    RequestTooLarge,
    Revoked,
    Stopping,
    Unique,
    Verdict,
)
from musher.model import Limits
from musher.protocol import answers, requests
from musher.protocol.session import Session, Told
from musher.protocol.wire import Frames, Reader, Writer, frame


def payload(text: str) -> bytes:
    return bytes.fromhex(text)


class Dialogue(unittest.TestCase):
    """That of the protocol's document, of a client that speaks version 2 only."""

    def test_it_is_said_byte_by_byte(self) -> None:
        session: Session[str] = Session()
        said = [
            session.send(requests.hello("example"), "hello"),
            session.send(requests.submit(NewJob("q", "hi")), "first"),
            session.send(requests.submit(NewJob("q", b"hi", delay=5)), "second"),
        ]
        self.assertEqual([number for number, _ in said], [1, 2, 3])
        self.assertEqual(
            [data.hex(" ") for _, data in said],
            [
                "14 00 00 00 01 01 00 00 00 4d 55 53 48 02 00 07 00 65 78 61 6d 70 6c 65",
                "18 00 00 00 10 02 00 00 00 00 01 00 00 00 01 00 71 00 01 00 00 00 02 00 00 00 68 69",
                "1c 00 00 00 10 03 00 00 00 00 01 00 00 00 01 00 71 02 02 88 13 00 01 00 00 00 02 00 00 00 68 69",
            ],
        )
        came = payload(
            "15000000 90 03000000 0200000000000000 0100000000000000"
            "15000000 90 02000000 0100000000000000 0100000000000000"
        )
        # However it is divided.
        answered = [one for at in range(len(came)) for one in session.feed(came[at : at + 1])]
        self.assertEqual(
            [(who, receipts.id, len(receipts)) for who, receipts in answered], [("second", 2, 1), ("first", 1, 1)]
        )

    def test_numbers_of_requests_come_round_and_leave_out_those_under_way(self) -> None:
        session: Session[str] = Session()
        session.send(requests.backup(), "")
        session._last = 0xFFFFFFFE
        self.assertEqual(session.send(requests.backup(), "")[0], 0xFFFFFFFF)
        self.assertEqual(session.send(requests.backup(), "")[0], 2, "0 is the daemon's, and 1 is under way")


class Requests(unittest.TestCase):
    def test_options_of_a_job(self) -> None:
        job = NewJob(
            "q",
            priority=0,
            at=datetime(1970, 1, 1, 0, 0, 1, tzinfo=timezone.utc),
            ttl=timedelta(seconds=1),
            attempts=3,
            backoff=Backoff("exponential", 1, 2, 0.5),
            timeout=0,
            tags={"a": "b"},
            key="k",
            unique=Unique("u", held=0.001, on_conflict="debounce", longest=0.002),
            deadline=0.003,
            after=(7, After(place=1, when="ended"), After(group="g", when="failed")),
            on_unmet="hold",
            group="h",
            seal=True,
            to_topic=True,
        )
        after = "0000 0700000000000000  0101 01000000  0202 0100 67"
        expected = (
            "00 01000000 0100 71"
            "01 00  03 02 e803  04 02 e803  05 01 03"
            "06 13 02 e803000000000000 d007000000000000 f401"
            "07 00  08 06 0100 61 0100 62  89 01 6b"
            "8a 01 75  8c 01 01  8d 01 02  8e 01 02  8f 01 03"
            f"90 15 {after}  91 01 02  92 01 68  93 00  94 00  00"
            "01000000 00000000"
        )
        self.assertEqual(requests.submit(job).payload, payload(expected))

    def test_jobs_that_are_alike_make_one_group(self) -> None:
        jobs = [NewJob("q", "a"), NewJob("q", "b"), NewJob("r", "c")]
        expected = "00 02000000  0100 71 00 02000000 01000000 61 01000000 62  0100 72 00 01000000 01000000 63"
        self.assertEqual(requests.submit(jobs).payload, payload(expected))

    def test_keys_and_leases_of_a_submit_must_be_understood(self) -> None:
        request = requests.submit([], "k", Lease(1, 2))
        self.assertEqual(request.payload, payload("81 01 6b  82 0c 0100000000000000 02000000  00 00000000"))

    def test_verdicts(self) -> None:
        for verdict, expected in [
            (Verdict.complete(), "00"),
            (Verdict.complete("ok"), "85 02 6f6b 00"),
            (Verdict.fail("no"), "01 01 01  02 02 6e6f 00"),
            (Verdict.fail("no", retry_after=1), "01 01 01  02 02 6e6f  03 02 e803 00"),
            (Verdict.fail("no", bury=True), "01 01 02  02 02 6e6f 00"),
            (Verdict.release(), "01 01 03 00"),
            (Verdict.release(1), "01 01 03  03 02 e803 00"),
            (Verdict.later(), "01 01 04 00"),
            (Verdict.exited(status=0), "01 01 05  04 02 0100 00"),
            (Verdict.exited(signal=9, error="x"), "01 01 05  02 01 78  04 02 0209 00"),
            (Verdict.until("go", 1), "01 01 06  03 02 e803  86 02 676f 00"),
        ]:
            lease = "01000000 0700000000000000 02000000"
            self.assertEqual(requests.settle([(Lease(7, 2), verdict)]).payload, payload(lease + expected), verdict)

    def test_long_values_have_their_length_behind(self) -> None:
        for length, head in [(254, "85 fe"), (255, "85 ff ff000000")]:
            request = requests.settle([(Lease(7, 2), Verdict.complete(b"x" * length))])
            self.assertEqual(request.payload[16:-1], payload(head) + b"x" * length)

    def test_others(self) -> None:
        lease = "0700000000000000 02000000"
        vectors: List[Tuple[requests.Request[Any], str]] = [
            (requests.claim("q", 3), "0100 0100 71 03000000 03 01 01 00"),
            (
                requests.claim(["q"], wait=None, length=1, bound=False),
                "0100 0100 71 01000000 01 02 e803 02 08 ffffffffffffffff 00",
            ),
            (requests.extend([Lease(7, 2)]), "01000000" + lease),
            (requests.extend([Lease(7, 2)], 1), "01000000" + lease + "01 02 e803 00"),
            (requests.output(Lease(7, 2), 1, b"x"), lease + "01 00 78"),
            (requests.progress(Lease(7, 2), 9), lease + "09"),
            (requests.progress(Lease(7, 2), 9, "x"), lease + "09 01 01 78 00"),
            (requests.checkpoint(Lease(7, 2), "x", 1), lease + "01 02 e803 00 78"),
            (requests.signal(7, "go", "x"), "0700000000000000 01 02 676f 00 78"),
            (requests.result(7), "0700000000000000 02"),
            (requests.logs(7, follow=True), "0700000000000000 01 01 01 00"),
            (requests.changes("q", 7), "81 01 71 82 01 07 00"),
            (requests.replace_body(7, "x"), "0700000000000000 00 78"),
            (requests.take_up("w", b"t" * 16, [Lease(7, 2)]), "0100 77" + "74" * 16 + "01000000" + lease),
            (requests.submit_and_wait([], 1), "01 02 e803 00 00000000"),
        ]
        for request, expected in vectors:
            self.assertEqual(request.payload.hex(), payload(expected).hex(), hex(request.kind))

    def test_what_has_no_place_is_refused_before_it_is_sent(self) -> None:
        for job in [
            NewJob("q", delay=-1),
            NewJob("q", delay=1, at=1),
            NewJob("q", attempts=-1),
            NewJob("q" * 70_000),
            NewJob("q", unique=Unique("u", on_conflict="explode")),
            NewJob("q", after=[After()]),
            NewJob("q", on_unmet="explode"),
        ]:
            with self.assertRaises(ValueError, msg=job):
                requests.submit(job)
        session: Session[str] = Session()
        session.greeted(Limits(100, 100, 100))
        with self.assertRaises(RequestTooLarge):
            session.send(requests.submit(NewJob("q", "x" * 100)), "")


class Answers(unittest.TestCase):
    def test_a_job(self) -> None:
        job = (
            "07" + "00" * 7 + "02000000 19000000 60ea000000000000 e803000000000000 0100 71 00040000 05000000"
            "01 02 e803  02 06 0100 61 0100 62  03 01 6b  04 02 d007  05 01 63  06 02 676f  07 01 64  00"
            "02000000 6869"
        )
        (found,) = answers.jobs(answers.JOBS, payload("01000000" + job))
        self.assertEqual(
            (found.id, found.attempt, found.attempts, found.lease_length, found.lease_until), (7, 2, 25, 60.0, 1.0)
        )
        self.assertEqual((found.queue, found.priority, found.owner, found.timeout), ("q", 1024, 5, 1.0))
        self.assertEqual((found.tags, found.key, found.deadline, found.checkpoint), ({"a": "b"}, "k", 2.0, b"c"))
        self.assertEqual((found.signal, found.body), (("go", b"d"), b"hi"))
        for end in range(len(payload(job)) + 4):
            with self.assertRaises(ProtocolError):
                answers.jobs(answers.JOBS, payload("01000000" + job)[:end])

    def test_options_that_are_not_known_are_skipped_unless_they_must_be_understood(self) -> None:
        self.assertEqual(answers.settled(answers.SETTLED, payload("01000000 00  7f 01 01 00"), 1), [None])
        with self.assertRaisesRegex(ProtocolError, "must be understood"):
            answers.settled(answers.SETTLED, payload("01000000 00  ff 01 01 00"), 1)
        with self.assertRaisesRegex(ProtocolError, "must rise"):
            answers.settled(answers.SETTLED, payload("01000000 00  05 00 05 00 00"), 1)

    def test_refused_leases(self) -> None:
        named = "0700000000000000"
        lost = f"02 {named} 01 01 02 02 01 03 03 01 05 00"
        found = answers.settled(answers.SETTLED, payload(f"03000000 {lost} 01 {named} 00 09 {named} 00"), 3)
        self.assertEqual(found[0], LeaseFault(7, "lost", 2, 3, "cancelled"))
        self.assertEqual([str(fault)[:6] for fault in found], ["lease ", "job 7 ", "job 7:"])
        with self.assertRaisesRegex(ProtocolError, "1 of 2"):
            answers.settled(answers.SETTLED, payload("01000000 00"), 2)

    def test_receipts_of_jobs_with_unique_keys(self) -> None:
        found = answers.receipts(answers.RECEIVED, payload("02000000 0700000000000000 01 0800000000000000 00"))
        self.assertEqual([tuple(one) for one in found], [(7, "existing"), (8, "new")])
        with self.assertRaises(ProtocolError):
            answers.receipts(answers.SUBMITTED, payload("0100000000000000 ffffffffffffffff"))

    def test_counts_without_things_take_no_memory(self) -> None:
        for read in (answers.jobs, answers.receipts, answers.changes_or_end):
            for kind in (answers.JOBS, answers.RECEIVED, answers.CHANGES):
                with self.assertRaises(ProtocolError):
                    read(kind, payload("00000000 00000000 ffffffff"))

    def test_errors_and_notices(self) -> None:
        self.assertEqual(answers.error(payload("0500 0200 6e6f")).code, ErrorCode.NOT_FOUND)
        unknown = answers.error(payload("e703 0200 6e6f"))
        self.assertEqual((unknown.code, str(unknown), unknown.may_try_again), (999, "no", False))
        lease = "0700000000000000 02000000"
        self.assertEqual(answers.notice(answers.REVOKED, payload(lease + "02")), Revoked(Lease(7, 2), True))
        self.assertEqual(answers.notice(answers.STOPPING, payload("e803000000000000")), Stopping(1.0))
        self.assertIsNone(answers.notice(0xCF, b"whatever"))

    def test_what_is_not_json(self) -> None:
        for text in (b"{", b"\xff", b"[" * 100_000):
            with self.assertRaises(ProtocolError):
                answers.json_or_ok(answers.JSON, text)


class Streams(unittest.TestCase):
    def test_impossible_lengths(self) -> None:
        for length in ("00000000", "04000000", "ffffffff"):
            with self.assertRaises(ProtocolError):
                list(Frames().feed(payload(length)))

    def test_what_came_before_an_impossible_length_is_answered(self) -> None:
        session: Session[str] = Session()
        session.send(requests.progress(Lease(1, 1), 1), "it")
        came, why = session.take(frame(answers.OK, 1, b"") + payload("00000000"))
        self.assertEqual(came, [("it", None)])
        self.assertIsInstance(why, ProtocolError)

    def test_an_error_of_number_0_says_why_all_ends(self) -> None:
        session: Session[str] = Session()
        with self.assertRaisesRegex(Told, "no"):
            list(session.feed(frame(answers.ERROR, 0, payload("0100 0200 6e6f"))))

    def test_numbers_that_nobody_waits_for_and_unknown_notices_are_ignored(self) -> None:
        session: Session[str] = Session()
        self.assertEqual(list(session.feed(frame(answers.OK, 9, b"") + frame(0xCF, 0, b"?") + frame(0xC0, 0, b""))), [])

    def test_an_answer_of_an_unknown_kind_is_an_error_for_its_caller_alone(self) -> None:
        session: Session[str] = Session()
        session.send(requests.result(1), "it")
        ((who, error),) = session.feed(frame(0x77, 1, b""))
        self.assertEqual(who, "it")
        self.assertRegex(str(error), "0x77")

    def test_options_are_read_as_written(self) -> None:
        for value in (0, 1, 255, 256, (1 << 64) - 1):
            written = Writer().number(5, value, "it").end().done()
            self.assertEqual(int.from_bytes(Reader(written).options((5,), "it")[5], "little"), value)


if __name__ == "__main__":
    unittest.main()
