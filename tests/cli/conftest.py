"""What the command-line tests share: running commands in this process, and a daemon that is only a control socket."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hands.cli.main import app
from hands.cli.schemas import receipt_schema
from hands.runtime.control import SOCKET_NAME, ControlServer


@dataclass
class FakeDaemon:
    """A control socket in a thread: answers from `answers` by request, and keeps what it was asked."""

    state_dir: Path
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)

    def quotes(self, **changes: Any) -> dict[str, Any]:
        """From now on answer with a quote of AAPL; return it."""
        quote = {
            "symbol": "AAPL", "known": True, "bid": "149.98", "ask": "150.00", "last": "149.99", "age_ms": 3.0,
            "indicators": {},
        } | changes  # fmt: skip
        self.answers["quote"] = {"ok": True, "quotes": [quote]}
        return quote

    def states(self, do: str, state: str = "ACTIVE", *codes: str, **changes: Any) -> dict[str, Any]:
        """From now on answer the request `do` with a status; return it."""
        reasons = [
            {
                "code": code,
                "state": state,
                "since": "2026-11-20T15:00:00Z",
                "clears": "operator",
                "detail": "a test",
            }
            for code in codes
        ]
        status = {
            "state": state, "venue": "sim", "ready": True, "not_ready": None, "reasons": reasons, "links": {},
            "trades": [], "account": None, "day": None, "dry_run": False, "intents": None,
        } | changes  # fmt: skip
        self.answers[do] = {"ok": True, "status": status}
        return status

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(request)
        return self.answers.get(request["do"], {"ok": False, "error": f"not answered: {request['do']}"})


@contextmanager
def _answering(state_dir: Path, handle: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[None]:
    """Answer with `handle` on the control socket of `state_dir`, in a thread, until the block ends."""
    loop = asyncio.new_event_loop()
    server = ControlServer(state_dir / SOCKET_NAME, handle)
    loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


@pytest.fixture
def daemon(state_dir: Path) -> Iterator[FakeDaemon]:
    fake = FakeDaemon(state_dir)
    with _answering(state_dir, fake.handle):
        yield fake


@pytest.fixture
def serve(state_dir: Path) -> Callable[..., AbstractContextManager[None]]:
    """Answer on the control socket with a function, for as long as a block runs."""
    return partial(_answering, state_dir)


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """The one JSON document that is all of stdout."""
        return json.loads(self.stdout)


@pytest.fixture
def hands() -> Callable[..., Outcome]:
    """Run a command in this process."""

    def run(*arguments: object) -> Outcome:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return run


def _faults(schema: dict[str, Any], value: Any, where: str = "receipt") -> list[str]:
    """Return where `value` breaks `schema`: as much of JSON Schema as the receipt's uses."""
    kinds = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "integer": int,
        "number": int | float,
    }
    wanted = schema.get("type", [])
    wanted = [wanted] if isinstance(wanted, str) else wanted
    if value is None:
        return [] if "null" in wanted or not wanted else [f"{where} is null"]
    if wanted and not any(isinstance(value, kinds[kind]) for kind in wanted if kind != "null"):
        return [f"{where} is {value!r}"]
    faults = [f"{where}: {value!r}"] if "enum" in schema and value not in schema["enum"] else []
    if isinstance(value, dict):
        faults += [f"{where}.{name} is missing" for name in schema.get("required", ()) if name not in value]
        for name, part in schema.get("properties", {}).items():
            faults += _faults(part, value.get(name), f"{where}.{name}") if name in value else []
        faults += [
            f"{where}.{n} is not described"
            for n in value
            if "properties" in schema and n not in schema["properties"]
        ]
    if isinstance(value, list):
        faults += [fault for part in value for fault in _faults(schema["items"], part, f"{where}[]")]
    return faults


@pytest.fixture
def receipt_faults() -> Callable[[Any], list[str]]:
    """Say where a receipt is not what `hands schema receipt` says."""
    return lambda receipt: _faults(receipt_schema(), receipt)


@pytest.fixture(autouse=True)
def _in_the_tree(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default configuration and limits are found relative to the tree."""
    monkeypatch.chdir(root)
