"""Every answer of the trading REST API against the venue's official OpenAPI document, in both directions.

One rich session (every order type and class, fills, replacements, cancels, long, short and coin positions, a day
that ends) is driven through the real port, with the plain documents and with every quirk that changes one. Every
answer seen must satisfy the schema of its method, path and status; every operation of the document must have been
seen, or be in the list of those not built; and every property of the main schemas must have been sent.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from hands.sim.testing import Sim, in_process_sim
from tests.conformance import openapi
from tests.conformance.openapi import Finding, OpenApi

QUIRKS = {
    "plain": {},
    "other": {
        "order_class_text": "simple",
        "position_intent_field": "absent",
        "pdt_fields": "present",
        "short_qty": "positive",
        "open_lists_held": "no",
        "activity_id_zone": "utc",
        "crypto_fees": "at_fill",
        "malformed_order_id": "404",
        "rate_body": "plain",
    },
}

_CRYPTO = "the document's list of exchanges has none for coins; the venue sends CRYPTO, as the SDK's enumeration has it"
_EITHER = "oneOf of two schemas that require nothing: whatever satisfies one satisfies the other too"
_REFUSED = "the body of a position that could not be closed is the refusal, not an order"
EXCEPTIONS = {
    ("GET /v2/assets 200", "[].exchange", "enum"): _CRYPTO,
    ("GET /v2/assets/{symbol_or_asset_id} 200", "exchange", "enum"): _CRYPTO,
    ("GET /v2/positions 200", "[].exchange", "enum"): _CRYPTO,
    ("GET /v2/positions/{symbol_or_asset_id} 200", "exchange", "enum"): _CRYPTO,
    ("POST /v2/watchlists 200", "assets[].exchange", "enum"): _CRYPTO,
    ("GET /v2/watchlists/{watchlist_id} 200", "assets[].exchange", "enum"): _CRYPTO,
    ("GET /v2/account/activities/{activity_type} 200", "[]", "oneOf"): _EITHER,
    ("DELETE /v2/positions 207", "[].body", "required"): _REFUSED,
}

NOT_BUILT = {
    "/v1/locates": "shares that are hard to borrow cannot be located here; they cannot be sold short",
    "/v2beta1/events": "refused by the venue for Trading API keys",
    "/v2/assets/fixed_income": "no bonds are traded here",
    "/v2/corporate_actions": "splits and symbol changes happen on demand and are not announced",
    "/v2/options": "no options are traded here",
    "/v2/perpetuals": "no perpetuals are traded here",
    "/v2/positions/{symbol_or_contract_id}/": "exercising is for options, which are not traded here",
    "/v2/tokenization": "nothing is tokenized here",
    "/v2/wallets": "coins are not moved in or out",
}

_LOCAL = "only in accounts that trade in a local currency"
_SUNSET = "sunset on 2026-07-06 with the pattern day trading rule; the quirk pdt_fields brings it back"
ABSENT = {
    "Account": dict.fromkeys(("daytrade_count", "daytrading_buying_power", "pattern_day_trader"), _SUNSET),
    "Position": dict.fromkeys(("avg_entry_swap_rate", "prev_swap_rate", "swap_rate", "usd"), _LOCAL),
    "TradingActivities": {},
    "NonTradeActivities": {
        "activity_sub_type": "coin fees have none",
        "cusip": "the assets here have none",
        "group_id": "coin fees name no sibling",
        "per_share_amount": "only of dividends",
    },
    "PortfolioHistory": {},
    "public_market": {"bic": "exchanges are known by their MIC"},
    "calendar_day": dict.fromkeys(("lunch_start", "lunch_end"), "no lunch break in New York"),
}
_OBSERVED = "in answers of the real API"
BEYOND = {
    "Order": {"subtag": _OBSERVED, "source": _OBSERVED},
    "OrderLeg": dict.fromkeys(
        ("expires_at", "ratio_qty", "source", "subtag"), "a leg has every field of an order"
    ),
    "NonTradeActivities": {"description": _OBSERVED, "price": _OBSERVED},
    "CanceledOrderResponse": {"body": "in the SDK's model: why an order could not be canceled"},
}

SOMETIMES = {
    "Assets": {"min_order_size", "min_trade_increment", "price_increment", "borrow_status"},
    "PortfolioHistory": {"base_value_asof", "cashflow"},
}
"""Properties that depend on the case by the document's own words; the others must be in every single object."""

