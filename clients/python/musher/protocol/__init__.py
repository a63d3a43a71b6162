"""The native protocol, version 2, without any socket: bytes in and out. Plain and asyncio clients share it."""
