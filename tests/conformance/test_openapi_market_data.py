"""Every answer of the historical market-data API against the venue's official OpenAPI document, in both directions.

A market of shares and coins over two days, with an auction, a print that is corrected and one that is canceled, is
asked about in every way the document knows. Every answer must satisfy the schema of its path and status, every
operation of stocks and coins must have been answered, and every property of their schemas must have been sent.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from hands.sim.testing import Sim, in_process_sim
from tests.conformance import openapi
from tests.conformance.openapi import Finding, OpenApi

_NOTHING = "the venue answers null for one symbol of which it has nothing; the document forgot to say so"
EXCEPTIONS = {
    (f"GET /v2/stocks/{{symbol}}/{kind} 200", kind, "type"): _NOTHING
    for kind in ("trades", "quotes", "bars", "auctions")
}

BUILT = ("/v2/stocks/", "/v1beta3/crypto/{loc}/")
"""The document's other operations are about news, options, corporate actions, screens, forex and logos."""

STOCK, COIN = "AAPL", "BTC/USD"
KINDS = ("trades", "quotes", "bars")
SINCE = "2026-03-09"

WHERE = {
    "stock_trade": ("/v2/stocks/trades", f"trades.{STOCK}[]"),
    "stock_quote": ("/v2/stocks/quotes", f"quotes.{STOCK}[]"),
    "stock_bar": ("/v2/stocks/bars", f"bars.{STOCK}[]"),
    "stock_snapshot": ("/v2/stocks/snapshots", STOCK),
    "stock_daily_auctions": ("/v2/stocks/auctions", f"auctions.{STOCK}[]"),
    "stock_auction": ("/v2/stocks/auctions", f"auctions.{STOCK}[].o[]"),
    "crypto_trade": ("/v1beta3/crypto/{loc}/trades", f"trades.{COIN}[]"),
    "crypto_quote": ("/v1beta3/crypto/{loc}/quotes", f"quotes.{COIN}[]"),
    "crypto_bar": ("/v1beta3/crypto/{loc}/bars", f"bars.{COIN}[]"),
    "crypto_snapshot": ("/v1beta3/crypto/{loc}/snapshots", f"snapshots.{COIN}"),
    "crypto_orderbook": ("/v1beta3/crypto/{loc}/latest/orderbooks", f"orderbooks.{COIN}"),
    "crypto_orderbook_entry": ("/v1beta3/crypto/{loc}/latest/orderbooks", f"orderbooks.{COIN}.b[]"),
}


SOMETIMES = {"stock_trade": {"u"}}
"""Properties that the document itself says may be missing; the others must be in every single object."""


@dataclass
class Answer:
    """One answer as it was seen."""

    path: str
    status: int
    body: Any


class Session:
    """A client that asks, and keeps every answer."""

    def __init__(self, sim: Sim) -> None:
        self.answers: list[Answer] = []
        self._key = {"APCA-API-KEY-ID": sim.key, "APCA-API-SECRET-KEY": sim.secret}
        self._connection = http.client.HTTPConnection(urlsplit(sim.url).netloc, timeout=30)

    def get(self, path: str, status: int = 200, has_key: bool = True, **parameters: Any) -> Any:
        """Ask, and expect `status`."""
        target = f"{path}?{urlencode(parameters)}" if parameters else path
        self._connection.request("GET", target, headers=self._key if has_key else {})
        response = self._connection.getresponse()
        body = json.loads(response.read())
        self.answers.append(Answer(target, response.status, body))
        assert response.status == status, (target, body)
        return body

    def pages(self, path: str, **parameters: Any) -> None:
        """Ask for one page after the other to the end."""
        token = self.get(path, **parameters)["next_page_token"]
        while token:
            token = self.get(path, **parameters, page_token=token)["next_page_token"]

    def close(self) -> None:
        self._connection.close()


def two_days(sim: Sim) -> None:
    """Let a market happen: yesterday's session, an opening auction today, and mistakes that are put right."""
    for day in ("2026-03-09", "2026-03-10"):
        sim.advance_to(f"{day}T13:30:00Z")
        sim.market(
            {"symbol": STOCK, "price": 150, "size": 5000, "exchange": "Q", "conditions": ["@", "O"]},
            {"symbol": "SPY", "price": 600, "size": 300, "exchange": "P", "conditions": ["Q"]},
        )
        for minute in range(3):
            sim.advance(60_000)
            for symbol, price in ((STOCK, 150.0), ("SPY", 600.0), (COIN, 60_000.0)):
                sim.quote(symbol, price + minute, price + minute + 0.02)
                sim.trade(symbol, price + minute, 1 if symbol == COIN else 100)
        sim.advance_to(f"{day}T20:00:00Z")
        sim.market({"symbol": STOCK, "price": 152, "size": 9000, "exchange": "Q", "conditions": ["6"]})
    wrong, never = sim.trade(STOCK, 15.0), sim.trade(STOCK, 1500.0)
    sim.market({"symbol": STOCK, "correct": wrong, "price": 150.01})
    sim.market({"symbol": STOCK, "cancel": never})
    sim.split("SPY", 2, 1)
    sim.trade("SPY", 300.0)


