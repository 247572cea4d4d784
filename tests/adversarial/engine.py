"""The engine under attack: what the suite asks of it, and Hands with its simulator as the one that answers here.

Owns the `Engine` protocol and `HandsEngine`. The one idea: whatever takes documents from a drop folder can be attacked
by the same documents, so all the suite knows of an engine is a folder, a market it may move, and the exchange's own
record of the orders that reached it; `ADVERSARIAL_ENGINE=module:Class` puts another one in its place (README.md).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

EQUITY = Decimal(10_000_000)


def made_up_symbol(prefix: str, number: int) -> str:
    """Return an equity's symbol that nobody trades: letters only, as exchanges have them."""
    return f"{prefix}{chr(65 + number // 26)}{chr(65 + number % 26)}"


@dataclass(frozen=True)
class Rules:
    """The limits that the engine must be set to; fractions are fractions of `EQUITY`."""

    max_risk_per_trade: Decimal = Decimal("0.02")
    max_position_size: Decimal = Decimal("0.10")
    max_slippage_pct: Decimal = Decimal("0.001")
    max_order_notional_usd: Decimal = Decimal(25_000)
    max_stop_distance: Decimal = Decimal("0.20")
    price_collar: Decimal = Decimal("0.02")
    min_confidence: Decimal = Decimal("0.60")
    rejections_latch: int = 20
    ttl_seconds: int = 15


RULES = Rules()


@dataclass(frozen=True)
class SentOrder:
    """An order as the exchange has it: an entry, or one that leaves a position. `stop` is its bracket's, if it has one."""

    symbol: str
    side: str
    qty: Decimal
    limit: Decimal | None
    stop: Decimal | None
    client_order_id: str
    is_entry: bool


@dataclass(frozen=True)
class Agent:
    """An agent to be known to the engine: its folder is `intents/agents/<name>`."""

    name: str
    user: str | None = None
    symbols: tuple[str, ...] | None = None
    directions: tuple[str, ...] | None = None
    daily_notional_usd: int | None = None
    expires: str | None = None


class Engine(Protocol):
    """What the suite needs. `quotes` is a market of bids and asks by symbol that does not move by itself."""

    intents: Path

    def start(self, folder: Path, quotes: Mapping[str, tuple[Decimal, Decimal]], agents: list[Agent]) -> None:
        """Run on `RULES` with `EQUITY`, trading exactly the symbols of `quotes`, shorts allowed; return when ready."""

    def restart(self) -> None:
        """Stop at once (as a crash would) and run again on the same state; return when ready."""

    def stop(self) -> None:
        """End everything."""

    def orders(self) -> list[SentOrder]:
        """Return every order that ever reached the exchange."""

    def is_halted(self) -> bool:
        """Whether entries are refused because of a halt."""

    def resume(self) -> None:
        """Do what an operator does to let trading go on after a halt, or an agent's after a latch."""


def engine_under_attack() -> Engine:
    """Return a new engine, of the class that ADVERSARIAL_ENGINE names."""
    module, _, name = os.environ.get("ADVERSARIAL_ENGINE", f"{__name__}:HandsEngine").partition(":")
    found: Engine = getattr(import_module(module), name)()
    return found


class HandsEngine:
    """`hands run` against `hands sim`, as two processes."""

    def __init__(self) -> None:
        self._endings = ExitStack()

    def start(self, folder: Path, quotes: Mapping[str, tuple[Decimal, Decimal]], agents: list[Agent]) -> None:
        from tests.e2e.harness import Exchange, Floor

        exchange = Exchange(folder, symbols=",".join(quotes), cash=str(EQUITY), fills="instant")
        self._endings.callback(exchange.process.end)
        self._rows = [
            {"symbol": symbol, "bid": float(bid), "ask": float(ask), "bid_size": 10**6, "ask_size": 10**6}
            for symbol, (bid, ask) in quotes.items()
        ]
        self.floor = Floor(folder, exchange)
        self._endings.callback(self.floor.close)
        self.intents = self.floor.intents
        self.floor.setting(requests_per_minute=100_000)
        self.floor.limit(
            allow=_toml(tuple(quotes)), allow_short="true", quote_age_max_ms=600_000, max_concurrent=10_000,
            max_daily_trades=100_000, orders_per_minute=1_000_000, max_gross_exposure=10, max_daily_loss=1,
            **{name: getattr(RULES, name) for name in RULES.__dataclass_fields__},
        )  # fmt: skip
        with self.floor.limits.open("a") as file:
            file.write("\n" + "\n".join(_table(agent) for agent in agents))
        self._open()

    def restart(self) -> None:
        self.floor.kill()
        self._open()

    def stop(self) -> None:
        self._endings.close()  # each is ended, whatever another one's end has to say

    def orders(self) -> list[SentOrder]:
        found = self.floor.truth()["orders"]
        stops = {o["parent_id"]: o["stop_price"] for o in found if o.get("parent_id") and o["stop_price"]}
        return [
            SentOrder(
                symbol=order["symbol"],
                side=order["side"],
                qty=Decimal(order["qty"]),
                limit=None if order["limit_price"] is None else Decimal(order["limit_price"]),
                stop=_decimal(order["stop_price"] or stops.get(order["id"])),
                client_order_id=order["client_order_id"],
                is_entry="-entry-" in order["client_order_id"],
            )
            for order in found
        ]

    def is_halted(self) -> bool:
        return self.floor.status()["state"] == "HALTED"

    def resume(self) -> None:
        assert self.floor.hands("resume").returncode == 0

    def _open(self) -> None:
        self.floor.launch().ready(within_s=60)
        self.floor.market(*self._rows)
        self.floor.seen(self._rows[-1])


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _toml(values: tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"


def _table(agent: Agent) -> str:
    lines: list[Any] = [f"[agents.{agent.name}]"]
    if agent.user is not None:
        lines.append(f'user = "{agent.user}"')
    lists = {"symbols": agent.symbols, "directions": agent.directions}
    lines += [f"{name} = {_toml(values)}" for name, values in lists.items() if values is not None]
    if agent.daily_notional_usd is not None:
        lines.append(f"daily_notional_usd = {agent.daily_notional_usd}")
    if agent.expires is not None:
        lines.append(f'expires = "{agent.expires}"')
    return "\n".join(lines) + "\n"
