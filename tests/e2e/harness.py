"""Real processes for tests: the simulator and the daemon as they are shipped, on loopback, and a Brain's hand.

Owns starting, killing and stopping them, moving the market, dropping documents, and waiting for what follows. The
one idea: nothing here sleeps for luck. Whatever is awaited is a condition with a deadline (`until`), and a deadline
that passes says what was seen last. All folders of a test lie under its `tmp_path`.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, TypeVar

from hands.core.orders import parse_client_order_id
from hands.core.units import nano
from hands.core.venue_rules import Shape, amount_of, illegal
from hands.core.vocab import AssetClass, Leg, OrderClass, OrderType, PositionIntent, TimeInForce
from hands.runtime.control import NoDaemon, call
from hands.sim.testing import flags
from tests.rig.proof import record_wrongs

ROOT = Path(__file__).resolve().parents[2]
HANDS = (sys.executable, "-m", "hands")
WITHIN_S = 10.0
STARTS_WITHIN_S = 90.0
"""The first start in a fresh clone compiles the market's code: half a minute of a processor that others use too. What
ends meanwhile is noticed at once."""

POLL_S = 0.005

T = TypeVar("T")

MARKET: tuple[dict[str, Any], ...] = (
    {"symbol": "AAPL", "bid": 149.98, "ask": 150.00, "bid_size": 500, "ask_size": 500},
    {"symbol": "SPY", "bid": 599.98, "ask": 600.02, "bid_size": 500, "ask_size": 500},
    {"symbol": "SOL/USD", "bid": 149.95, "ask": 150.00, "bid_size": 500, "ask_size": 500},
    {"symbol": "BTC/USD", "bid": 99990, "ask": 100010, "bid_size": 5, "ask_size": 5},
)
"""The market in which the contract's example passes."""

IDEAS: dict[str, dict[str, float]] = {
    "AAPL": {"trigger_price": 150, "stop_loss": 148, "take_profit": 155},
    "SPY": {"trigger_price": 600, "stop_loss": 590, "take_profit": 620},
    "SOL/USD": {"trigger_price": 150, "stop_loss": 145, "take_profit": 165},
    "BTC/USD": {"trigger_price": 100000, "stop_loss": 97000, "take_profit": 110000},
}
"""A good idea for each symbol in that market: passes every check, fees and stop-limit offset included."""

OVER = frozenset({"CLOSED", "EXPIRED", "CANCELED", "VENUE_REJECTED", "REJECTED", "REFUSED", "DONE", "DRAFT"})


def until(what: str, look: Callable[[], T | None], within_s: float = WITHIN_S) -> T:
    """Return the first true thing that `look` sees; fail after `within_s`, saying what it saw last."""
    deadline = time.monotonic() + within_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within_s:g} s")
        time.sleep(POLL_S)