def stocks(session: Session) -> None:
    """Every way to ask about shares."""
    both = f"{STOCK},SPY,NONE"
    for kind in (*KINDS, "auctions"):
        timeframe = {"timeframe": "1Min"} if kind == "bars" else {}
        session.pages(f"/v2/stocks/{kind}", symbols=both, start=SINCE, limit=3, **timeframe)
        session.get(f"/v2/stocks/{kind}", symbols=both, start=SINCE, sort="desc", currency="USD", **timeframe)
        session.get(f"/v2/stocks/{kind}", symbols="NONE", **timeframe)
        session.pages(f"/v2/stocks/{STOCK}/{kind}", start=SINCE, limit=2, **timeframe)
        session.get(f"/v2/stocks/NONE/{kind}", start=SINCE, asof="-", **timeframe)
    for timeframe in ("5T", "1Hour", "1Day", "1W", "12Month"):
        for adjustment in ("raw", "split", "all"):
            asked = {"timeframe": timeframe, "adjustment": adjustment, "start": "2026-01-01"}
            session.get("/v2/stocks/bars", symbols=both, **asked)
    for kind in KINDS:
        for feed in ("sip", "iex", "delayed_sip", "overnight"):
            session.get(f"/v2/stocks/{kind}/latest", symbols=both, feed=feed)
        session.get(f"/v2/stocks/{STOCK}/{kind}/latest")
    session.get("/v2/stocks/snapshots", symbols=both)
    session.get(f"/v2/stocks/{STOCK}/snapshot", currency="USD")
    session.get("/v2/stocks/meta/exchanges")
    for tape in "ABC":
        for ticktype in ("trade", "quote"):
            session.get(f"/v2/stocks/meta/conditions/{ticktype}", tape=tape)


def coins(session: Session) -> None:
    """Every way to ask about coins; no key is needed."""
    both = f"{COIN},NO/SUCH"
    root = "/v1beta3/crypto/us"
    for kind in KINDS:
        timeframe = {"timeframe": "1Min"} if kind == "bars" else {}
        session.pages(f"{root}/{kind}", has_key=False, symbols=both, start=SINCE, limit=2, **timeframe)
        session.get(f"{root}/{kind}", symbols="NO/SUCH", **timeframe)
        session.get(f"{root}/latest/{kind}", has_key=False, symbols=both)
    for timeframe in ("4H", "1D", "1Week", "3M"):
        session.get(f"{root}/bars", symbols=COIN, timeframe=timeframe, start="2026-01-01")
    session.get(f"{root}/latest/orderbooks", symbols=both)
    session.get(f"{root}/snapshots", symbols=both)


def refusals(session: Session) -> None:
    """One answer of every status that is no success."""
    session.get(f"/v2/stocks/{STOCK}/trades", 401, has_key=False)
    session.get("/v2/stocks/snapshots", 400)
    session.get("/v2/stocks/bars", 400, symbols=STOCK, timeframe="60Min")
    session.get("/v1beta3/crypto/us/trades", 400, symbols="BTCUSD")
    session.get("/v2/stocks/trades", 400, symbols=STOCK, limit=10_001)
    session.get("/v2/stocks/NONE/snapshot", 404)
    session.get("/v2/stocks/NONE/trades/latest", 404)


def answered(plan: str) -> list[Answer]:
    clock = {"clock": "manual", "start": "2026-03-09T12:00:00Z", "tape": "manual"}
    with in_process_sim(**clock, plan=plan) as sim:
        two_days(sim)
        session = Session(sim)
        try:
            if plan == "basic":
                session.get("/v2/stocks/trades", 403, symbols=STOCK, end="2026-03-10T20:00:00Z", feed="sip")
                session.get("/v2/stocks/trades", symbols=STOCK)
            else:
                stocks(session)
                coins(session)
                refusals(session)
        finally:
            session.close()
        return session.answers


@pytest.fixture(scope="module")
def answers() -> Iterator[list[Answer]]:
    return [*answered("plus"), *answered("basic")]


@pytest.fixture(scope="module")
def document() -> OpenApi:
    return openapi.load(openapi.MARKET_DATA)


@pytest.fixture(scope="module")
def findings(document: OpenApi, answers: list[Answer]) -> list[Finding]:
    return [f for a in answers for f in document.findings("GET", a.path, a.status, a.body)]


def test_every_answer_satisfies_its_schema(findings: list[Finding]) -> None:
    assert openapi.unexcused(findings, EXCEPTIONS) == []


def test_every_exception_is_needed(findings: list[Finding]) -> None:
    assert openapi.needless(findings, EXCEPTIONS) == []


def test_every_operation_on_shares_and_coins_was_answered(document: OpenApi, answers: list[Answer]) -> None:
    seen = {document.template(a.path) for a in answers if a.status == 200}
    wanted = {template for method, template in document.operations() if template.startswith(BUILT)}
    assert len(wanted) > 25
    assert wanted - seen == set()


@pytest.mark.parametrize("schema", WHERE)
def test_every_property_was_sent_and_no_other(document: OpenApi, answers: list[Answer], schema: str) -> None:
    template, place = WHERE[schema]
    sent = [
        keys
        for answer in answers
        if answer.status == 200 and document.template(answer.path) == template
        for where, keys in openapi.objects(answer.body)
        if where == place
    ]
    listed = set(document.properties(schema))
    assert set().union(*sent) == listed
    assert listed - set.intersection(*sent) == SOMETIMES.get(schema, set())
