"""The control socket over a real socket: answers, garbage, size, stale files, long paths, several clients."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hands.runtime import control
from hands.runtime.control import SOCKET_NAME, ControlError, ControlServer, NoDaemon, call


def echo(request: dict[str, Any]) -> dict[str, Any]:
    return {"ok": True, "echo": request}


def served(path: Path, talk: Callable[[], Awaitable[None]], handle: control.Handle = echo) -> None:
    """Run `talk` while a server answers at `path`."""

    async def session() -> None:
        server = ControlServer(path, handle)
        await server.start()
        try:
            async with asyncio.timeout(10):
                await talk()
        finally:
            await server.close()

    asyncio.run(session())


def test_a_request_is_answered(state_dir: Path) -> None:
    async def talk() -> None:
        answer = await asyncio.to_thread(call, state_dir, {"do": "status"})
        assert answer == {"ok": True, "echo": {"do": "status"}}

    served(state_dir / SOCKET_NAME, talk)


def test_an_asynchronous_handler_is_awaited(state_dir: Path) -> None:
    async def later(request: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"ok": True, "did": request["do"]}

    async def talk() -> None:
        assert (await asyncio.to_thread(call, state_dir, {"do": "halt"}))["did"] == "halt"

    served(state_dir / SOCKET_NAME, talk, later)


def test_the_socket_is_private_and_gone_afterwards(state_dir: Path) -> None:
    path = state_dir / SOCKET_NAME

    async def talk() -> None:
        found = path.stat().st_mode
        assert stat.S_ISSOCK(found)
        assert stat.S_IMODE(found) == 0o600

    served(path, talk)
    assert list(state_dir.iterdir()) == []


def test_a_stale_socket_is_replaced(state_dir: Path) -> None:
    path = state_dir / SOCKET_NAME
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(NoDaemon):
        call(state_dir, {"do": "status"})

    async def talk() -> None:
        assert (await asyncio.to_thread(call, state_dir, {"do": "status"}))["ok"]

    served(path, talk)


def test_what_is_not_a_socket_is_left_alone(state_dir: Path) -> None:
    path = state_dir / SOCKET_NAME
    path.write_text("mine")

    async def talk() -> None:
        raise AssertionError("never served")

    with pytest.raises(ControlError, match="not a socket"):
        served(path, talk)
    assert path.read_text() == "mine"


def test_a_path_too_long_for_the_kernel_works(tmp_path: Path) -> None:
    folder = tmp_path / ("long-" * 12) / ("name-" * 12)
    folder.mkdir(parents=True)
    assert len(os.fsencode(folder / SOCKET_NAME)) > 108

    async def talk() -> None:
        assert (await asyncio.to_thread(call, folder, {"do": "status"}))["ok"]

    served(folder / SOCKET_NAME, talk)
    assert list(folder.iterdir()) == []


async def _say(path: Path, *lines: bytes) -> list[dict[str, Any]]:
    """Write lines over one connection, return one answer for each (or until the server hangs up)."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    answers = []
    for line in lines:
        writer.write(line)
        await writer.drain()
        answer = await reader.readline()
        if not answer:
            break
        answers.append(json.loads(answer))
    writer.close()
    return answers


@pytest.mark.parametrize(
    "garbage", [b"\n", b"{\n", b"\xff\xfe\n", b"[1]\n", b'{"do": 7}\n', b"{}\n", b"[" * 5000 + b"\n"]
)
def test_garbage_is_answered_and_the_connection_goes_on(state_dir: Path, garbage: bytes) -> None:
    async def talk() -> None:
        first, second = await _say(state_dir / SOCKET_NAME, garbage, b'{"do": "status"}\n')
        assert first["ok"] is False
        assert first["error"]
        assert second["ok"] is True

    served(state_dir / SOCKET_NAME, talk)


def test_an_oversized_request_ends_its_connection_only(state_dir: Path) -> None:
    async def talk() -> None:
        reader, writer = await asyncio.open_unix_connection(str(state_dir / SOCKET_NAME))
        writer.write(b'{"do": "' + b"x" * control.REQUEST_BYTES_MAX)
        answer = json.loads(await reader.readline())
        assert answer["ok"] is False
        assert str(control.REQUEST_BYTES_MAX) in answer["error"]
        writer.close()
        assert (await asyncio.to_thread(call, state_dir, {"do": "status"}))["ok"]

    served(state_dir / SOCKET_NAME, talk)


def test_a_large_document_passes(state_dir: Path) -> None:
    request = {"do": "check", "document": "\x01" * 64 * 1024}

    async def talk() -> None:
        assert (await asyncio.to_thread(call, state_dir, request))["echo"] == request

    served(state_dir / SOCKET_NAME, talk)


