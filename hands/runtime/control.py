"""The control socket: how the operator's commands reach a running daemon, and how its answers come back.

Owns `control.sock` in the state directory: one JSON object per line, one answer per request, in order. May not
decide what a request means; the daemon gives a function for that. The one idea: whoever may open the socket is the
operator, so the socket is private to its user (0600, in a private directory) and never near the drop folder.

| request | answer, besides `ok` |
|---|---|
| `{"do": "status"}` | `status`: see `hands.runtime.status.status` |
| `{"do": "quote", "symbols": ["AAPL"]}` | `quotes`: see `hands.runtime.status.quotes` |
| `{"do": "watch", "symbols": ["AAPL"], "interval_s": 60, "have": {}}` | `watch`: see `hands.runtime.watching.watch` |
| `{"do": "view"}` | `view`: see `hands.runtime.status.view` |
| `{"do": "limits", "agent": null, "symbol": null}` | `limits`: see `hands.runtime.limits_table.limits_table` |
| `{"do": "check", "document": "<text>", "agent": "default"}` | `receipt` |
| `{"do": "envelope", "symbol": "AAPL", "agent": "default", "trigger": null, "stop": null}` | `envelope`: see `hands.runtime.envelope.envelope` |
| `{"do": "positions"}` | `positions`: see `hands.runtime.holdings.positions` |
| `{"do": "orders", "all": false}` | `orders`: see `hands.runtime.holdings.orders` |
| `{"do": "trades", "ids": ["..."]}` | `trades`: see `hands.runtime.status.trade`, those that are known |
| `{"do": "halt", "reason": "..."}` | `status` after it |
| `{"do": "resume", "agent": null}` | `status` after it |
| `{"do": "reduce_only", "reason": "..."}` | the act's answer, below |
| `{"do": "flatten", "symbol": null, "reason": "..."}` | the act's answer |
| `{"do": "cancel", "target": "<id or symbol>"}` | the act's answer |
| `{"do": "close", "target": "<id or symbol>", "qty": null}` | the act's answer |
| `{"do": "amend", "target": "<id or symbol>", "stop_loss": "149", "take_profit": null, "max_hold_seconds": null}` | the act's answer |
| `{"do": "adopt", "symbol": "AAPL", "stop_loss": "140", "take_profit": null}` | the act's answer |

An act's answer has the core's `message`, `intent_ids`, their `trades` and the trading `state`. Prices, quantities and
seconds are the text of a number; an id may be its first characters, six at least.

Where `ok` is false, `error` says why; `usage` is true beside it where what was asked for cannot be meant.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import secrets
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hands.venues.alpaca.standing import standing_task

SOCKET_NAME = "control.sock"

REQUEST_BYTES_MAX = 512 * 1024
"""A document of 64 KiB may become six times as long as a JSON string."""

ANSWER_BYTES_MAX = 16 * 1024 * 1024
CLIENTS_MAX = 32
CLOSE_WITHIN_S = 0.5
TURNS_TO_ACCEPT = 5
"""Turns of the loop within which a connection that was made is known to `_accept`; a server that is closed earlier
loses it half-way, and nobody closes it."""
ADDRESS_BYTES_MAX = 100
"""The kernel takes 107 bytes of address; a longer path is reached through its directory's descriptor."""

Request = dict[str, Any]
Answer = dict[str, Any]
Handle = Callable[[Request], Answer | Awaitable[Answer]]


class NoDaemon(Exception):  # noqa: N818  (says what is the case)
    """Nobody answers on the control socket; the message says what was found instead."""


