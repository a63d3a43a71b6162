"""The examples of README.md do what they say."""

from __future__ import annotations

import contextlib
import io
import os
import re
import threading
import unittest
from typing import Any, Dict
from unittest import mock

from helper import DEADLINE, Daemon

README = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "README.md")


class Readme(unittest.TestCase):
    def test_the_blocks_run_one_after_the_other(self) -> None:
        with open(README) as file:
            blocks = re.findall(r"^```python\n(.*?)^```$", file.read(), re.MULTILINE | re.DOTALL)
        self.assertEqual(len(blocks), 7)
        daemon = Daemon("mails", "numbers")
        self.addCleanup(daemon.close)
        names: Dict[str, Any] = {"__name__": "readme"}
        with mock.patch.dict(os.environ, {"MUSHER_SOCKET": daemon.socket}), contextlib.redirect_stdout(io.StringIO()):
            for block in blocks:
                exec(compile(block, README, "exec"), names)
            self.work(daemon, names)

    def work(self, daemon: Daemon, names: Dict[str, Any]) -> None:
        """Runs the worker of the examples until its jobs have ended."""
        thread = threading.Thread(target=names["worker"].run)
        thread.start()
        with daemon.client() as client:
            ids = [names["mail"].id, *names["both"].ids, names["receipts"].id]
            ends = client.wait(ids, DEADLINE)
            results = [client.result(job) for job in ids[:3]]
            added = [client.result(job["id"]) for job in client.list(queue="numbers")["jobs"]]
        names["worker"].stop()
        thread.join()
        self.assertEqual([end["state"] for end in ends], ["done", "done", "done", "dead"])
        self.assertEqual(results, [b"sent to ada", b"sent to bob", b"sent to cleo"])
        self.assertEqual(added, [b"21"])


if __name__ == "__main__":
    unittest.main()
