"""A simulator for a test: started as a process or within this one, and a hand to move its market with.

Owns starting, stopping and the control calls, with nothing but the standard library. May not know the venue's rules:
a test talks to the venue through its own client, and to the simulator through `Sim`. The one idea: every option is
one of `hands sim`'s, under the same name.

    with running_sim(tape="manual", quirks={"stop_cancel_event": "sent"}) as sim:
        client = TradingClient(sim.key, sim.secret, url_override=sim.url)
        sim.quote("AAPL", 149.98, 150.00)
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import urlsplit

START_WITHIN_S: Final = 30.0
STOP_WITHIN_S: Final = 10.0
ENDING_WITHIN_S: Final = 5.0
ANSWER_WITHIN_S: Final = 30.0
MOVE_WITHIN_S: Final = 600.0
"""A long way of a manual clock may take its time: everything on the way happens."""

_NAMED: Final = frozenset({"quirks", "latency"})
"""The options that are tables: on the command line NAME=VALUE,..."""
_LISTED: Final = frozenset({"symbols"})


class SimError(Exception):
    """The simulator did not start, or refused a control; the message is its own."""


class Sim:
    """A running simulator: where it is, and its controls. Prices and sizes may be numbers or decimal text."""

    def __init__(
        self,
        url: str,
        key: str = "sim",
        secret: str = "sim",  # noqa: S107  the known defaults
        said: Callable[[], str] = str,
    ) -> None:
        self.url = url
        self.key = key
        self.secret = secret
        self._said = said

    def __repr__(self) -> str:
        return f"<Sim {self.url}>"

    @property
    def trade_stream_url(self) -> str:
        """Return the websocket of trade updates."""
        return self._ws("/stream")

    def market_stream_url(self, feed: str = "v2/iex") -> str:
        """Return the websocket of a feed: v2/iex, v2/sip, v2/test, v1beta3/crypto/us."""
        return self._ws(f"/{feed}")

    # --- the market ----------------------------------------------------------------------------------------

    def market(self, *rows: Mapping[str, Any]) -> dict[str, Any]:
        """Publish rows of POST /sim/v1/market, in order; of prints the answer tells the `trade_ids`."""
        answer: dict[str, Any] = self.control("POST", "market", list(rows))
        return answer

    def quote(
        self, symbol: str, bid: object, ask: object, bid_size: object = 1000, ask_size: object = 1000
    ) -> None:
        """Quote a symbol."""
        self.market({"symbol": symbol, "bid": bid, "ask": ask, "bid_size": bid_size, "ask_size": ask_size})

    def trade(self, symbol: str, price: object, size: object = 100) -> int:
        """Print a trade and return its id."""
        (trade_id,) = self.market({"symbol": symbol, "price": price, "size": size})["trade_ids"]
        return int(trade_id)

    # --- what goes wrong -----------------------------------------------------------------------------------

    def fault(self, on: str, do: str, **more: Any) -> None:
        """Install a fault: `fault("POST /v2/orders", "drop_response")`, `fault("trade_updates", "disconnect")`."""
        self.control("POST", "faults", [{"on": on, "do": do} | more])

    def faults(self) -> list[dict[str, Any]]:
        """Return what is installed and not yet used up."""
        answer: list[dict[str, Any]] = self.control("GET", "faults")
        return answer

    def clear_faults(self) -> None:
        """Forget every fault."""
        self.control("DELETE", "faults")

    # --- time ----------------------------------------------------------------------------------------------

    def now_ns(self) -> int:
        """Return the exchange's time."""
        return int(self.control("GET", "clock")["now_ns"])

    def advance(self, ms: float) -> int:
        """Move a manual clock on; what is due on the way has happened when it returns the new time."""
        answer = self.control("POST", "clock", {"advance_ms": ms}, within_s=MOVE_WITHIN_S)
        return int(answer["now_ns"])

    def advance_to(self, time: str) -> int:
        """Move a manual clock to an RFC 3339 time and return it."""
        return int(self.control("POST", "clock", {"to": time}, within_s=MOVE_WITHIN_S)["now_ns"])

    # --- the account and what there is to trade --------------------------------------------------------------

    def account(self, **flags: Any) -> None:
        """Change what the venue has decided about the account: `trading_blocked=True`, ..."""
        self.control("POST", "account", flags)

    def asset(self, symbol: str, **facts: Any) -> None:
        """Change an asset: `tradable=False`, `easy_to_borrow=False`, ..."""
        self.control("POST", "assets", [{"symbol": symbol} | facts])

    def split(self, symbol: str, new: int, old: int) -> None:
        """Split a stock: `split("AAPL", 4, 1)` makes four shares of each."""
        self.control("POST", "corporate-actions", {"symbol": symbol, "split": [new, old]})

    def rename(self, symbol: str, new_symbol: str) -> None:
        """Give a stock another symbol."""
        self.control("POST", "corporate-actions", {"symbol": symbol, "rename": new_symbol})

    # --- the truth -----------------------------------------------------------------------------------------

    def truth(self) -> dict[str, Any]:
        """Return everything that happened since the start or the last reset."""
        answer: dict[str, Any] = self.control("GET", "truth")
        return answer

    def truth_bytes(self) -> bytes:
        """Return the same as it was sent, to be compared with another run's."""
        return self.call("GET", "/sim/v1/truth", None, ANSWER_WITHIN_S)[1]

    def said(self) -> str:
        """Return what the process has written to stderr so far, and how it ended: nothing, if nothing is wrong."""
        return self._said()

    def reset(self, **options: Any) -> None:
        """Go back to the start: cash, fills, latency, multiplier, quirks, seed, session may be others from now on."""
        self.control("POST", "reset", options)

    def control(self, method: str, name: str, body: Any = None, within_s: float = ANSWER_WITHIN_S) -> Any:
        """Call /sim/v1/`name` and return its document. Raises `SimError`."""
        status, raw = self.call(method, f"/sim/v1/{name}", body, within_s)
        if status != http.HTTPStatus.OK:
            raise SimError(_complaint(status, raw))
        return json.loads(raw)

    def call(self, method: str, path: str, body: Any, within_s: float) -> tuple[int, bytes]:
        """Make a request on a connection of its own, with the account's keys; return (status, body)."""
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=within_s)
        headers = {"APCA-API-KEY-ID": self.key, "APCA-API-SECRET-KEY": self.secret}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _ws(self, path: str) -> str:
        return f"ws{self.url.removeprefix('http')}{path}"


