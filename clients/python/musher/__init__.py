"""A client for Musher, a persistent job queue: submit jobs, work on them, ask about them.

`Client` and `Worker` are plain, `AsyncClient` and `AsyncWorker` are for asyncio.
"""

from __future__ import annotations

from .aclient import AsyncClient
from .aworker import AsyncWorker
from .client import Client
from .errors import (
    ConnectError,
    Disconnected,
    ErrorCode,
    LeaseLost,
    MusherError,
    NoAnswer,
    ProtocolError,
    Refused,
    RequestTooLarge,
    Untold,
)
from .job import AsyncJob, Job
from .model import (
    After,
    Backoff,
    Change,
    ClaimedJob,
    Lease,
    LeaseFault,
    Limits,
    NewJob,
    Output,
    Receipt,
    Receipts,
    Revoked,
    Stopping,
    Unique,
)
from .outcome import Fail, Later, Reason, Until
from .paths import find_socket
from .verdict import Verdict
from .worker import Worker

__version__ = "0.1.0"

__all__ = [
    "After",
    "AsyncClient",
    "AsyncJob",
    "AsyncWorker",
    "Backoff",
    "Change",
    "ClaimedJob",
    "Client",
    "ConnectError",
    "Disconnected",
    "ErrorCode",
    "Fail",
    "Job",
    "Later",
    "Lease",
    "LeaseFault",
    "LeaseLost",
    "Limits",
    "MusherError",
    "NewJob",
    "NoAnswer",
    "Output",
    "ProtocolError",
    "Reason",
    "Receipt",
    "Receipts",
    "Refused",
    "RequestTooLarge",
    "Revoked",
    "Stopping",
    "Unique",
    "Until",
    "Untold",
    "Verdict",
    "Worker",
    "find_socket",
]