WHERE = {
    "Order": (
        ("POST", "/v2/orders", ""),
        ("GET", "/v2/orders", "[]"),
        ("PATCH", "/v2/orders/{order_id}", ""),
    ),
    "OrderLeg": (("POST", "/v2/orders", "legs[]"), ("GET", "/v2/orders", "[].legs[]")),
    "Position": (("GET", "/v2/positions", "[]"),),
    "Account": (("GET", "/v2/account", ""),),
    "AccountConfigurations": (
        ("GET", "/v2/account/configurations", ""),
        ("PATCH", "/v2/account/configurations", ""),
    ),
    "Assets": (("GET", "/v2/assets", "[]"),),
    "legacy_clock": (("GET", "/v2/clock", ""),),
    "legacy_calendar_day": (("GET", "/v2/calendar", "[]"),),
    "clock": (("GET", "/v3/clock", "clocks[]"),),
    "public_market": (("GET", "/v3/clock", "clocks[].market"),),
    "calendar_day": (("GET", "/v3/calendar/{market}", "calendar[]"),),
    "PortfolioHistory": (("GET", "/v2/account/portfolio/history", ""),),
    "CanceledOrderResponse": (("DELETE", "/v2/orders", "[]"),),
    "PositionClosedReponse": (("DELETE", "/v2/positions", "[]"),),
    "Watchlist": (("GET", "/v2/watchlists/{watchlist_id}", ""),),
}


@dataclass
class Answer:
    """One answer as it was seen; `body` is None where there was none."""

    method: str
    path: str
    status: int
    body: Any


@dataclass
class Session:
    """A client that asks, and keeps every answer."""

    sim: Sim
    connection: http.client.HTTPConnection
    answers: list[Answer] = field(default_factory=list)

    def ask(self, method: str, path: str, body: Any = None, key: str = "sim") -> Any:
        """Send a request and return the parsed body."""
        headers = {"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": self.sim.secret}
        self.connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = self.connection.getresponse()
        raw = response.read()
        assert not raw or response.headers["Content-Type"].startswith("application/json")
        self.answers.append(Answer(method, path, response.status, json.loads(raw) if raw else None))
        return self.answers[-1].body

    def good(self, method: str, path: str, body: Any = None) -> Any:
        """Ask for what must not be refused."""
        answer = self.ask(method, path, body)
        assert self.answers[-1].status < 300, self.answers[-1]
        return answer

    def bad(self, status: int, method: str, path: str, body: Any = None, key: str = "sim") -> Any:
        """Ask for what must be refused with `status`."""
        answer = self.ask(method, path, body, key)
        assert self.answers[-1].status == status, self.answers[-1]
        return answer

    def order(self, symbol: str = "AAPL", side: str = "buy", kind: str = "market", **more: Any) -> Any:
        """Send an order that must not be refused."""
        return self.good("POST", "/v2/orders", order_body(symbol, side, kind, **more))


def order_body(symbol: str = "AAPL", side: str = "buy", kind: str = "market", **more: Any) -> dict[str, Any]:
    tif = "gtc" if "/" in symbol else "day"
    amount = {} if "notional" in more else {"qty": "1"}
    return {"symbol": symbol, "side": side, "type": kind, "time_in_force": tif} | amount | more


BRACKET = {
    "qty": "4",
    "limit_price": "140",
    "order_class": "bracket",
    "take_profit": {"limit_price": "160"},
    "stop_loss": {"stop_price": "130", "limit_price": "129"},
}


