"""The demo's two children: the simulator and the daemon, real processes on real sockets.

Owns their start, their ready lines, their logs and their end. Ends only what it started, by its own handle, and
leaves nothing behind: also not on Ctrl-C or failure.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

STOP_WITHIN_S = 7.0
TAIL_LINES = 15


class ChildFailed(Exception):  # noqa: N818  (says what is the case)
    """A child ended, or did not become ready; the message ends with the tail of its log."""


class Child:
    """One `hands` command as a process of its own; its stderr goes to `<folder>/<name>.log`."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._process: asyncio.subprocess.Process | None = None
        self._drain: asyncio.Task[bytes] | None = None

    async def start(self, arguments: Sequence[str]) -> dict[str, Any]:
        """Start `hands <arguments>` and return its ready line. Raises ChildFailed."""
        environ = {key: value for key, value in os.environ.items() if not key.startswith("APCA_")}
        environ |= {"APCA_API_KEY_ID": "sim", "APCA_API_SECRET_KEY": "sim"}
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "hands", *arguments,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=log,
                env=environ, start_new_session=True,
            )  # fmt: skip
        stdout = self._process.stdout
        assert stdout is not None
        line = await stdout.readline()
        if not line:
            code = await self._process.wait()
            raise ChildFailed(f"{self.name} ended with exit code {code} before it was ready\n{self.tail()}")
        self._drain = asyncio.create_task(stdout.read())
        ready = json.loads(line)
        if not isinstance(ready, dict) or ready.get("event") != "ready":
            raise ChildFailed(f"{self.name} said {line!r} instead of being ready\n{self.tail()}")
        return ready

    async def ended(self) -> None:
        """Wait for it to end, which it should not do by itself. Raises ChildFailed."""
        assert self._process is not None
        code = await self._process.wait()
        raise ChildFailed(f"{self.name} ended with exit code {code} in the middle of the demo\n{self.tail()}")

    async def stop(self) -> int | None:
        """Stop it orderly, at last by force; return its exit code, None if it never ran."""
        process = self._process
        if process is None:
            return None
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_WITHIN_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._drain is not None:
            await self._drain
        return process.returncode

    def tail(self) -> str:
        """Return the last lines of its log."""
        lines = self.log.read_text("utf-8", "replace").splitlines() if self.log.exists() else []
        return "\n".join(f"  {self.name}| {line}" for line in lines[-TAIL_LINES:])
