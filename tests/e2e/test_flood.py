"""A thousand documents of every kind, as fast as they can be dropped: each gets its answer, and no limit gives.

Under `HANDS_SOAK=1` also ten thousand that are there all at once, a good one in their midst. What such a flood costs in
time is measured by `python -m bench --only flood`, not here.
"""

from __future__ import annotations

import json
import os
import random
import uuid
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import IDEAS, Floor, stamp, until

pytestmark = pytest.mark.e2e

COUNT = 1000
EQUITY = 100_000


def test_a_thousand_mixed_documents(floor: Floor) -> None:
    floor.limit(rejections_latch=1_000_000)
    floor.open()
    writer = _Writer(floor, random.Random(7))
    for number in range(COUNT):
        writer.write(number)
    until("every document has an answer", lambda: _answers(floor) >= COUNT, within_s=30)
    until("the drop folder is empty", lambda: not list(floor.intents.glob("*.json")))
    assert _answers(floor) == COUNT
    assert writer.canary.read_bytes() == b"{}", "something was written through a link"

    receipts = [json.loads(path.read_text()) for path in (floor.intents / "receipts").glob("*.json")]
    refused = [json.loads(path.read_text()) for path in (floor.intents / "refused").glob("*.receipt.json*")]
    verdicts = Counter(r["verdict"] for r in receipts + refused)
    assert set(verdicts) == {"ACCEPTED", "REJECTED", "REFUSED"}
    codes = Counter(r["code"] for r in receipts + refused)
    for code in (
        "MALFORMED_JSON", "DUPLICATE_KEY", "SCHEMA", "NOT_FINITE", "TOO_LARGE", "NOT_REGULAR_FILE", "DUPLICATE_INTENT",
        "EXPIRED", "FUTURE_TIMESTAMP", "TTL_TOO_LONG", "SYMBOL_NOT_ALLOWED", "SHORT_NOT_ALLOWED", "CONFIDENCE_TOO_LOW",
        "BRACKET_GEOMETRY", "PRICE_COLLAR", "STOP_TOO_FAR", "SYMBOL_BUSY",
    ):  # fmt: skip
        assert codes[code], code

    entries = floor.entries()
    accepted = {r["intent_id"] for r in receipts if r["verdict"] == "ACCEPTED"}
    assert {o["client_order_id"].removeprefix("hands-").removesuffix("-entry-1") for o in entries} == accepted
    assert 1 <= len(entries) <= 3  # max_concurrent; nothing closes in this market
    assert len({o["symbol"] for o in entries}) == len(entries)
    spent = Decimal()
    for order in entries:
        notional = Decimal(order["qty"]) * Decimal(order["limit_price"])
        assert notional <= EQUITY * Decimal("0.10")
        risk = Decimal(order["qty"]) * (
            Decimal(order["limit_price"]) - Decimal(str(IDEAS[order["symbol"]]["stop_loss"]))
        )
        assert risk <= EQUITY * Decimal("0.02")
        spent += notional
    assert spent <= EQUITY * Decimal("0.30")
    for order in entries:
        until("protection", lambda symbol=order["symbol"]: floor.stops(symbol) == floor.held(symbol) > 0)
    assert floor.status()["state"] == "ACTIVE"
    floor.expect(floor.drop("AAPL"), "REJECTED")  # and it still answers


@pytest.mark.skipif(not os.environ.get("HANDS_SOAK"), reason="HANDS_SOAK=1: ten thousand take half a minute")
def test_ten_thousand_at_once(floor: Floor) -> None:
    """The backlog of an outage: nearly all of it is past its deadline, and what is not does not wait for it."""
    floor.open()
    assert floor.daemon is not None
    floor.expect(floor.drop("AAPL", confidence=0.1), "REJECTED")
    before_mb = _resident_mb(floor.daemon.popen.pid)
    stale = stamp(-60)
    making = floor.folder / "making"
    making.mkdir()
    ids = [str(uuid.uuid4()) for _ in range(10_000)]
    good = ids[5_000]
    for intent_id in ids:
        changes = {} if intent_id == good else {"timestamp": stale}
        document = floor.document("SPY", intent_id=intent_id, **changes)
        (making / f"{intent_id}.json").write_bytes(_json(document))
    for intent_id in ids:
        (making / f"{intent_id}.json").rename(floor.intents / f"{intent_id}.json")
    assert floor.expect(good, within_s=60)["verdict"] == "ACCEPTED"
    until("every document has an answer", lambda: _answers(floor) == 10_001, within_s=240)
    until("the drop folder is empty", lambda: not list(floor.intents.glob("*.json")), within_s=120)
    codes = Counter(
        json.loads(path.read_text())["code"] for path in (floor.intents / "receipts").glob("*.json")
    )
    assert codes == {"EXPIRED": 9_999, "OK": 1, "CONFIDENCE_TOO_LOW": 1}
    assert len(floor.entries()) == 1
    assert _resident_mb(floor.daemon.popen.pid) - before_mb < 150