def every_kind_of_order(session: Session) -> None:
    """All types and classes and times in force, for shares and coins, filled and resting."""
    order = session.order
    order("TSLA", "sell", qty="5")
    order(qty="20", client_order_id="entry")
    order("BTC/USD", qty="0.1")
    session.sim.advance(1000)
    order("BTC/USD", "sell", qty="0.02")
    session.sim.advance(1000)
    order(notional="1000")
    order(qty="0.5")
    order(kind="limit", limit_price="100")
    order(kind="limit", limit_price="100", time_in_force="gtc", extended_hours=False)
    order(kind="limit", limit_price="100", extended_hours=True)
    order(kind="limit", limit_price="151", time_in_force="ioc")
    order(kind="limit", limit_price="151", time_in_force="fok")
    order(kind="limit", limit_price="100", time_in_force="cls")
    order("SPY", kind="stop", stop_price="650")
    order("SPY", kind="stop_limit", stop_price="650", limit_price="651")
    order(side="sell", kind="trailing_stop", trail_price="2")
    order(side="sell", kind="trailing_stop", trail_percent="1.5", time_in_force="gtc")
    order("MSFT", kind="limit", **BRACKET)
    order(
        "MSFT", kind="limit", qty="1", limit_price="140", order_class="oto", stop_loss={"stop_price": "130"}
    )
    order(
        side="sell",
        kind="limit",
        qty="3",
        order_class="oco",
        take_profit={"limit_price": "170"},
        stop_loss={"stop_price": "120"},
    )
    order("BTC/USD", notional="200")
    session.sim.advance(1000)
    order("BTC/USD", "sell", "stop_limit", qty="0.01", stop_price="50000", limit_price="49000")
    order("ETH/USD", kind="limit", qty="0.01", limit_price="2000")


def refusals(session: Session) -> None:
    """One answer of every status that is no success."""
    session.bad(401, "GET", "/v2/account", key="stranger")
    session.bad(400, "POST", "/v2/orders", [])
    session.bad(422, "POST", "/v2/orders", order_body("NONE"))
    session.bad(422, "POST", "/v2/orders", order_body(client_order_id="entry"))
    session.bad(403, "POST", "/v2/orders", order_body(qty="100000"))
    session.bad(403, "POST", "/v2/orders", order_body(side="sell", qty="500"))
    session.bad(404, "GET", f"/v2/orders/{'0' * 8}-0000-4000-8000-{'0' * 12}")
    session.ask("GET", "/v2/orders/nonsense")
    session.bad(404, "GET", "/v2/orders:by_client_order_id?client_order_id=nobody")
    session.bad(404, "GET", "/v2/positions/NVDA")
    session.bad(404, "DELETE", "/v2/positions/NVDA")
    session.bad(404, "GET", "/v2/assets/NONE")
    session.bad(422, "GET", "/v2/account/activities/NOTHING")
    session.bad(422, "GET", "/v2/account/portfolio/history?period=1Y")
    session.bad(422, "PATCH", "/v2/account/configurations", {"dtbp_check": "never"})
    session.bad(400, "GET", "/v3/calendar/LSE")
    session.bad(404, "DELETE", f"/v2/watchlists/{'0' * 8}-0000-4000-8000-{'0' * 12}")


def changes_and_cancels(session: Session) -> None:
    """Replacements and cancels, taken at once and with the venue's delay, granted and refused."""
    resting = session.order(kind="limit", limit_price="90", client_order_id="rest")
    session.bad(422, "PATCH", f"/v2/orders/{resting['id']}", {"limit_price": "91"})  # still pending_new
    session.sim.advance(100)
    newer = session.good("PATCH", f"/v2/orders/{resting['id']}", {"qty": "2", "limit_price": "91"})
    session.good("GET", f"/v2/orders/{resting['id']}")
    session.bad(422, "PATCH", f"/v2/orders/{newer['id']}", {"limit_price": "92"})  # it has not taken over yet
    session.sim.advance(1000)
    session.good("GET", f"/v2/orders/{newer['id']}")
    session.good("DELETE", f"/v2/orders/{newer['id']}")
    session.good("GET", "/v2/orders?symbols=AAPL")  # it is pending_cancel
    session.sim.advance(1000)
    entry = session.good("GET", "/v2/orders:by_client_order_id?client_order_id=entry")
    session.bad(422, "DELETE", f"/v2/orders/{entry['id']}")
    slow = session.order(kind="limit", limit_price="90")
    session.sim.advance(100)
    session.good("PATCH", f"/v2/orders/{slow['id']}", {"limit_price": "91"})