class ControlError(Exception):
    """The control socket cannot be made: something that is not a socket stands in its place."""


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """Give an address for a socket at `path` that the kernel takes, however long the path is."""
    if len(os.fsencode(path)) <= ADDRESS_BYTES_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class ControlServer:
    """Answers requests on the socket at `path` with what `handle` returns, for several clients at once.

    Only one process may own `path`: the state directory's lock is taken before `start`.
    """

    def __init__(self, path: Path, handle: Handle) -> None:
        self.path = path
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self) -> None:
        """Bind and listen; what a dead process left at `path` is replaced.

        Raises:
            ControlError: something that is not a socket stands at `path`.
            OSError: the directory is not there or not ours.
        """
        listener = self._bind()
        self._server = await asyncio.start_unix_server(self._accept, sock=listener, limit=REQUEST_BYTES_MAX)

    def _bind(self) -> socket.socket:
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(self.path.lstat().st_mode):
                raise ControlError(f"{self.path} is in the way: it is not a socket; remove it")
        fresh = self.path.with_name(f".{SOCKET_NAME}.{secrets.token_hex(4)}")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.setblocking(False)
            with _address(fresh) as address:
                listener.bind(address)
            try:  # private before anybody can connect: nobody can until it listens
                fresh.chmod(0o600)
                self._inode = fresh.stat().st_ino
                fresh.rename(self.path)
            except OSError:
                fresh.unlink(missing_ok=True)
                raise
        except OSError:
            listener.close()
            raise
        return listener

    async def close(self) -> None:
        """Stop answering and remove the socket, if it is still this one."""
        if self._server is None:
            return
        with suppress(FileNotFoundError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
        for _ in range(TURNS_TO_ACCEPT):  # nobody new can find the socket now: let in who already has
            await asyncio.sleep(0)
        self._server.close()
        clients = dict(self._clients)
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        hung_up = asyncio.gather(*(each.wait_closed() for each in clients.values()), return_exceptions=True)
        try:
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await asyncio.shield(hung_up)
        except TimeoutError:  # a client that does not read its answer must not hold up the end
            for writer in clients.values():
                writer.transport.abort()
            await hung_up
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self._server.wait_closed()
        self._server = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begin to serve a client; what `handle` raises is a bug, and the loop's exception handler hears of it."""
        task = standing_task(self._serve(reader, writer), "the control socket")
        self._clients[task] = writer
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        """Hang up; here, because a task that is cancelled before its first step reaches no `finally` of its own."""
        self._clients.pop(task).close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if len(self._clients) > CLIENTS_MAX:
                writer.write(_line(_refusal(f"more than {CLIENTS_MAX} clients at once")))
                await writer.drain()
                return
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            return  # the client left, or the server stops

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                line = await reader.readline()
            except ValueError:  # the line does not end within the limit: where the next begins is not known
                writer.write(_line(_refusal(f"a request has at most {REQUEST_BYTES_MAX} bytes")))
                await writer.drain()
                return
            if not line.endswith(b"\n"):
                return
            request = _request(line)
            if isinstance(request, str):
                answer = _refusal(request)
            else:
                result = self._handle(request)
                answer = await result if inspect.isawaitable(result) else result
            writer.write(_line(answer))
            await writer.drain()


def _request(line: bytes) -> Request | str:
    """Return the request in a line, or what is wrong with it."""
    try:
        request = json.loads(line)
        json.dumps(request, ensure_ascii=False).encode()  # half a character can be written nowhere
    except (ValueError, RecursionError) as error:  # UnicodeEncodeError is a ValueError
        return f"not JSON: {error}"
    if not isinstance(request, dict) or not isinstance(request.get("do"), str):
        return 'a request is an object with "do": a string'
    return request


def _refusal(why: str) -> Answer:
    return {"ok": False, "error": why}


def _line(answer: Answer) -> bytes:
    return json.dumps(answer, separators=(",", ":")).encode() + b"\n"


# --- where the drop folder is ----------------------------------------------------------------------------------

_NOTE = "drop-folder"


def note_drop_folder(state_dir: Path, intents: Path) -> None:
    """Leave word in the state directory of where the drop folder is, so that `hands halt` finds it without an answer.

    Raises:
        OSError: it cannot be written.
    """
    part = state_dir / f".{_NOTE}.tmp"
    part.write_text(f"{intents.absolute()}\n", "utf-8")
    part.rename(state_dir / _NOTE)


def noted_drop_folder(state_dir: Path) -> Path | None:
    """Return the drop folder of the daemon that last ran on `state_dir`, None where no word of it was left."""
    try:
        text = (state_dir / _NOTE).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return Path(text) if text else None


# --- the client's side ---------------------------------------------------------------------------------------


def call(state_dir: Path, request: Request, timeout_s: float = 5.0) -> Answer:
    """Ask the daemon that owns `state_dir` one thing and return its answer.

    Raises:
        NoDaemon: no socket, nobody behind it, or no whole answer within `timeout_s` of its last sign of life.
    """
    path = (state_dir / SOCKET_NAME).absolute()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout_s)
        try:
            with _address(path) as address:
                client.connect(address)
            client.sendall(_line(request))
            return _answer(client)
        except (FileNotFoundError, NotADirectoryError):
            raise NoDaemon(f"no daemon runs on {state_dir} ({path.name} is not there)") from None
        except ConnectionError as error:
            raise NoDaemon(f"no daemon runs on {state_dir} ({error.strerror or error})") from error
        except TimeoutError:
            raise NoDaemon(f"the daemon on {state_dir} did not answer within {timeout_s:g} s") from None
        except OSError as error:
            raise NoDaemon(f"{path} cannot be reached: {error.strerror or error}") from error


def _answer(client: socket.socket) -> Answer:
    received = bytearray()
    while not received.endswith(b"\n"):
        chunk = client.recv(65_536)
        if not chunk:
            raise NoDaemon("the daemon closed the connection before it answered")
        received += chunk
        if len(received) > ANSWER_BYTES_MAX:
            raise NoDaemon(f"the daemon's answer is longer than {ANSWER_BYTES_MAX} bytes")
    try:
        answer = json.loads(received)
    except ValueError as error:
        raise NoDaemon(f"what answers on the control socket is not a daemon: {error}") from error
    if not isinstance(answer, dict):
        raise NoDaemon("what answers on the control socket is not a daemon")
    return answer