def _resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def _answers(floor: Floor) -> int:
    refused = [path for path in (floor.intents / "refused").iterdir() if ".receipt.json" in path.name]
    return len(refused) + len(list((floor.intents / "receipts").glob("*.json")))


class _Writer:
    """Drops document number n: which kind it is follows from a seeded draw."""

    def __init__(self, floor: Floor, random_: random.Random) -> None:
        self.canary = floor.folder / "canary.json"
        self.canary.write_bytes(b"{}")
        self._floor = floor
        self._random = random_
        self._ids = [str(uuid.UUID(int=random_.getrandbits(128), version=4)) for _ in range(20)]
        self._for_links = floor.folder / "links"
        self._for_links.mkdir()

    def write(self, number: int) -> None:
        name = f"{number:04}.json"
        kind = self._random.choice(_KINDS)
        if kind is _special:
            _special(self, number % 4, name)
        else:
            self._floor.drop_bytes(kind(self), name)

    def good(self, **changes: Any) -> dict[str, Any]:
        asset = changes.pop("asset", self._random.choice(sorted(IDEAS)))
        return self._floor.document(asset, **changes)

    def special(self, kind: int, name: str) -> None:
        path = self._floor.intents / name
        if kind == 0:
            path.symlink_to(self.canary)
        elif kind == 1:
            twin = self._for_links / name
            twin.write_bytes(json.dumps(self.good()).encode())
            os.link(twin, path)
        elif kind == 2:
            os.mkfifo(path)
        else:
            path.mkdir()

    def reused_id(self) -> str:
        return self._random.choice(self._ids)

    def noise(self) -> bytes:
        return self._random.randbytes(self._random.randrange(0, 400))


def _special(writer: _Writer, kind: int, name: str) -> None:
    writer.special(kind, name)


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()


def _twice(writer: _Writer) -> bytes:
    return _json(writer.good())[:-1] + b', "asset": "SPY"}'


def _changed(**changes: Any) -> Callable[[_Writer], bytes]:
    return lambda writer: _json(writer.good(**changes))


def _stale(writer: _Writer) -> bytes:
    return _json(writer.good(timestamp=stamp(-60)))


def _early(writer: _Writer) -> bytes:
    return _json(writer.good(timestamp=stamp(60)))


_KINDS: tuple[Any, ...] = (
    lambda writer: _json(writer.good()),
    lambda writer: _json(writer.good()),
    lambda writer: _json(writer.good(intent_id=writer.reused_id())),
    lambda writer: writer.noise(),
    lambda writer: _json(writer.good())[: writer._random.randrange(1, 200)],
    lambda writer: b" " * 70_000,
    lambda writer: b"[" * 300,
    lambda writer: b"[]",
    lambda writer: _json(writer.good()).replace(b"0.8", b"NaN"),
    lambda writer: _json(writer.good()).replace(b"0.8", b"1e999999999"),
    _twice,
    _stale,
    _early,
    _special,
    _changed(ttl_seconds=3600),
    _changed(asset="TSLA"),
    _changed(asset="aapl", trigger_price=150),
    _changed(asset="AAPL", direction="SHORT", stop_loss=152, take_profit=140),
    _changed(confidence=0.3),
    _changed(confidence="0.9"),
    _changed(confirm=True),
    _changed(intent_id="not-a-uuid"),
    _changed(asset="AAPL", stop_loss=151),
    _changed(asset="AAPL", trigger_price=170, stop_loss=168, take_profit=180),
    _changed(asset="BTC/USD", stop_loss=50000),
    _changed(asset="SOL/USD", qty=0.0001),
    _changed(thesis="x" * 4097),
    _changed(context={"a": {"b": 1}}),
)