def lists(session: Session) -> None:
    for query in (
        "",
        "?status=all&limit=500",
        "?status=closed&direction=asc",
        "?status=all&nested=true&limit=500",
    ):
        session.good("GET", f"/v2/orders{query}")
    session.good("GET", "/v2/orders:by_client_order_id?client_order_id=entry&nested=true")
    session.good("GET", "/v2/positions")
    for name in ("AAPL", "BTCUSD", quote("BTC/USD", safe="")):
        session.good("GET", f"/v2/positions/{name}")
    for query in ("", "?status=active&asset_class=crypto", "?exchange=NYSE", "?attributes=has_options"):
        session.good("GET", f"/v2/assets{query}")
    for name in ("AAPL", "GME", "BTCUSD", quote("BTC/USD", safe="")):
        session.good("GET", f"/v2/assets/{name}")


def the_account(session: Session) -> None:
    session.good("GET", "/v2/account")
    session.good("GET", "/v2/account/configurations")
    session.good("PATCH", "/v2/account/configurations", {"trade_confirm_email": "none"})
    for query in ("", "?direction=asc&page_size=3", "?category=trade_activity", "?activity_types=FILL,CFEE"):
        session.good("GET", f"/v2/account/activities{query}")
    for kind in ("FILL", "CFEE", "DIV"):
        session.good("GET", f"/v2/account/activities/{kind}")
    for query in ("", "?period=1D&timeframe=5Min", "?period=1W&timeframe=1H&intraday_reporting=continuous"):
        session.good("GET", f"/v2/account/portfolio/history{query}")
    session.good("GET", "/v2/account/portfolio/history?cashflow_types=ALL")


def hours(session: Session) -> None:
    session.good("GET", "/v2/clock")
    session.good("GET", "/v3/clock")
    session.good("GET", "/v3/clock?markets=NYSE,XNAS&time=2026-03-07T12:00:00Z")
    session.good("GET", "/v2/calendar?start=2026-11-20&end=2026-12-01")
    session.good("GET", "/v2/calendar?start=2026-11-20&end=2026-12-01&date_type=SETTLEMENT")
    session.good("GET", "/v3/calendar/NYSE")
    session.good("GET", "/v3/calendar/XNAS?start=2026-11-20&end=2026-12-01&timezone=UTC")


def watchlists(session: Session) -> None:
    made = session.good("POST", "/v2/watchlists", {"name": "a", "symbols": ["AAPL", "BTC/USD"]})
    by_id, by_name = f"/v2/watchlists/{made['id']}", "/v2/watchlists:by_name?name=a"
    session.good("GET", "/v2/watchlists")
    session.good("GET", by_id)
    session.good("DELETE", f"{by_id}/BTCUSD")
    for path, symbol in ((by_id, "SPY"), (by_name, "MSFT")):
        session.good("GET", by_name)
        session.good("POST", path, {"symbol": symbol})
        session.good("PUT", path, {"name": "a", "symbols": ["AAPL"]})
    session.good("DELETE", by_name)
    other = session.good("POST", "/v2/watchlists", {"name": "b"})
    session.good("DELETE", f"/v2/watchlists/{other['id']}")