def test_two_clients_are_served_at_once(state_dir: Path) -> None:
    path = state_dir / SOCKET_NAME

    async def talk() -> None:
        idle_reader, idle = await asyncio.open_unix_connection(str(path))
        assert (await _say(path, b'{"do": "a"}\n', b'{"do": "b"}\n'))[1]["echo"] == {"do": "b"}
        idle.write(b'{"do": "c"}\n')
        assert json.loads(await idle_reader.readline())["echo"] == {"do": "c"}
        idle.close()

    served(path, talk)


def test_one_client_too_many_is_told_so(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "CLIENTS_MAX", 1)
    path = state_dir / SOCKET_NAME

    async def talk() -> None:
        reader, first = await asyncio.open_unix_connection(str(path))
        first.write(b'{"do": "a"}\n')
        await reader.readline()
        [refused] = await _say(path, b'{"do": "b"}\n')
        assert "clients" in refused["error"]
        first.close()

    served(path, talk)


def test_a_client_that_leaves_hurts_nobody(state_dir: Path) -> None:
    async def talk() -> None:
        _, writer = await asyncio.open_unix_connection(str(state_dir / SOCKET_NAME))
        writer.write(b'{"do": "unfinished')
        writer.close()
        assert (await asyncio.to_thread(call, state_dir, {"do": "status"}))["ok"]

    served(state_dir / SOCKET_NAME, talk)


def test_no_socket_is_no_daemon(state_dir: Path, tmp_path: Path) -> None:
    for folder in (state_dir, tmp_path / "absent"):
        with pytest.raises(NoDaemon, match="no daemon runs"):
            call(folder, {"do": "status"})


def test_a_wedged_daemon_is_no_daemon(state_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX) as wedged:
        wedged.bind(str(state_dir / SOCKET_NAME))
        wedged.listen()
        with pytest.raises(NoDaemon, match="did not answer"):
            call(state_dir, {"do": "status"}, timeout_s=0.05)


def test_closing_lets_waiting_clients_go(state_dir: Path) -> None:
    async def session() -> None:
        server = ControlServer(state_dir / SOCKET_NAME, echo)
        await server.start()
        reader, writer = await asyncio.open_unix_connection(str(state_dir / SOCKET_NAME))
        writer.write(b'{"do": "a"}\n')
        await reader.readline()
        async with asyncio.timeout(5):
            await server.close()
            assert await reader.read() == b""
        writer.close()

    asyncio.run(session())


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("turns", range(8))
def test_a_client_that_arrives_as_the_server_closes_is_hung_up_on(state_dir: Path, turns: int) -> None:
    async def session() -> None:
        server = ControlServer(state_dir / SOCKET_NAME, lambda request: {"ok": True})
        await server.start()
        client.connect(str(state_dir / SOCKET_NAME))
        for _ in range(turns):
            await asyncio.sleep(0)
        await server.close()

    with socket.socket(socket.AF_UNIX) as client:
        asyncio.run(session())
        gc.collect()  # a connection left open is warned of here, and the warning is an error
        client.settimeout(5)
        with suppress(ConnectionError):
            assert client.recv(1) == b""


def test_word_of_the_drop_folder_is_left_and_found(state_dir: Path, tmp_path: Path) -> None:
    assert control.noted_drop_folder(state_dir) is None
    control.note_drop_folder(state_dir, tmp_path / "intents")
    assert control.noted_drop_folder(state_dir) == tmp_path / "intents"
    assert [path.name for path in state_dir.iterdir()] == ["drop-folder"]


def test_a_bug_in_the_handler_reaches_the_loop_and_the_client_is_let_go(state_dir: Path) -> None:
    heard: list[dict[str, Any]] = []

    def fail(request: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError(f"our own bug in {request['do']}")

    async def talk() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
        with pytest.raises(NoDaemon, match="closed the connection"):
            await asyncio.to_thread(call, state_dir, {"do": "status"})

    served(state_dir / SOCKET_NAME, talk, fail)
    assert [str(context["exception"]) for context in heard] == ["our own bug in status"]


def test_a_request_with_half_a_character_is_refused_and_never_reaches_the_engine(tmp_path):
    handled = []

    async def scenario() -> dict:
        server = ControlServer(
            tmp_path / "control.sock", lambda request: handled.append(request) or {"ok": True}
        )
        await server.start()
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "control.sock"))
        writer.write(b'{"do": "halt", "reason": "\\ud800"}\n')
        answer = json.loads(await reader.readline())
        writer.close()
        await server.close()
        return answer

    answer = asyncio.run(scenario())
    assert not answer["ok"]
    assert handled == []
