from __future__ import annotations

import json
from datetime import date
from urllib.parse import quote

import pytest

from hands.core.units import NANO, NS_PER_S
from hands.venues.alpaca.rate import RateBudget
from hands.venues.alpaca.snapshots import FILLS_MAX, Snapshots, VenueUnavailable

NOT_FOUND = (404, {"code": 40410000, "message": "order not found"})
QUOTE = {"bp": 1, "ap": 2, "bs": 3, "as": 4, "t": "1970-01-01T00:00:01Z"}
CLOCK = {
    "timestamp": "2026-11-20T10:00:00-05:00",
    "is_open": True,
    "next_open": "2026-11-23T09:30:00-05:00",
    "next_close": "2026-11-20T16:00:00-05:00",
}
VENUE_NS = 1795186800 * NS_PER_S


def order(name, **changes):
    fields = {
        "id": f"id-{name}",
        "client_order_id": name,
        "symbol": "AAPL",
        "side": "buy",
        "type": "limit",
        "status": "new",
        "qty": "1",
        "filled_qty": "0",
    }
    return fields | changes


@pytest.fixture
def ask(run, scripted, reply, credentials):
    """Run `scenario(snapshots, server)` against a venue that answers by path; (status, json) or json."""

    def start(scenario, routes, *, clock=lambda: 5, **options):
        async def respond(request, writer):
            answer = routes.get(request.path, routes.get(request.path.partition("?")[0], (599, "unexpected")))
            status, body = answer if isinstance(answer, tuple) else (200, answer)
            writer.write(reply(status, body if isinstance(body, str) else json.dumps(body)))

        async def play():
            async with scripted(respond) as server:
                snapshots = Snapshots(
                    server.endpoints, credentials, clock, symbols=["AAPL", "BTC/USD"], **options
                )
                try:
                    return await scenario(snapshots, server)
                finally:
                    await snapshots.close()

        return run(play())

    return start


def test_the_account_knows_when_it_was_asked_for(ask):
    account = {"account_number": "PA1", "status": "ACTIVE", "cash": "1", "equity": "2", "buying_power": "3"}
    ticks = iter((10, 20))
    report = ask(lambda s, _: s.account(), {"/v2/account": account}, clock=lambda: next(ticks))
    assert (report.asked_ns, report.ts_ns, report.equity) == (10, 20, 2 * NANO)


def test_assets_the_venue_does_not_know_are_left_out(ask):
    aapl = {"class": "us_equity", "symbol": "AAPL", "status": "active", "tradable": True}
    btc = {"class": "crypto", "symbol": "BTC/USD", "status": "active", "tradable": True}
    routes = {"/v2/assets/AAPL": aapl, "/v2/assets/BTC%2FUSD": btc, "/v2/assets/ZZZ": NOT_FOUND}
    report = ask(lambda s, _: s.assets(["AAPL", "ZZZ", "BTC/USD"]), routes)
    assert [asset.symbol for asset in report.assets] == ["AAPL", "BTC/USD"]


def test_an_answer_about_another_asset_is_refused(ask):
    spy = {"class": "us_equity", "symbol": "SPY", "status": "active", "tradable": True}
    with pytest.raises(VenueUnavailable, match="answered SPY"):
        ask(lambda s, _: s.assets(["AAPL"]), {"/v2/assets/AAPL": spy})


def test_the_session_is_moved_to_our_clock(ask):
    """Our clock is 7 s ahead of the venue's, and the request took 2 s."""
    ticks = iter((VENUE_NS + 6 * NS_PER_S, VENUE_NS + 8 * NS_PER_S, VENUE_NS + 9 * NS_PER_S))
    routes = {"/v2/clock": CLOCK, "/v2/calendar": [{"date": "2026-11-20", "open": "09:30", "close": "16:00"}]}
    report = ask(lambda s, _: s.session(), routes, clock=lambda: next(ticks))
    assert report.is_open
    assert report.next_close_ns == VENUE_NS + (6 * 3600 + 7) * NS_PER_S
    assert report.open_ns == VENUE_NS + (-1800 + 7) * NS_PER_S