def the_end(session: Session) -> None:
    """Everything is canceled and closed, some of it in vain; then the day ends."""
    session.good("DELETE", "/v2/positions")  # open orders stand in the way
    session.good("DELETE", "/v2/orders")
    session.sim.advance(1000)
    lists(session)
    session.good("DELETE", "/v2/positions/AAPL?qty=2")
    session.good("DELETE", "/v2/positions/BTCUSD?percentage=40")
    session.sim.advance(1000)
    session.good("DELETE", "/v2/positions?cancel_orders=true")
    session.sim.advance(1000)
    session.order(kind="limit", limit_price="90")
    session.sim.advance(20 * 3_600_000)
    session.good("GET", "/v2/account/portfolio/history?timeframe=1H&start=2026-03-11T13:30:00Z")
    for part in (lists_of_orders, the_account, hours):
        part(session)


def lists_of_orders(session: Session) -> None:
    session.good("GET", "/v2/orders?status=all&limit=500")
    session.good("GET", "/v2/orders?status=all&limit=500&nested=true")


@contextmanager
def session_at(sim: Sim, quirks: dict[str, str]) -> Iterator[Session]:
    """Yield a session with a fresh account, on a market that stands still."""
    connection = http.client.HTTPConnection(urlsplit(sim.url).netloc, timeout=30)
    sim.reset(quirks=quirks, latency={"ack": 20, "fill": 10, "cancel": 300, "replace": 300})
    for symbol, bid, ask in (
        ("AAPL", 149.98, 150.0),
        ("SPY", 599.98, 600.02),
        ("MSFT", 149.98, 150.0),
        ("TSLA", 300.0, 300.02),
        ("BTC/USD", 59990.0, 60000.0),
        ("ETH/USD", 2999.0, 3000.0),
    ):
        sim.quote(symbol, bid, ask)
    try:
        yield Session(sim, connection)
    finally:
        connection.close()


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    """A simulator whose clock stands still on a Tuesday at half past ten in New York."""
    clock = {"clock": "manual", "start": "2026-03-10T14:30:00Z", "session": "calendar"}
    with in_process_sim(**clock, cash="200000", fills="instant") as running:
        yield running


@pytest.fixture(scope="module")
def answers(sim: Sim) -> dict[str, list[Answer]]:
    """Everything that was answered, by the quirks in force."""
    seen = {}
    for name, quirks in QUIRKS.items():
        with session_at(sim, quirks) as session:
            hours(session)
            every_kind_of_order(session)
            session.good(
                "GET", "/v2/orders?status=all&limit=500&nested=true"
            )  # the last are not acknowledged yet
            sim.advance(1000)
            sim.trade("AAPL", 150.5)
            refusals(session)
            lists(session)
            changes_and_cancels(session)
            watchlists(session)
            the_account(session)
            the_end(session)
            seen[name] = session.answers
    return seen


@pytest.fixture(scope="module")
def document() -> OpenApi:
    return openapi.load(openapi.TRADING)


@pytest.fixture(scope="module")
def findings(document: OpenApi, answers: dict[str, list[Answer]]) -> dict[str, list[Finding]]:
    return {
        name: [f for a in seen for f in document.findings(a.method, a.path, a.status, a.body)]
        for name, seen in answers.items()
    }


@pytest.mark.parametrize("quirks", QUIRKS)
def test_every_answer_satisfies_its_schema(findings: dict[str, list[Finding]], quirks: str) -> None:
    assert openapi.unexcused(findings[quirks], EXCEPTIONS) == []


def test_every_exception_is_needed(findings: dict[str, list[Finding]]) -> None:
    assert openapi.needless([f for found in findings.values() for f in found], EXCEPTIONS) == []


def test_every_operation_was_seen_to_succeed_or_is_not_built(
    document: OpenApi, answers: dict[str, list[Answer]]
) -> None:
    seen = {
        (a.method, document.template(a.path)) for found in answers.values() for a in found if a.status < 300
    }
    missing = [
        (method, template)
        for method, template in document.operations()
        if (method, template) not in seen and not template.startswith(tuple(NOT_BUILT))
    ]
    assert missing == []


