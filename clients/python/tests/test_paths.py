"""Where the socket is looked for."""

from __future__ import annotations

import os
import tempfile
import unittest
from unittest import mock

import helper  # noqa: F401

from musher.paths import find_socket, sockets

SYSTEM = "/run/musher/musher.sock"


class Places(unittest.TestCase):
    def test_they_follow_from_the_environment(self) -> None:
        for uid, env, expected in [
            (7, {"MUSHER_SOCKET": "/named"}, ["/named"]),
            (7, {"HOME": "/h"}, ["/run/user/7/musher/musher.sock", "/h/.local/state/musher/musher.sock", SYSTEM]),
            (7, {}, ["/run/user/7/musher/musher.sock", SYSTEM]),
            (
                7,
                {"XDG_RUNTIME_DIR": "/x", "XDG_STATE_HOME": "/s"},
                ["/x/musher/musher.sock", "/s/musher/musher.sock", SYSTEM],
            ),
            (7, {"XDG_RUNTIME_DIR": "x", "HOME": "h"}, ["/run/user/7/musher/musher.sock", SYSTEM]),
            (
                7,
                {"RUNTIME_DIRECTORY": "/a:/b", "STATE_DIRECTORY": "/c:/d", "XDG_RUNTIME_DIR": "/x"},
                ["/a/musher.sock", "/x/musher/musher.sock", "/c/musher.sock", SYSTEM],
            ),
            (0, {"HOME": "/root", "XDG_RUNTIME_DIR": "/x"}, [SYSTEM]),
            (0, {"RUNTIME_DIRECTORY": "/run/musher"}, [SYSTEM]),
        ]:
            self.assertEqual(sockets(None, env, uid), expected, env)
        self.assertEqual(sockets("/mine", {"MUSHER_SOCKET": "/named"}, 7), ["/mine"])

    def test_one_that_is_there_goes_before_one_that_cannot_be_looked_at(self) -> None:
        with tempfile.TemporaryDirectory() as state:
            # Below a file nothing can be looked at.
            env = {"XDG_RUNTIME_DIR": "/proc/version", "XDG_STATE_HOME": state}
            there = os.path.join(state, "musher", "musher.sock")
            with mock.patch.dict(os.environ, env, clear=True), mock.patch("os.geteuid", return_value=7):
                self.assertEqual(find_socket(), "/proc/version/musher/musher.sock")
                os.mkdir(os.path.dirname(there))
                with open(there, "w"):
                    pass
                self.assertEqual(find_socket(), there)


if __name__ == "__main__":
    unittest.main()
