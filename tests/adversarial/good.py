"""Two hundred good intents, all different: what a guardian must not stand in the way of.

Owns the making of them, from a seed. The one idea: two have a symbol at a price of its own, one for now and one that
waits, so nothing but what it says can be a reason to refuse one; and what may be said in several ways is said in all.
"""

from __future__ import annotations

import json
import random
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from tests.adversarial.engine import made_up_symbol

COUNT = 200
COINS = 10


@dataclass(frozen=True)
class Good:
    """A symbol, its quote, and what is intended with it; `say` writes the document with the time of then."""

    symbol: str
    bid: Decimal
    ask: Decimal
    members: dict[str, Any]
    style: int

    def say(self) -> bytes:
        """Return the document, in one of many ways to write the same."""
        rng = random.Random(self.style)
        now = datetime.now(UTC) - timedelta(seconds=rng.random() * 0.5)
        zone = rng.choice([UTC, timezone(timedelta(hours=2)), timezone(-timedelta(hours=5, minutes=30))])
        written = now.astimezone(zone).isoformat(
            timespec=rng.choice(["seconds", "milliseconds", "microseconds"])
        )
        document = self.members | {
            "intent_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            "timestamp": written.replace("+00:00", rng.choice(["Z", "+00:00", "-00:00"])),
        }
        items = list(document.items())
        rng.shuffle(items)
        parts = [f"{_text(key, rng)}: {_value(value, rng)}" for key, value in items]
        gap = rng.choice(["", "\n", "\n  ", "\t", " \r\n "])
        return ("{" + gap + f",{gap or ' '}".join(parts) + gap + "}" + rng.choice(["", "\n"])).encode()


def _text(value: str, rng: random.Random) -> str:
    return json.dumps(value, ensure_ascii=rng.random() < 0.5)


def _value(value: Any, rng: random.Random) -> str:
    """Write a number as 150, 150.0, 150.000, 1.5e2 or 15000e-2, and anything else as JSON."""
    if not isinstance(value, Decimal):
        return json.dumps(value, ensure_ascii=rng.random() < 0.5)
    plain = f"{value:f}"
    kind = rng.randrange(4)
    if kind == 1:
        return plain + ("000" if "." in plain else ".0")
    if kind == 2:
        return f"{value.scaleb(2):f}e-2"
    return f"{value:E}".replace("E+", "e") if kind == 3 else plain


def _made(number: int) -> Good:
    pair, is_touch = divmod(number, 2)
    rng = random.Random(pair)  # both of a pair meet the same quote
    is_coin = pair < COINS
    price = Decimal(str(round(10 ** rng.uniform(0.7, 3.6), 2)))
    tick = Decimal("0.0001") if is_coin else Decimal("0.01")
    half = max(tick, (price * Decimal("0.0005")).quantize(tick))
    bid, ask = price - half, price + half
    if is_coin:
        bid, ask = bid.quantize(tick), ask.quantize(tick)
    rng = random.Random(number)
    long = is_coin or rng.random() < 0.7
    sign = 1 if long else -1
    near = ask if long else bid
    # as far as the collar lets it, on the side where the market is not yet beyond the limit
    trigger = near * (1 + sign * Decimal(str(round(rng.uniform(0.0, 0.012), 4))))
    risk = Decimal(str(round(rng.uniform(0.02, 0.12), 4)))
    reward = risk * Decimal(str(round(rng.uniform(1.6, 5.0), 2))) + Decimal("0.02")
    stop = trigger * (1 - sign * risk)
    target = trigger * (1 + sign * min(reward, Decimal("0.6")))
    outward = ROUND_FLOOR if long else ROUND_CEILING
    members: dict[str, Any] = {
        "asset": f"C{chr(65 + pair)}X/USD" if is_coin else made_up_symbol("G", pair),
        "direction": "LONG" if long else "SHORT",
        "trigger_price": trigger.quantize(tick),
        "stop_loss": stop.quantize(tick, outward),
        "take_profit": target.quantize(tick),
        "confidence": Decimal(str(round(rng.uniform(0.6, 1.0), 3))),
        "strategy_ref": rng.choice(["pullback/v3", "x" * 128, "übergreifend / 策略", "a b"]),
        "ttl_seconds": Decimal(str(round(rng.uniform(8, 15), 2))),
    }
    extras: dict[str, Any] = {
        "kind": "intent",
        "qty": Decimal(rng.randrange(1, 1_000_000)),
        "max_hold_seconds": Decimal(rng.randrange(60, 86_400)),
        "thesis": rng.choice(["", "x" * 4096, 'line\nbreak "quoted" \\ \u2028 😀']),
        "context": {"rsi": 31.5, "note": "oversold", "n": -4, "tiny": 1e-9},
    }
    members |= {key: value for key, value in extras.items() if rng.random() < 0.35}
    if is_touch:
        members |= {"entry": "touch", "arm_seconds": Decimal(rng.randrange(60, 3600))}
    elif rng.random() < 0.3:
        members["entry"] = "now"
    return Good(str(members["asset"]), bid, ask, members, style=number)


GOOD: tuple[Good, ...] = tuple(_made(number) for number in range(COUNT))