def test_what_is_not_built_is_in_the_document_and_answers_404(document: OpenApi, sim: Sim) -> None:
    with session_at(sim, {}) as session:
        for prefix in NOT_BUILT:
            templates = [(m, t) for m, t in document.operations() if t.startswith(prefix)]
            assert templates, prefix
            for method, template in templates:
                path = template.replace("{symbol_or_id}", "AAPL").replace("{", "").replace("}", "")
                session.bad(404, method, path, {} if method == "POST" else None)


@pytest.mark.parametrize("schema", WHERE)
def test_every_property_is_sent_and_no_other(
    document: OpenApi, answers: dict[str, list[Answer]], schema: str
) -> None:
    listed = set(document.properties(schema))
    excused, beyond = set(ABSENT.get(schema, ())), set(BEYOND.get(schema, ()))
    assert excused <= listed
    for method, template, place in WHERE[schema]:
        sent = [
            keys
            for answer in answers["plain"]
            if (answer.method, document.template(answer.path)) == (method, template) and answer.status < 300
            for where, keys in openapi.objects(answer.body)
            if where == place
        ]
        assert listed - set().union(*sent) == excused, (method, template, place)
        assert listed - set.intersection(*sent) == excused | SOMETIMES.get(schema, set())
        assert set().union(*sent) - listed == beyond, (method, template, place)


@pytest.mark.parametrize(("kind", "schema"), [("FILL", "TradingActivities"), ("CFEE", "NonTradeActivities")])
def test_every_property_of_an_activity_is_sent_and_no_other(
    document: OpenApi, answers: dict[str, list[Answer]], kind: str, schema: str
) -> None:
    rows = [
        row
        for answer in answers["other"]
        if answer.path == f"/v2/account/activities/{kind}" and answer.status == 200
        for row in answer.body
    ]
    listed, sent = set(document.properties(schema)), {key for row in rows for key in row}
    assert listed - sent == set(ABSENT[schema])
    assert sent - listed == set(BEYOND.get(schema, ()))


def test_the_session_was_rich(answers: dict[str, list[Answer]]) -> None:
    orders = [
        order
        for answer in answers["plain"]
        if answer.path.startswith("/v2/orders?") and answer.status == 200
        for order in answer.body
    ]
    seen = {
        name: {order[name] for order in orders} for name in ("type", "order_class", "time_in_force", "status")
    }
    assert seen["type"] == {"market", "limit", "stop", "stop_limit", "trailing_stop"}
    assert seen["order_class"] == {"", "bracket", "oco", "oto"}
    assert seen["time_in_force"] == {"day", "gtc", "ioc", "fok", "cls"}
    assert {"new", "filled", "canceled", "expired", "replaced", "held", "pending_cancel"} <= seen["status"]
    statuses = {answer.status for answer in answers["plain"]}
    assert statuses == {200, 204, 207, 400, 401, 403, 404, 422}


def test_a_wrong_answer_is_found(document: OpenApi, answers: dict[str, list[Answer]]) -> None:
    order = next(a.body for a in answers["plain"] if (a.method, a.path) == ("POST", "/v2/orders"))

    def rules(change: dict[str, Any]) -> set[str]:
        return {f.rule for f in document.findings("POST", "/v2/orders", 200, order | change)}

    assert rules({}) == set()
    assert rules({"qty": 1}) == {"type"}
    assert rules({"status": "gone"}) == {"enum"}
    assert rules({"created_at": "2026-03-10 14:30"}) == {"format"}
    assert rules({"id": "x"}) == {"format"}
    assert {f.rule for f in document.findings("POST", "/v2/orders", 201, order)} == {"undocumented"}
    assert {f.rule for f in document.findings("POST", "/v2/order", 200, order)} == {"undocumented"}
    assert {f.rule for f in document.findings("POST", "/v2/orders", 422, {"code": "1"})} == {
        "type",
        "required",
    }