def _complaint(status: int, raw: bytes) -> str:
    """Return why a control was refused: in its own words, or as it was answered where it has none."""
    try:
        return str(json.loads(raw)["message"])
    except (ValueError, LookupError, TypeError):
        return f"{status} {raw.decode(errors='replace')}"


def flags(options: Mapping[str, Any]) -> list[str]:
    """Return options as the command line of `hands sim` takes them."""
    words: list[str] = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if name in _NAMED:
            words += [flag, ",".join(f"{key}={choice}" for key, choice in value.items())]
        elif name in _LISTED and not isinstance(value, str):
            words += [flag, ",".join(value)]
        elif isinstance(value, bool):
            words += [flag] if value else []
        elif isinstance(value, Sequence) and not isinstance(value, str):
            words += [word for item in value for word in (flag, str(item))]
        else:
            words += [flag, str(value)]
    return words


@contextmanager
def running_sim(**options: Any) -> Iterator[Sim]:
    """Yield a simulator in a process of its own, on a manual tape unless `tape` says otherwise.

    Raises:
        SimError: it did not start; the message says everything that is wrong with the options.
    """
    options = {"tape": "manual"} | options
    key, secret = options.pop("key", "sim"), options.pop("secret", "sim")
    environment = os.environ | {"SIM_KEY": key, "SIM_SECRET": secret}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603  our own command
            [sys.executable, "-m", "hands", "sim", *flags(options)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
        )
        assert process.stdout is not None
        try:
            with process.stdout as stdout:
                # A simulator that never becomes ready is ended, which ends the wait for its line.
                overdue = threading.Timer(START_WITHIN_S, process.kill)
                overdue.start()
                line = stdout.readline()
                overdue.cancel()

                def written() -> str:
                    # From its place: the process writes where the file it shares with us stands.
                    return os.pread(log.fileno(), os.fstat(log.fileno()).st_size, 0).decode(errors="replace")

                def said() -> str:
                    code = process.poll()
                    return (
                        written() if code is None else f"{written()}hands sim has ended: exit code {code}\n"
                    )

                if not line:
                    process.wait(STOP_WITHIN_S)
                    raise SimError(written().strip() or "it said nothing")
                try:
                    yield Sim(json.loads(line)["url"], key, secret, said)
                finally:
                    complaint = sys.exception()
                    if isinstance(complaint, OSError):  # maybe it is just ending, and has not said why yet
                        with suppress(subprocess.TimeoutExpired):
                            process.wait(ENDING_WITHIN_S)
                    if complaint is not None and process.poll() is not None:
                        complaint.add_note(said())  # what the test complains of may be only what this led to
        finally:
            _end(process)


@contextmanager
def in_process_sim(**options: Any) -> Iterator[Sim]:
    """Yield a simulator in a thread of this process with an event loop of its own, otherwise as `running_sim`.

    Raises:
        SimError: as `running_sim`.
    """
    import asyncio

    from hands.sim.server.app import serve
    from hands.sim.server.config import ConfigError, SimConfig

    plain = {
        name: value.split(",") if name in _LISTED and isinstance(value, str) else value
        for name, value in options.items()
    }
    try:
        config = SimConfig.of({"tape": "manual"} | plain)
    except ConfigError as error:
        raise SimError("\n".join(error.problems)) from error
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    urls: list[str] = []
    failures: list[BaseException] = []

    def say_ready(url: str) -> None:
        urls.append(url)
        ready.set()

    server = loop.create_task(serve(config, say_ready))

    def run() -> None:
        try:
            loop.run_until_complete(asyncio.wait({server}))
            if not server.cancelled() and (error := server.exception()) is not None:
                failures.append(error)
        finally:
            loop.close()
            ready.set()

    thread = threading.Thread(target=run, name="hands sim", daemon=True)
    thread.start()
    ready.wait(START_WITHIN_S)
    try:
        if not urls:
            raise SimError(str(failures[0]) if failures else "it did not become ready") from next(
                iter(failures), None
            )
        yield Sim(urls[0], config.key, config.secret)
    finally:
        complaint = sys.exception()
        if isinstance(complaint, OSError):  # maybe it is just ending
            thread.join(ENDING_WITHIN_S)
        if thread.is_alive():
            loop.call_soon_threadsafe(server.cancel)
            thread.join(STOP_WITHIN_S)
        if urls and failures and complaint is not None:
            complaint.add_note(f"hands sim has ended: {failures[0]!r}")
    if failures:
        raise failures[0]  # it was running, and then it was not: a defect of its own


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a process orderly, at last by force."""
    process.terminate()
    try:
        process.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
