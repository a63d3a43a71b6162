"""Daemons that say what they must not say, stop in the middle, or say nothing: an error, and no hang."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
import threading
import unittest
from typing import Callable, Iterator, Type

import helper

from musher import (
    AsyncClient,
    Client,
    ConnectError,
    Disconnected,
    MusherError,
    NewJob,
    NoAnswer,
    ProtocolError,
    Refused,
)
from musher.protocol.wire import Frames, frame

WELCOME = bytes.fromhex("0200 00000010 00000010 e8030000 0100 64")
Answer = Callable[[int], bytes]


@contextlib.contextmanager
def daemon(*answers: Answer, welcome: bytes = WELCOME, stays: bool = False) -> Iterator[str]:
    """A socket that greets, answers one request after the other with these bytes, and closes the connection."""
    with tempfile.TemporaryDirectory() as home, socket.socket(socket.AF_UNIX) as listener:
        path = os.path.join(home, "socket")
        listener.bind(path)
        listener.listen()
        done = threading.Event()

        def serve() -> None:
            with contextlib.suppress(OSError), listener.accept()[0] as connection:
                frames, left = Frames(), [lambda number: frame(0x81, number, welcome), *answers]
                while left:
                    data = connection.recv(1 << 16)
                    if not data:
                        return
                    for part in list(frames.feed(data)):
                        connection.sendall(left.pop(0)(part.number))
                if stays:
                    done.wait(helper.DEADLINE)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield path
        finally:
            done.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


class BadDaemons(unittest.TestCase):
    def expect(
        self, kind: Type[MusherError], text: str, *answers: Answer, stays: bool = False, timeout: float = 20.0
    ) -> None:
        """Both clients get this error for a question, and one that says that the connection is gone if it is."""
        with daemon(*answers, stays=stays) as path, Client(path, timeout=timeout) as client:
            with self.assertRaisesRegex(kind, text) as raised:
                client.query({"do": "status"})
            self.assertIs(type(raised.exception), kind)

        async def ask(path: str) -> None:
            async with AsyncClient(path, timeout=timeout) as client:
                await client.query({"do": "status"})

        with daemon(*answers, stays=stays) as path, self.assertRaisesRegex(kind, text) as raised:
            asyncio.run(ask(path))
        self.assertIs(type(raised.exception), kind)

    def test_frames_that_are_too_long_or_too_short(self) -> None:
        self.expect(ProtocolError, "a frame of 4294967295 bytes", lambda number: b"\xff\xff\xff\xff")
        self.expect(ProtocolError, "a frame of 4 bytes", lambda number: b"\x04\0\0\0", stays=True)

    def test_messages_that_are_cut_off(self) -> None:
        self.expect(Disconnected, "in the middle of a message", lambda number: frame(0xA0, number, b"{}")[:-1])
        self.expect(Disconnected, "has ended$", lambda number: b"")
        self.expect(
            ProtocolError, "cut off in the message", lambda number: frame(0xF0, number, b"\x05\0\x09\0no"), stays=True
        )

    def test_kinds_and_bytes_that_are_not_known(self) -> None:
        self.expect(ProtocolError, "0x77", lambda number: frame(0x77, number, b""), stays=True)
        self.expect(ProtocolError, "not JSON", lambda number: frame(0xA0, number, b"{"), stays=True)
        self.expect(ProtocolError, "must be understood", lambda number: frame(0x94, number, b"\xff\0\0"), stays=True)

    def test_an_error_of_number_0_is_why_it_ended(self) -> None:
        self.expect(Disconnected, "go away", lambda number: frame(0xF0, 0, b"\x01\0\x07\0go away"))

    def test_no_answer(self) -> None:
        self.expect(NoAnswer, "not answered in time", lambda number: b"", stays=True, timeout=0.1)
        self.expect(
            NoAnswer, "not answered in time", lambda number: frame(0xA0, number, b"{}")[:-1], stays=True, timeout=0.1
        )

    def test_greetings(self) -> None:
        with daemon(welcome=b"\x03" + WELCOME[1:]) as path, self.assertRaisesRegex(Refused, "version 3"):
            Client(path)
        with daemon(welcome=WELCOME[:-1]) as path, self.assertRaises(ProtocolError):
            Client(path)
        with tempfile.TemporaryDirectory() as home, self.assertRaisesRegex(ConnectError, "No such file"):
            Client(os.path.join(home, "socket"))

    def test_a_connection_that_is_gone_says_so_each_time(self) -> None:
        with daemon(lambda number: b"") as path, Client(path) as client:
            for _ in range(3):
                with self.assertRaises(Disconnected):
                    client.status()
            self.assertFalse(client.is_connected)
            client.close()
            with self.assertRaises(Disconnected):
                client.status()

    def test_a_submit_without_a_key_is_never_sent_again(self) -> None:
        sent = []

        def close(number: int) -> bytes:
            sent.append(number)
            return b""

        with daemon(close) as path, Client(path) as client, self.assertRaises(Disconnected):
            client.submit(NewJob("q"), key="even with one")
        self.assertEqual(len(sent), 1)

    def test_patience_has_an_end(self) -> None:
        with daemon() as path, Client(path) as client:
            helper.until("the end of the connection", lambda: not client.is_connected)
            with self.assertRaises((Disconnected, ConnectError)):
                client.submit_once("k", NewJob("q"), patience=0.2)

        async def ask(path: str) -> None:
            client = AsyncClient(path, timeout=1)
            try:
                await client.submit_once("k", NewJob("q"), patience=0.2)
            finally:
                await client.close()

        with daemon() as path, self.assertRaises(MusherError):
            asyncio.run(ask(path))

    def test_streams(self) -> None:
        with daemon(lambda number: b"", stays=True) as path:
            client = Client(path, timeout=0.2)
            # The greeting of a stream comes on a connection of its own, which this daemon does not take.
            with client, self.assertRaises(NoAnswer):
                list(client.logs(1))


if __name__ == "__main__":
    unittest.main()