def environment(**extra: str) -> dict[str, str]:
    """Return this process's environment without anybody's credentials, and with `extra`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("APCA_")}
    return kept | {"PYTHONUNBUFFERED": "1"} | extra


class Process:
    """One process of ours; its stderr goes to a file, its first line on stdout says that it is ready."""

    def __init__(self, name: str, command: tuple[str, ...], log: Path, env: dict[str, str]) -> None:
        self.name = name
        self.log = log
        self._stdout = log.with_suffix(".out")
        self._files: list[IO[bytes]] = [self._stdout.open("wb"), log.open("ab")]
        out, err = self._files
        self.popen = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env, cwd=ROOT
        )

    def ready(self, within_s: float = STARTS_WITHIN_S) -> dict[str, Any]:
        """Return the ready line."""

        def look() -> str | None:
            text = self._stdout.read_text()
            if "\n" not in text and self.popen.poll() is not None:
                raise AssertionError(
                    f"{self.name} ended with {self.popen.returncode}:\n{self.log.read_text()}"
                )
            return text.splitlines()[0] if "\n" in text else None

        try:
            return json.loads(until(f"{self.name}'s ready line", look, within_s))
        except AssertionError:
            self.end(signal.SIGKILL)  # nobody else will: who asked for it never gets it
            raise

    @property
    def said(self) -> str:
        """Everything it wrote so far, stdout and stderr."""
        return self._stdout.read_text() + self.log.read_text()

    @property
    def is_running(self) -> bool:
        return self.popen.poll() is None

    def end(self, number: signal.Signals = signal.SIGTERM, within_s: float = 10.0) -> int:
        """Send a signal, if it still runs, and return the exit code."""
        if self.popen.poll() is None:
            with suppress(ProcessLookupError):
                self.popen.send_signal(signal.SIGCONT)
                self.popen.send_signal(number)
        try:
            return self.popen.wait(within_s)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise AssertionError(f"{self.name} did not end within {within_s:g} s of {number.name}") from None
        finally:
            for file in self._files:
                file.close()


class Exchange:
    """A simulator, on a manual tape unless `options`, which are those of `hands sim`, say otherwise."""

    def __init__(self, folder: Path, **options: Any) -> None:
        options = {"tape": ["manual"], "fills": "realistic"} | options
        key, self.secret = options.pop("key", "sim"), options.pop("secret", "sim")
        self.is_manual = options["tape"] == ["manual"]
        command = (*HANDS, "sim", *flags(options))
        env = environment(SIM_KEY=key, SIM_SECRET=self.secret)
        self.process = Process("exchange", command, folder / "exchange.log", env)
        self.url = str(self.process.ready()["url"])

    def reset(self) -> None:
        """Go back to the start, for the next floor."""
        request = urllib.request.Request(f"{self.url}/sim/v1/reset", data=b"", method="POST")
        with urllib.request.urlopen(request, timeout=WITHIN_S):
            pass


class Floor:
    """An exchange, a daemon and a drop folder."""

    def __init__(self, folder: Path, exchange: Exchange) -> None:
        self.folder = folder
        self.exchange = exchange
        self.url = exchange.url
        self.intents = folder / "intents"
        self.state = folder / "var"
        self.limits = folder / "risk_limits.toml"
        self.limits.write_text((ROOT / "config" / "risk_limits.toml").read_text())
        self.config = folder / "hands.toml"
        self.config.write_text((ROOT / "config" / "hands.toml").read_text())
        self.processes: list[Process] = []
        self.daemon: Process | None = None
        if exchange.is_manual:
            self.market(*MARKET)

    # --- processes -----------------------------------------------------------------------------------------

    def start(self, name: str, command: tuple[str, ...], **env: str) -> Process:
        """Start a process whose log belongs to this test."""
        log = self.folder / f"{name}-{len(self.processes)}.log"
        process = Process(name, command, log, environment(**env))
        self.processes.append(process)
        return process

    def command(self, *more: str, url: str | None = None) -> tuple[str, ...]:
        """Return the command that runs the daemon on this floor."""
        files = ("--config", str(self.config), "--limits", str(self.limits))
        folders = ("--intents", str(self.intents), "--state", str(self.state))
        return (*HANDS, "run", "--json", "--alpaca-url", url or self.url, *files, *folders, *more)

    def launch(self, *more: str, **env: str) -> Process:
        """Start the daemon without waiting for it."""
        self.daemon = self.start("daemon", self.command(*more), **env)
        return self.daemon

    def open(self, *more: str, **env: str) -> Floor:
        """Start the daemon and wait until it trades on the market of now."""
        self.launch(*more, **env).ready()
        self.republish()
        return self

    def republish(self) -> None:
        """Send the market's quotes again, for a daemon that has just subscribed, and wait until it has them."""
        self.market(*MARKET)
        self.seen(MARKET[-1])

    def kill(self) -> None:
        """kill -9 the daemon."""
        assert self.daemon is not None
        self.daemon.end(signal.SIGKILL)

    def stop(self, within_s: float = 10.0) -> int:
        """SIGTERM the daemon; return its exit code."""
        assert self.daemon is not None
        return self.daemon.end(signal.SIGTERM, within_s)

    def close(self) -> None:
        """End everything that still runs, but the exchange, which may be shared."""
        with ExitStack() as endings:  # each is ended, whatever another one's end has to say
            for process in self.processes:
                endings.callback(process.end)

    # --- the exchange --------------------------------------------------------------------------------------

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Make a request at the exchange with the account's keys, as the owner or a control; return (status, JSON)."""
        headers = {"content-type": "application/json"}
        headers |= {"APCA-API-KEY-ID": "sim", "APCA-API-SECRET-KEY": self.exchange.secret}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=WITHIN_S) as response:
                status, raw = response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                status, raw = error.code, error.read()
        return status, json.loads(raw) if raw else None

    def _control(self, path: str, body: Any) -> None:
        status, answer = self.request("POST", f"/sim/v1/{path}", body)
        assert status == 200, answer

    def market(self, *rows: dict[str, Any]) -> None:
        """Publish quotes and trades, in order."""
        self._control("market", list(rows))

    def move(
        self, symbol: str, bid: float, ask: float, size: float = 500, *, print_at: float | None = None
    ) -> None:
        """Quote a symbol and, where `print_at` says so, trade it."""
        rows = [{"symbol": symbol, "bid": bid, "ask": ask, "bid_size": size, "ask_size": size}]
        if print_at is not None:
            rows.append({"symbol": symbol, "price": print_at, "size": 100})
        self.market(*rows)

    def seen(self, quote: dict[str, Any]) -> None:
        """Wait until the daemon's quote of a symbol is `quote`."""

        def look() -> bool:
            found = self.ask(do="quote", symbols=[quote["symbol"]])["quotes"][0]
            return found["bid"] is not None and Decimal(found["bid"]) == Decimal(str(quote["bid"]))

        until(f"the daemon's quote {quote}", look)

    def faults(self, *rows: dict[str, Any]) -> None:
        self._control("faults", list(rows))

    def truth(self) -> dict[str, Any]:
        status, answer = self.request("GET", "/sim/v1/truth")
        assert status == 200
        return answer

    def orders(self, **where: str) -> list[dict[str, Any]]:
        """Return the exchange's orders, oldest first, whose fields are as `where` says."""
        found = self.truth()["orders"]
        return [order for order in found if all(order[name] == value for name, value in where.items())]

    def entries(self, symbol: str | None = None) -> list[dict[str, Any]]:
        """Return every entry order of ours the exchange ever took."""
        ours = [o for o in self.orders() if o["client_order_id"].endswith("-entry-1")]
        return [o for o in ours if symbol in (None, o["symbol"])]

    def held(self, symbol: str) -> Decimal:
        """Return the account's position."""
        return sum(
            (Decimal(p["qty"]) for p in self.truth()["positions"] if _same(p["symbol"], symbol)), Decimal()
        )

    def stops(self, symbol: str) -> Decimal:
        """Return what live, released or bracket-held stops at the exchange would sell of a symbol."""
        live = {"new", "accepted", "partially_filled", "held"}
        return sum(
            (
                Decimal(o["qty"]) - Decimal(o["filled_qty"])
                for o in self.orders()
                if o["stop_price"] is not None and o["status"] in live and _same(o["symbol"], symbol)
            ),
            Decimal(),
        )

    def naked_max_ms(self, symbol: str) -> float:
        """Return the longest time a position was without a stop."""
        watch = self.truth()["naked"].get(symbol)
        return 0.0 if watch is None else watch["naked_max_ns"] / 1e6

    # --- the drop folder -----------------------------------------------------------------------------------

    def document(self, asset: str = "AAPL", **changes: Any) -> dict[str, Any]:
        """Return a good intent, changed as asked; a change to None leaves a key out."""
        document = {
            "intent_id": str(uuid.uuid4()),
            "asset": asset,
            "direction": "LONG",
            "confidence": 0.8,
            "strategy_ref": "e2e",
            "timestamp": stamp(),
            "ttl_seconds": 10,
        }
        document |= IDEAS.get(asset, IDEAS["AAPL"]) | changes
        return {name: value for name, value in document.items() if value is not None}

    def drop(self, asset: str = "AAPL", **changes: Any) -> str:
        """Drop an intent, whole or not at all, and return its id."""
        document = self.document(asset, **changes)
        self.drop_bytes(json.dumps(document).encode(), f"{document['intent_id']}.json")
        return document["intent_id"]

    def drop_bytes(self, data: bytes, name: str, *, folder: Path | None = None) -> None:
        """Put bytes into the drop folder under `name` by a rename."""
        folder = folder or self.intents
        unfinished = folder / f".{name}.tmp"
        unfinished.write_bytes(data)
        unfinished.rename(folder / name)

    def receipt(self, intent_id: str) -> dict[str, Any] | None:
        """Return the current receipt, None where there is none."""
        try:
            return json.loads((self.intents / "receipts" / f"{intent_id}.json").read_text())
        except FileNotFoundError:
            return None

    def expect(
        self,
        intent_id: str,
        state: str | None = None,
        *,
        code: str | None = None,
        where: Callable[[dict[str, Any]], Any] = lambda _: True,
        within_s: float = WITHIN_S,
    ) -> dict[str, Any]:
        """Wait for a receipt in `state` (and with `code`) for which `where` holds, and return it."""
        last: dict[str, Any] | None = None
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            last = self.receipt(intent_id)
            if last is not None:
                fits = state in (None, last["state"]) and code in (None, last["code"])
                if fits and where(last):
                    return last
                if last["state"] in OVER and state is not None and last["state"] != state:
                    break  # it will never come
            time.sleep(POLL_S)
        shown = (
            None if last is None else {name: last[name] for name in last if name not in ("checks", "sizing")}
        )
        raise AssertionError(f"waited for {state} {code or ''}; the last receipt is {json.dumps(shown)}")

    def protected(self, intent_id: str) -> dict[str, Any]:
        """Wait until a trade is open with a stop for all of it; return its receipt."""
        return self.expect(intent_id, "OPEN", where=_is_covered)

    # --- what the daemon knows -----------------------------------------------------------------------------

    def ask(self, **request: Any) -> dict[str, Any]:
        """Ask the daemon over its control socket."""
        answer = call(self.state, request)
        assert answer["ok"], answer
        return answer

    def status(self) -> dict[str, Any]:
        return self.ask(do="status")["status"]

    def is_answering(self) -> bool:
        try:
            self.status()
        except NoDaemon:
            return False
        return True

    def hands(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the command line against this floor's state directory."""
        command = (*HANDS, *arguments, "--state", str(self.state))
        return subprocess.run(
            command, capture_output=True, text=True, timeout=30, env=environment(), cwd=ROOT, check=False
        )

    def rows(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """Ask the ledger."""
        with closing(sqlite3.connect(f"{(self.state / 'hands.db').as_uri()}?mode=ro", uri=True)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(sql, values)]

    def episode(self, intent_id: str) -> dict[str, Any]:
        """Wait for a finished trade's row."""
        sql = "SELECT * FROM trade_episodes WHERE intent_id = ?"
        return until(f"an episode of {intent_id}", lambda: self.rows(sql, intent_id))[0]

    def limit(self, **changes: object) -> None:
        """Change hard limits in this floor's file (before the daemon starts)."""
        _change(self.limits, changes)

    def setting(self, **changes: object) -> None:
        """Change keys of this floor's hands.toml (before the daemon starts)."""
        _change(self.config, changes)

    # --- what always holds ---------------------------------------------------------------------------------

    def check(self) -> None:
        """What no test may end without: one entry per intent at most, never naked for long, no crash."""
        truth = self.truth()
        entries = [o["client_order_id"] for o in truth["orders"] if "-entry-" in o["client_order_id"]]
        assert len(entries) == len(set(entries)), entries
        assert all(name.endswith("-entry-1") for name in entries), entries
        for order in truth["orders"]:
            named = parse_client_order_id(order["client_order_id"])
            if named is not None and order["replaces"] is None and self.receipt(named[0]) is not None:
                assert illegal(_shape(order, named[1])) is None, order
        for process in (self.exchange.process, *self.processes):
            assert "Traceback" not in process.said, process.name
        if (self.state / "journal.db").exists():
            assert record_wrongs(self.state) == []
        if self.daemon is not None and self.daemon.is_running:  # a scan waits a second for a file's writer
            until("the drop folder is empty", lambda: not list(self.intents.glob("[!.]*.json")))


def _change(file: Path, changes: dict[str, object]) -> None:
    lines = file.read_text().splitlines()
    for name, value in changes.items():
        place = next(i for i, line in enumerate(lines) if line.split("=")[0].strip() == name)
        lines[place] = f"{name} = {value}"
    file.write_text("\n".join(lines) + "\n")


def _is_covered(receipt: dict[str, Any]) -> bool:
    protection, position = receipt["protection"], receipt["position"]
    return bool(protection and position and Decimal(protection["qty"]) >= Decimal(position["qty"]))


def _shape(order: dict[str, Any], leg: Leg) -> Shape:
    """Return everything about an order of ours at the exchange but its symbol and its numbers."""
    effect = f"{order['side']}_to_{'open' if leg is Leg.ENTRY else 'close'}"
    return Shape(
        asset_class=AssetClass(order["asset_class"]),
        order_class=OrderClass(order["order_class"] or "simple"),
        order_type=OrderType(order["type"]),
        tif=TimeInForce(order["time_in_force"]),
        effect=PositionIntent(effect),
        amount=amount_of(nano(order["qty"])),
    )


def _same(symbol: str, other: str) -> bool:
    return symbol.replace("/", "") == other.replace("/", "")


def stamp(seconds_from_now: float = 0.0) -> str:
    """Return a time as documents write it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds_from_now)).isoformat()


@contextmanager
def frozen(process: Process) -> Iterator[None]:
    """Hold a process still (SIGSTOP) for as long as the block runs."""
    process.popen.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.popen.send_signal(signal.SIGCONT)
