"""What the tests need: a daemon of their own, and a way to wait for things."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Optional, TypeVar

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))

from musher import Client, MusherError

T = TypeVar("T")

# What is tested makes warnings.
logging.getLogger("musher").setLevel(logging.CRITICAL)
logging.getLogger("asyncio").setLevel(logging.ERROR)

DEADLINE = 20.0
"""Seconds that anything may take before a test gives up."""

_CONFIG = """
[storage]
log_file = "256KiB"
ballast = "0B"
[limits]
disk_reserve = "0B"
"""


def until(what: str, look: Callable[[], Optional[T]]) -> T:
    """Waits until `look` finds something."""
    deadline = time.monotonic() + DEADLINE
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {DEADLINE} s")
        time.sleep(0.005)


class Daemon:
    """A daemon with a directory of its own. It ends, and the directory goes, with `close`."""

    def __init__(self, *queues: str, config: str = "") -> None:
        self.home = tempfile.mkdtemp(prefix="musher-")
        self.socket = os.path.join(self.home, "socket")
        self._kept = "".join(f'[queues.{queue}]\nkeep.done = "1h"\n' for queue in queues)
        self.configure(config)
        self._process: Optional[subprocess.Popen[str]] = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def configure(self, config: str) -> None:
        """Sets the configuration of the next start."""
        with open(os.path.join(self.home, "musher.toml"), "w") as file:
            file.write(_CONFIG + self._kept + config)

    def start(self) -> None:
        """Starts it, and waits until it says that it is ready."""
        program = os.environ.get("MUSHER") or shutil.which("musher")
        if not program:
            raise RuntimeError("name the program: MUSHER=/path/to/musher")
        config, data = (os.path.join(self.home, name) for name in ("musher.toml", "data"))
        with open(os.path.join(self.home, "log.txt"), "a") as log:
            self._process = subprocess.Popen(
                [program, "serve", "--config", config, "--data", data, "--socket", self.socket],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("musher is ready"):
                return
        raise AssertionError(f"the daemon ended:\n{self.log()}")

    def log(self) -> str:
        with open(os.path.join(self.home, "log.txt")) as log:
            return log.read()

    def kill(self) -> None:
        """SIGKILL, and waits for its end."""
        self._end(subprocess.Popen.kill)

    def stop(self) -> None:
        """SIGTERM, and waits for its end."""
        self._end(subprocess.Popen.terminate)

    def _end(self, how: Callable[[Any], None]) -> None:
        if self._process is not None:
            how(self._process)
            self._process.wait(DEADLINE)
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.home)

    def client(self, **options: Any) -> Client:
        return Client(self.socket, **options)


def state(client: Client, job: int) -> str:
    """A job's state; `gone` if nothing is known of it."""
    try:
        return str(client.show(job)["state"])
    except MusherError:
        return "gone"