def test_our_clock_is_ahead_by_no_more_than_the_quickest_answer_shows(ask):
    """It was read before the answer came, so the way there counts against us, not the way and half of it back."""
    spans = ((6, 8), (6, 7), (1, 9))
    ticks = iter([VENUE_NS + s * NS_PER_S for asked, answered in spans for s in (asked, answered, answered)])
    routes = {"/v2/clock": CLOCK | {"is_open": False}}

    async def scenario(snapshots, _):
        return [(await snapshots.session()).ahead_max_ns // NS_PER_S for _ in spans]

    assert ask(scenario, routes, clock=lambda: next(ticks)) == [8, 7, 7]


@pytest.mark.parametrize("calendar", [[], [{"date": "2026-11-20", "open": "11:00", "close": "16:00"}]])
def test_an_opening_that_cannot_be_is_unknown(ask, calendar):
    report = ask(lambda s, _: s.session(), {"/v2/clock": CLOCK, "/v2/calendar": calendar})
    assert report.open_ns is None


def test_the_calendar_is_asked_for_once_a_day_and_not_when_closed(ask):
    async def scenario(snapshots, server):
        for _ in range(3):
            await snapshots.session()
        return [line for line in server.lines if "calendar" in line]

    calendar = [{"date": "2026-11-20", "open": "09:30", "close": "16:00"}]
    asked = ask(scenario, {"/v2/clock": CLOCK, "/v2/calendar": calendar})
    assert asked == ["GET /v2/calendar?start=2026-11-20&end=2026-11-20"]
    assert ask(scenario, {"/v2/clock": CLOCK | {"is_open": False}}) == []


def test_truth_is_open_orders_asked_orders_and_positions(ask):
    routes = {
        "/v2/orders": [order("open", legs=[order("leg")])],
        "/v2/orders:by_client_order_id?client_order_id=done": order("done", status="filled"),
        "/v2/orders:by_client_order_id?client_order_id=group": order("group", order_class="bracket"),
        "/v2/orders/id-group?nested=true": order(
            "group", order_class="bracket", legs=[order("tp"), order("sl")]
        ),
        "/v2/orders:by_client_order_id?client_order_id=never": NOT_FOUND,
        "/v2/positions": [{"symbol": "BTCUSD", "asset_class": "crypto", "qty": "1", "avg_entry_price": "1"}],
    }

    async def scenario(snapshots, server):
        report = await snapshots.truth(["open", "done", "group", "never", "done"])
        return report, server.lines

    report, lines = ask(scenario, routes)
    assert [(o.client_order_id, len(o.legs)) for o in report.orders] == [
        ("open", 1),
        ("done", 0),
        ("group", 2),
    ]
    assert report.missing == ("never",)
    assert [position.symbol for position in report.positions] == ["BTC/USD"]
    assert lines[:2] == [
        "GET /v2/positions",
        "GET /v2/orders?status=open&limit=500&nested=true&direction=asc",
    ]
    assert len(lines) == 6


def test_open_orders_are_read_to_the_last_page(ask):
    base = "/v2/orders?status=open&limit=500&nested=true&direction=asc"
    rows = [order(f"o{n}") for n in range(1100)]
    routes = {
        base: rows[:500],
        f"{base}&after_order_id=id-o499": rows[499:999],
        f"{base}&after_order_id=id-o998": rows[999:],
        "/v2/positions": [],
    }
    report = ask(lambda s, _: s.truth(), routes)
    assert [o.client_order_id for o in report.orders] == [f"o{n}" for n in range(1100)]


def test_a_full_page_that_brings_nothing_new_is_not_taken_for_the_last(ask):
    rows = [order(f"o{n}") for n in range(500)]
    with pytest.raises(VenueUnavailable, match="nothing new"):
        ask(lambda s, _: s.truth(), {"/v2/orders": rows, "/v2/positions": []})


DAY = "/v2/orders?status=all&limit=500&nested=true&direction=asc&after="
SINCE_NS = 1_000 * NS_PER_S


def ours(number, at_ms, **changes):
    name = f"hands-00000000-0000-4000-8000-{number:012d}-entry-1"
    return order(name, submitted_at=f"1970-01-01T00:16:{40 + at_ms / 1000:06.3f}Z", **changes)


def test_the_days_orders_are_read_to_the_last_page_and_only_ours_are_kept(ask):
    """Pages overlap by a millisecond: what was sent at the very moment at which one ends is on the next."""
    rows = [ours(n, n // 2, legs=[order(f"leg{n}")] if n % 7 == 0 else None) for n in range(700)]
    rows[5] = order("somebody-elses", submitted_at="1970-01-01T00:16:40.002Z")
    first, second = rows[:440], rows[436:]
    routes = {
        f"{DAY}1970-01-01T00%3A16%3A39.999000000Z": first,
        f"{DAY}1970-01-01T00%3A16%3A40.218000000Z": second,
    }

    async def scenario(snapshots, server):
        return await snapshots.day_orders(SINCE_NS), server.lines

    report, lines = ask(scenario, routes)
    assert [o.order_id for o in report.orders] == [row["id"] for n, row in enumerate(rows) if n != 5]
    assert report.since_ns == SINCE_NS
    assert len(report.orders[0].legs) == 1
    assert len(lines) == 2


def test_of_what_is_held_the_older_orders_are_read_too(ask):
    old, new, strange = ours(1, 0), ours(2, 5), order("app-1")
    routes = {
        "/v2/orders?status=all&limit=500&nested=true&direction=desc&symbols=AAPL%2CBTC%2FUSD": [
            strange,
            new,
            old,
        ],
        f"{DAY}1970-01-01T00%3A16%3A39.999000000Z": [new],
    }
    report = ask(lambda s, _: s.day_orders(SINCE_NS, ("AAPL", "BTC/USD")), routes)
    assert sorted(o.client_order_id for o in report.orders) == [
        old["client_order_id"],
        new["client_order_id"],
    ]


@pytest.mark.parametrize("status", [422, 404, 400, 500, 429])
def test_a_held_symbol_that_the_venue_will_not_list_does_not_keep_the_day_from_being_counted(ask, status):
    """What is held may be anything; but what the venue could not say just now is asked again."""
    routes = {
        "/v2/orders?status=all&limit=500&nested=true&direction=desc&symbols=ODD": (
            status,
            {"message": "symbol not found"},
        ),
        f"{DAY}1970-01-01T00%3A16%3A39.999000000Z": [ours(1, 0)],
    }
    if status in (500, 429):
        with pytest.raises(VenueUnavailable):
            ask(lambda s, _: s.day_orders(SINCE_NS, ("ODD",)), routes)
    else:
        assert len(ask(lambda s, _: s.day_orders(SINCE_NS, ("ODD",)), routes).orders) == 1


@pytest.mark.parametrize("at_ms", [0, 10_000])
def test_a_full_page_of_the_days_orders_that_brings_nothing_new_is_not_taken_for_the_last(ask, at_ms):
    rows = [ours(n, at_ms) for n in range(500)]
    with pytest.raises(VenueUnavailable, match="nothing new"):
        ask(lambda s, _: s.day_orders(SINCE_NS), {"/v2/orders": rows})


def test_the_days_orders_wait_for_the_request_budget_page_by_page(ask):
    budget = RateBudget(entries_max=1, regular_max=1, queries_max=9)
    rows = [ours(n, n) for n in range(500)]
    with pytest.raises(VenueUnavailable, match="request budget"):
        ask(lambda s, _: s.day_orders(SINCE_NS), {"/v2/orders": rows}, budget=budget)


@pytest.mark.parametrize("answer", [(500, "down"), (200, "[{}]"), (404, "<html>")])
def test_a_list_of_the_days_orders_that_is_not_one_counts_as_no_answer(ask, answer):
    with pytest.raises(VenueUnavailable):
        ask(lambda s, _: s.day_orders(SINCE_NS), {"/v2/orders": answer})


def test_regular_questions_stop_first_then_pressing_ones_and_the_rest_is_for_protection(ask):
    """Traps 20 and 25."""
    budget = RateBudget(entries_max=3, regular_max=4, queries_max=7)
    routes = {"/v2/orders": [], "/v2/positions": [], "/v2/orders:by_client_order_id": NOT_FOUND}

    async def scenario(snapshots, server):
        await snapshots.truth(["x"])
        budget.note()
        for regular in (snapshots.account(), snapshots.session(), snapshots.truth(regular=True)):
            with pytest.raises(VenueUnavailable, match="request budget"):
                await regular
        await snapshots.truth()
        with pytest.raises(VenueUnavailable, match="request budget"):
            await snapshots.truth()
        return [line.partition(" ")[2].partition("?")[0] for line in server.lines]

    assert ask(scenario, routes, budget=budget) == [
        "/v2/positions",
        "/v2/orders",
        "/v2/orders:by_client_order_id",
        "/v2/positions",
        "/v2/orders",
    ]


def test_quotes_stop_at_the_data_hosts_own_budget(ask):
    async def scenario(snapshots, server):
        for _ in range(snapshots._data_budget.regular_max):
            snapshots._data_budget.note()
        with pytest.raises(VenueUnavailable, match="request budget"):
            await snapshots.latest_quote("AAPL")
        return len(server.requests)

    assert ask(scenario, {"/v2/stocks/AAPL/quotes/latest": {"quote": QUOTE}}) == 0


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((401, {"message": "unauthorized."}), "HTTP 401 unauthorized"),
        ((429, "<html><title>429 Too Many Requests</title></html>"), "HTTP 429 429 Too Many Requests"),
        ((500, ""), "HTTP 500"),
        ((302, ""), "HTTP 302"),
        ((404, "<html>"), "HTTP 404"),
        ((200, "<html>"), "cannot be read"),
        ((200, [{"id": 5}]), "cannot be read"),
        ((200, {}), "cannot be read"),
    ],
)
def test_a_part_that_is_missing_spoils_the_whole_truth(ask, credentials, answer, says):
    with pytest.raises(VenueUnavailable) as error:
        ask(lambda s, _: s.truth(), {"/v2/orders": answer, "/v2/positions": []})
    assert says in str(error.value)
    assert credentials.secret not in str(error.value)


def test_only_the_venue_itself_can_say_that_an_order_does_not_exist(ask):
    routes = {
        "/v2/orders": [],
        "/v2/positions": [],
        "/v2/orders:by_client_order_id": (404, "<html>not found</html>"),
    }
    with pytest.raises(VenueUnavailable):
        ask(lambda s, _: s.truth(["x"]), routes)


def test_latest_quotes(ask):
    routes = {
        "/v2/stocks/AAPL/quotes/latest?feed=iex": {"symbol": "AAPL", "quote": QUOTE},
        "/v1beta3/crypto/us/latest/quotes?symbols=BTC%2FUSD": {"quotes": {}},
    }

    async def scenario(snapshots, _):
        return await snapshots.latest_quote("AAPL"), await snapshots.latest_quote("BTC/USD")

    assert ask(scenario, routes) == ((1.0, 2.0, 3.0, 4.0, NS_PER_S), None)


def test_questions_to_the_trading_host_count_and_those_to_the_data_host_do_not(ask):
    budget = RateBudget()

    async def scenario(snapshots, _):
        await snapshots.truth()
        await snapshots.latest_quote("AAPL")

    routes = {"/v2/orders": [], "/v2/positions": [], "/v2/stocks/AAPL/quotes/latest": {"quote": QUOTE}}
    ask(scenario, routes, budget=budget)
    assert budget.used == 2


def test_the_calendar_is_read_in_nanoseconds_with_its_extended_hours(ask):
    days = [
        {
            "date": "2026-11-25",
            "open": "09:30",
            "close": "16:00",
            "session_open": "0400",
            "session_close": "2000",
        },
        {"date": "2026-11-27", "open": "09:30", "close": "13:00"},
    ]
    first, half = ask(lambda s, _: s.sessions(date(2026, 11, 20), date(2026, 11, 27)), {"/v2/calendar": days})
    assert (first.open_ns - first.early_ns, first.late_ns - first.close_ns) == (
        5.5 * 3600 * 10**9,
        4 * 3600 * 10**9,
    )
    assert half.close_ns - half.open_ns == 3.5 * 3600 * 10**9
    assert half.late_ns - half.early_ns == 16 * 3600 * 10**9


@pytest.mark.parametrize("day", [{"date": "2026-11-25"}, {"date": "x", "open": "09:30", "close": "16:00"}, 5])
def test_a_calendar_that_cannot_be_read_is_none(ask, day):
    with pytest.raises(VenueUnavailable, match="calendar"):
        ask(lambda s, _: s.sessions(date(2026, 11, 20), date(2026, 11, 27)), {"/v2/calendar": [day]})


# --- fills --------------------------------------------------------------------------------------------------

FILLS = "/v2/account/activities/FILL?after=1970-01-01T00%3A16%3A40.000000000Z&direction=asc&page_size=100"


def fill(number, **changes):
    fields = {
        "id": f"20260105100000{number % 1000:03d}::{number:08d}-0000-4000-8000-000000000000",
        "activity_type": "FILL",
        "transaction_time": "2026-01-05T15:00:00.123457Z",
        "type": "partial_fill",
        "price": "150.000000001",
        "qty": "0.000000001",
        "side": "buy",
        "symbol": "AAPL",
        "leaves_qty": "1",
        "order_id": "o1",
        "cum_qty": "2",
        "order_status": "partially_filled",
    }
    return fields | changes


def test_fills_are_read_to_the_last_page_by_the_last_items_id(ask):
    rows = [fill(n) for n in range(230)]

    def page(token=None):
        return FILLS if token is None else f"{FILLS}&page_token={quote(rows[token]['id'], safe='')}"

    # the venue does not order the fills of one millisecond: a page may repeat some of the one before
    routes = {page(): rows[:100], page(99): rows[95:195], page(194): rows[195:]}
    report = ask(lambda s, _: s.fills(SINCE_NS), routes)
    assert [f.execution_id for f in report.fills] == [row["id"].partition("::")[2] for row in rows]
    first = report.fills[0]
    assert (first.order_id, first.qty, first.price, first.cum_qty) == ("o1", 1, 150 * NANO + 1, 2 * NANO)
    assert first.at_ns == 1767625200123457000
    assert report.after_ns == SINCE_NS


def test_a_full_page_of_fills_that_brings_nothing_new_is_not_taken_for_the_last(ask):
    rows = [fill(n) for n in range(100)]
    with pytest.raises(VenueUnavailable, match="nothing new"):
        ask(lambda s, _: s.fills(SINCE_NS), {"/v2/account/activities/FILL": rows})


def in_pages(rows):
    """Answer every question about fills with the page of `rows` that it asks for."""
    routes = {FILLS: rows[:100]}
    for n in range(100, len(rows) + 1, 100):
        routes[f"{FILLS}&page_token={quote(rows[n - 1]['id'], safe='')}"] = rows[n : n + 100]
    return routes


def test_of_a_list_of_fills_without_end_the_oldest_are_taken(ask):
    """Never answered, it would be asked for again and again, and take the requests away from all else."""
    rows = [fill(n) for n in range(FILLS_MAX + 300)]

    async def scenario(snapshots, server):
        report = await snapshots.fills(SINCE_NS)
        return report, len(server.requests)

    report, asked = ask(scenario, in_pages(rows))
    assert [f.execution_id for f in report.fills] == [r["id"].partition("::")[2] for r in rows[:FILLS_MAX]]
    assert asked == FILLS_MAX // 100


@pytest.mark.parametrize("again_ns", [SINCE_NS, SINCE_NS + 1])
def test_a_list_of_fills_that_was_broken_off_goes_on_where_it_was(ask, again_ns):
    rows = [fill(n) for n in range(250)]
    routes = in_pages(rows)
    third = routes.popitem()
    routes |= {key.replace("40.000000000", "40.000000001"): rows for key, rows in routes.items()}

    async def scenario(snapshots, server):
        with pytest.raises(VenueUnavailable, match="599"):
            await snapshots.fills(SINCE_NS)
        routes.update([third, (third[0].replace("40.000000000", "40.000000001"), third[1])])
        before = len(server.requests)
        return await snapshots.fills(again_ns), len(server.requests) - before

    report, asked = ask(scenario, routes)
    assert len(report.fills) == 250
    assert asked == (1 if again_ns == SINCE_NS else 3)


def test_fills_wait_for_the_request_budget_page_by_page(ask):
    budget = RateBudget(entries_max=1, regular_max=1, queries_max=9)
    routes = {"/v2/account/activities/FILL": [fill(n) for n in range(100)]}
    with pytest.raises(VenueUnavailable, match="request budget"):
        ask(lambda s, _: s.fills(SINCE_NS), routes, budget=budget)


@pytest.mark.parametrize(
    "answer",
    [
        (500, "down"),
        "[{}]",
        "{}",
        [fill(1, qty="many")],
        [fill(1, qty="1e999999")],
        [fill(1, qty=None)],
        [fill(1, transaction_time="then")],
        [fill(1, activity_type="CFEE")],
    ],
    ids=str,
)
def test_a_list_of_fills_that_is_not_one_counts_as_no_answer(ask, answer):
    with pytest.raises(VenueUnavailable):
        ask(lambda s, _: s.fills(SINCE_NS), {"/v2/account/activities/FILL": answer})


def test_fills_written_as_numbers_are_read_as_exactly(ask):
    raw = json.dumps([fill(1)]).replace('"150.000000001"', "150.000000001").replace('"2"', "2")
    [found] = ask(lambda s, _: s.fills(SINCE_NS), {"/v2/account/activities/FILL": raw}).fills
    assert (found.price, found.cum_qty) == (150 * NANO + 1, 2 * NANO)


def test_the_venues_clock_bounds_ours_from_both_sides(ask):
    """It was read after the question and before the answer; where two answers contradict each other, one has stepped."""
    ticks = iter([VENUE_NS + n * NS_PER_S for n in (2, 9, 9, 4, 6, 6, -8, -7, -7)])

    async def scenario(snapshots, _):
        found = [await snapshots.session() for _ in range(3)]
        return [(r.ahead_min_ns // NS_PER_S, r.ahead_max_ns // NS_PER_S) for r in found]

    routes = {"/v2/clock": CLOCK | {"is_open": False}}
    assert ask(scenario, routes, clock=lambda: next(ticks)) == [(2, 9), (4, 6), (-8, -7)]
