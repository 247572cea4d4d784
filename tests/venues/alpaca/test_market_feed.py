from __future__ import annotations

import asyncio
import contextlib
import struct
import time

import msgspec
import pytest
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from hands.core.events import Link, LinkReport, TradingStatusReport, VenueClockMeasured
from hands.core.units import NS_PER_S
from hands.venues.alpaca.endpoints import Endpoints
from hands.venues.alpaca.frames import CancelError, TradingStatus
from hands.venues.alpaca.market_feed import MarketFeed
from hands.venues.alpaca.reconnect import Pace

QUICK = Pace(first_s=0.01, most_s=0.05, busy_s=0.1, refused_s=0.2, ready_within_s=1.0)
TRADE = {
    "T": "t",
    "S": "AAPL",
    "p": 150.5,
    "s": 10,
    "t": "2021-02-22T15:51:44Z",
    "i": 7,
    "c": ["@"],
    "z": "C",
}


class Venue:
    """A data server that follows `script`: what it does with the n-th connection."""

    def __init__(self, *script):
        self.script = list(script)
        self.connections = 0
        self.heard = []
        self.traded = 0

    async def __call__(self, ws):
        step = self.script[min(self.connections, len(self.script) - 1)]
        self.connections += 1
        self.path = ws.request.path
        self.headers = ws.request.headers
        with contextlib.suppress(ConnectionClosed):
            await step(self, ws)

    async def tell(self, ws, *messages):
        await ws.send(msgspec.msgpack.encode(messages))

    async def trade(self, ws):
        """Tell of a trade that was not told of before."""
        self.traded += 1
        await self.tell(ws, TRADE | {"i": self.traded})

    async def hear(self, ws):
        message = msgspec.msgpack.decode(await ws.recv())
        self.heard.append(message)
        return message


async def greet_and_authenticate(venue, ws):
    await venue.tell(ws, {"T": "success", "msg": "connected"})
    assert (await venue.hear(ws))["action"] == "auth"
    await venue.tell(ws, {"T": "success", "msg": "authenticated"})
    return await venue.hear(ws)


async def good(venue, ws):
    wanted = await greet_and_authenticate(venue, ws)
    await venue.tell(
        ws, {"T": "subscription", "trades": wanted["trades"], "quotes": wanted["quotes"], "bars": []}
    )
    await venue.trade(ws)
    while True:
        await venue.hear(ws)


async def good_then_gone(venue, ws):
    wanted = await greet_and_authenticate(venue, ws)
    await venue.tell(ws, {"T": "subscription", "trades": wanted["trades"], "quotes": wanted["quotes"]})
    await venue.trade(ws)
    await ws.close(1011)


async def mute(venue, ws):
    wanted = await greet_and_authenticate(venue, ws)
    await venue.tell(ws, {"T": "subscription", "trades": wanted["trades"], "quotes": wanted["quotes"]})
    await ws.wait_closed()


async def silent(venue, ws):
    await ws.wait_closed()


def failing(code, text="no"):
    async def step(venue, ws):
        await venue.tell(ws, {"T": "success", "msg": "connected"})
        await venue.hear(ws)
        await venue.tell(ws, {"T": "error", "code": code, "msg": text})
        await ws.wait_closed()

    return step


@pytest.fixture
def watch(run, credentials):
    """Run `scenario(feed, venue, rows, links)` against a venue that follows `script`."""

    def start(
        scenario,
        *script,
        symbols=("AAPL", "SPY"),
        link=Link.EQUITY_DATA,
        pace=QUICK,
        mute_after_s=60.0,
        clock=time.time_ns,
        **options,
    ):
        async def play():
            venue, rows, links = Venue(*script), [], []
            async with serve(venue, "127.0.0.1", 0, close_timeout=0.1) as server:
                port = server.sockets[0].getsockname()[1]
                feed = MarketFeed(
                    Endpoints.of(f"http://127.0.0.1:{port}"),
                    credentials,
                    symbols,
                    {symbol: n for n, symbol in enumerate(symbols)},
                    lambda array, count: rows.extend(array[:count].tolist()),
                    links.append,
                    clock,
                    link,
                    mute_after_s=mute_after_s,
                    pace=pace,
                    **options,
                )
                await feed.start()
                await scenario(feed, venue, rows, links)
                await feed.stop()

        run(play())

    return start


def test_rows_flow_after_the_whole_conversation(watch, wait_until, credentials):
    async def scenario(feed, venue, rows, links):
        await wait_until(lambda: len(venue.heard) == 3 and rows)
        assert venue.path == "/v2/iex"
        assert venue.headers["Content-Type"] == "application/msgpack"
        assert venue.heard == [
            {"action": "auth", "key": credentials.key_id, "secret": credentials.secret},
            {"action": "subscribe", "trades": ["AAPL", "SPY"], "quotes": ["AAPL", "SPY"]},
            {"action": "subscribe", "statuses": ["AAPL", "SPY"]},
        ]
        assert rows[0][:6] == (0, 1, 1, 0, 150.5, 10.0)
        assert [(event.link, event.up, event.reason) for event in links] == [(Link.EQUITY_DATA, True, "")]
        assert feed.is_up
        assert (feed.counts.rows, feed.counts.malformed) == (1, 0)

    watch(scenario, good)


def test_crypto_has_its_own_endpoint(watch, wait_until):
    async def scenario(feed, venue, rows, links):
        await wait_until(lambda: links)
        assert venue.path == "/v1beta3/crypto/us"
        assert links[0].link is Link.CRYPTO_DATA

    watch(scenario, good, symbols=("BTC/USD",), link=Link.CRYPTO_DATA)


def test_the_link_is_not_up_before_the_subscription_is_confirmed(watch, wait_until):
    async def no_ack(venue, ws):
        await greet_and_authenticate(venue, ws)
        await venue.trade(ws)
        await ws.wait_closed()

    async def scenario(feed, venue, rows, links):
        await wait_until(lambda: rows)
        assert not feed.is_up
        assert links == []

    watch(scenario, no_ack)


def test_trap_25_the_subscription_survives_a_lost_connection(watch, wait_until):
    async def scenario(feed, venue, rows, links):
        await wait_until(lambda: len(rows) == 3)
        await wait_until(lambda: feed.is_up)
        assert [event.up for event in links] == [True, False, True, False, True]
        assert sum("trades" in message for message in venue.heard) == 3
        assert "1011" in links[1].reason

    watch(scenario, good_then_gone, good_then_gone, good)


@pytest.mark.parametrize("code", [402, 406, 407, 409, 410, 411, 405, 413])
def test_trap_25_a_refusal_is_reported_once_and_never_a_hot_loop(watch, wait_until, code):

    async def scenario(feed, venue, rows, links):
        await wait_until(lambda: venue.connections == 2)
        assert [event.up for event in links] == [False]
        assert str(code) in links[0].reason
        await feed.stop()
        assert len(links) == 1

    patient = Pace(first_s=0.001, most_s=0.002, busy_s=0.3, refused_s=0.3)
    watch(scenario, failing(code), pace=patient)


def test_a_refusal_waits_longer_than_a_loss(watch, wait_until):
    async def scenario(feed, venue, rows, links):
        await wait_until(lambda: links)
        await feed.stop()
        assert venue.connections == 1

    watch(scenario, failing(402), pace=Pace(first_s=0.0, most_s=0.0, refused_s=3600.0))


def good_then_slow(code):
    """Serve like `good`, and then say that the client does not keep up."""

    async def step(venue, ws):
        wanted = await greet_and_authenticate(venue, ws)
        await venue.tell(ws, {"T": "subscription", "trades": wanted["trades"], "quotes": wanted["quotes"]})
        await venue.trade(ws)
        await venue.tell(ws, {"T": "error", "code": code, "msg": "slow client"})
        await ws.wait_closed()

    return step


def test_trap_28_a_client_that_is_called_slow_comes_back_later_and_says_why(watch, wait_until):
    """The venue may still be clearing up: not at once, though the connection before was good."""
    waits = []

    async def scenario(feed, venue, rows, links):
        await wait_until(lambda: len(rows) == 2)
        assert [event.up for event in links] == [True, False, True]
        assert "407" in links[1].reason
        waits.append(time.monotonic())

    began = time.monotonic()
    patient = Pace(first_s=0.001, most_s=0.002, busy_first_s=0.2, busy_s=0.4)
    watch(scenario, good_then_slow(407), good, pace=patient)
    assert waits[0] - began >= 0.1, "half of what is waited at least is never jittered away"


def test_a_server_that_never_greets_is_left(watch, wait_until):
    async def scenario(feed, venue, rows, links):
        await wait_until(lambda: feed.is_up)
        assert [event.up for event in links] == [False, True]
        assert "confirmed nothing" in links[0].reason
        assert (
            sum(message["action"] == "auth" for message in venue.heard) == 1
        )  # no auth was sent to the one that did not greet

    watch(scenario, silent, good, pace=Pace(first_s=0.01, most_s=0.01, ready_within_s=0.3))


def test_connected_but_mute_is_a_loss(watch, wait_until):
    """Trap 24."""

    async def scenario(feed, venue, rows, links):
        await wait_until(lambda: rows)
        assert [event.up for event in links] == [True, False, True]
        assert "without any data" in links[1].reason
        feed.expect_data(None)

    watch(scenario, mute, good, mute_after_s=0.3)


def test_silence_is_allowed_where_it_is_expected(watch, wait_until):
    async def scenario(feed, venue, rows, links):
        await wait_until(lambda: feed.is_up)
        feed._watch_for_silence()
        assert feed.is_up

    watch(scenario, mute, mute_after_s=None)


def test_a_feed_that_was_quiet_before_the_open_is_not_dropped_at_the_open(watch, wait_until):
    async def scenario(feed, venue, rows, links):
        await wait_until(lambda: feed.is_up)
        feed._data_seen_ns -= 8 * 3600 * NS_PER_S  # a quiet night
        feed.expect_data(30.0)
        feed._watch_for_silence()
        assert feed.is_up
        feed._data_seen_ns -= 31 * NS_PER_S
        feed.expect_data(30.0)  # said again in the middle of the session: the clock runs on
        feed._watch_for_silence()
        assert not feed.is_up

    watch(scenario, mute, mute_after_s=None)


def test_a_bug_in_what_takes_the_rows_reaches_the_loop(run, credentials, wait_until):
    def fail(rows, count):
        raise RuntimeError("our own bug")

    async def play():
        heard = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
        async with serve(Venue(good), "127.0.0.1", 0, close_timeout=0.1) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            feed = MarketFeed(
                Endpoints.of(url),
                credentials,
                ("AAPL",),
                {"AAPL": 0},
                fail,
                lambda _: None,
                time.time_ns,
                Link.EQUITY_DATA,
                pace=Pace(first_s=60.0),
            )
            await feed.start()
            await wait_until(lambda: heard)
            await feed.stop()
        assert str(heard[0]["exception"]) == "our own bug"

    run(play())


def test_a_symbol_the_venue_leaves_out_is_named(watch, wait_until):
    async def partial(venue, ws):
        await greet_and_authenticate(venue, ws)
        await venue.tell(ws, {"T": "subscription", "trades": ["AAPL"], "quotes": ["AAPL", "SPY"]})
        await ws.wait_closed()

    async def scenario(feed, venue, rows, links):
        await wait_until(lambda: feed.is_up)
        assert links[0].reason == "not subscribed: SPY"

    watch(scenario, partial)


def test_garbage_on_the_stream_harms_nothing(watch, wait_until):
    async def noisy(venue, ws):
        wanted = await greet_and_authenticate(venue, ws)
        await ws.send(b"\xff\xff")
        await ws.send("not json")
        await venue.tell(ws, {"T": "zz"}, {"T": "success"}, {"T": "error", "code": 403})
        await venue.tell(ws, {"T": "subscription", "trades": wanted["trades"], "quotes": ["*"]})
        await venue.tell(ws, TRADE | {"S": "ZZZ"}, TRADE)
        await ws.wait_closed()

    async def scenario(feed, venue, rows, links):
        await wait_until(lambda: rows)
        counts = feed.counts
        assert (counts.unreadable_frames, counts.malformed, counts.unknown_symbols) == (2, 1, 1)
        assert [event.up for event in links] == [True]

    watch(scenario, noisy)


def test_trap_25_too_many_connections_at_the_door_is_waited_out(run, credentials, wait_until):
    async def play():
        attempts, links = [], []

        def refuse(ws, request):
            attempts.append(1)
            return ws.respond(429, "slow down\n")

        async with serve(lambda ws: ws.wait_closed(), "127.0.0.1", 0, process_request=refuse) as server:
            feed = MarketFeed(
                Endpoints.of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"),
                credentials, ["AAPL"], {"AAPL": 0}, lambda rows, count: None, links.append, lambda: 1,
                Link.EQUITY_DATA, pace=Pace(first_s=0.0, most_s=0.0, busy_s=3600.0),
            )  # fmt: skip
            await feed.start()
            await wait_until(lambda: links)
            assert "429" in links[0].reason
            await feed.stop()
            assert len(attempts) == 1

    run(play())


def talking(*messages):
    """Serve like `good`, and then say `messages`."""

    async def step(venue, ws):
        wanted = await greet_and_authenticate(venue, ws)
        await venue.tell(ws, {"T": "subscription", "trades": wanted["trades"], "quotes": wanted["quotes"]})
        for message in messages:
            await venue.tell(ws, *message)
        await ws.wait_closed()

    return step


STATUS = {"T": "s", "S": "AAPL", "sm": "", "rc": "T12", "rm": "Halted", "t": "2021-02-22T15:51:44Z", "z": "C"}
CANCEL = {"T": "x", "S": "SPY", "i": 465, "p": 144.6, "s": 1, "a": "C", "z": "B", "t": "2021-02-22T15:51:44Z"}


def test_halts_and_resumptions_are_events_and_other_codes_are_none(watch, wait_until):
    script = talking(*[(STATUS | {"sc": code},) for code in "HQT2P53"], (TRADE,))

    async def scenario(feed, venue, rows, links):
        await wait_until(lambda: rows)
        reports = [event for event in links if isinstance(event, TradingStatusReport)]
        assert [(r.code, r.halted) for r in reports] == [
            ("H", True), ("T", False), ("2", True), ("P", True), ("3", False),
        ]  # fmt: skip
        assert reports[0].symbol == "AAPL"
        assert reports[0].reason == "T12 Halted"
        assert reports[0].venue_ns == 1_614_009_104 * NS_PER_S
        assert feed.counts.notices == 7

    watch(scenario, script)


def test_of_the_venues_words_about_a_halt_only_so_many_are_passed_on(watch, wait_until):
    """They end up in the journal, the log and the receipts of whatever is denied for them."""
    script = talking((STATUS | {"sc": "H", "sm": "h" * 5_000, "rm": "r" * 5_000},), (TRADE,))

    async def scenario(feed, venue, rows, links):
        await wait_until(lambda: rows)
        (report,) = (event for event in links if isinstance(event, TradingStatusReport))
        assert (len(report.text), len(report.reason)) == (200, 200)

    watch(scenario, script)


def test_what_the_venue_says_beside_its_market_is_handed_on(watch, wait_until):
    notices = []

    async def scenario(feed, venue, rows, links):
        await wait_until(lambda: len(notices) == 2)
        assert [type(notice) for notice in notices] == [CancelError, TradingStatus]
        assert len(rows) == 1

    script = talking((CANCEL, TRADE, STATUS | {"sc": "Q"}))
    watch(scenario, script, on_notice=notices.append)


@pytest.mark.parametrize("code", [400, 405, 409, 410])
def test_a_feed_without_statuses_keeps_its_market_and_is_not_asked_again(watch, wait_until, code):
    async def without(venue, ws):
        wanted = await greet_and_authenticate(venue, ws)
        await venue.tell(ws, {"T": "subscription", "trades": wanted["trades"], "quotes": wanted["quotes"]})
        assert "statuses" in await venue.hear(ws)
        await venue.tell(ws, {"T": "error", "code": code, "msg": "no"})
        await venue.trade(ws)
        await ws.close()

    async def scenario(feed, venue, rows, links):
        await wait_until(lambda: len(rows) == 2)
        assert sum("statuses" in message for message in venue.heard) == 1
        assert [event.up for event in links if isinstance(event, LinkReport)] == [True, False, True]

    watch(scenario, without, good)


def test_a_trade_that_comes_twice_is_passed_on_once(watch, wait_until):
    later = TRADE | {"i": 8, "t": "2021-02-22T15:51:45Z"}

    async def scenario(feed, venue, rows, links):
        await wait_until(lambda: feed.counts.frames >= 6)
        assert [row[-1] for row in rows] == [7, 8, 9]
        assert feed.repeated == 3
        assert feed.counts.rows == 3
        assert feed.take_disordered() == [0], "the third was made before the second"
        assert feed.take_disordered() == []

    script = talking((TRADE, later), (TRADE,), (later, TRADE | {"i": 9}, TRADE))
    watch(scenario, script)


def stamped(at_ns, trade_id):
    packed = struct.pack(">Q", (at_ns % NS_PER_S) << 34 | at_ns // NS_PER_S)
    return TRADE | {"i": trade_id, "t": msgspec.msgpack.Ext(-1, packed)}


@pytest.mark.parametrize(("ahead_max_s", "expected"), [(None, [2]), (-30, [1, 2])])
def test_trap_29_a_row_from_the_future_is_left_out_unless_it_is_our_clock_that_is_behind(
    watch, wait_until, ahead_max_s, expected
):
    """What came after it would seem late: no last price, no trigger, no quote until its time has come."""

    async def says(venue, ws):
        await talking(
            *[(stamped(time.time_ns() + n * NS_PER_S, trade_id),) for trade_id, n in ((1, 20), (2, 1))]
        )(venue, ws)

    async def scenario(feed, venue, rows, links):
        feed.ahead_max_ns = None if ahead_max_s is None else ahead_max_s * NS_PER_S
        await wait_until(lambda: len(rows) == len(expected))
        assert [row[-1] for row in rows] == expected
        assert feed.from_future == 2 - len(expected)

    watch(scenario, says)


def test_a_new_connection_is_heard_of_but_the_last_row_stays_the_last(watch, wait_until):
    async def scenario(feed, venue, rows, links):
        await wait_until(lambda: [event.up for event in links] == [True, False, True])
        assert len(rows) == 1
        assert 0 < feed.last_row_ns < feed.up_since_ns == feed.heard_ns

    watch(scenario, good_then_gone, mute)


def test_the_crypto_feed_is_not_asked_for_statuses(watch, wait_until):
    async def scenario(feed, venue, rows, links):
        await wait_until(lambda: feed.is_up)
        await feed.stop()
        assert not any("statuses" in message for message in venue.heard)

    watch(scenario, good, symbols=("BTC/USD",), link=Link.CRYPTO_DATA)


def test_silence_is_judged_by_whoever_was_named_and_excused_for_longer_each_time(watch, wait_until):
    asked = []

    async def scenario(feed, venue, rows, links):
        await wait_until(lambda: asked)
        assert asked[0] is Link.EQUITY_DATA
        assert feed.is_up, "the feed does not judge by itself any more"
        feed.excuse()
        assert feed._excused == 2
        for _ in range(9):
            feed.excuse()
        assert feed._excused == 16
        feed.drop("the venue has more")
        await wait_until(lambda: len(links) == 3)
        assert [event.up for event in links] == [True, False, True]
        assert links[1].reason == "the venue has more"

    watch(scenario, mute, mute_after_s=0.05, on_silence=asked.append)


def test_the_venues_clock_is_measured_and_told(watch, wait_until):
    """Stamps 1.3 s ahead of us; time passes ten times as fast."""
    began_ns = time.time_ns()

    def clock():
        return began_ns + 10 * (time.time_ns() - began_ns)

    async def ahead(venue, ws):
        wanted = await greet_and_authenticate(venue, ws)
        await venue.tell(ws, {"T": "subscription", "trades": wanted["trades"], "quotes": wanted["quotes"]})
        with contextlib.suppress(ConnectionClosed):
            while True:
                now_ns = clock() + 1_300_000_000
                stamp = msgspec.msgpack.Ext(
                    -1, struct.pack(">Q", (now_ns % NS_PER_S) << 34 | now_ns // NS_PER_S)
                )
                await venue.tell(ws, TRADE | {"t": stamp})
                await asyncio.sleep(0.01)

    async def scenario(feed, venue, rows, links):
        await wait_until(lambda: any(isinstance(event, VenueClockMeasured) for event in links), 10)
        (measured, *_) = [event for event in links if isinstance(event, VenueClockMeasured)]
        assert measured.link is Link.EQUITY_DATA
        assert -1.3e9 <= measured.offset_ns < -1.0e9
        assert feed.venue_offset_ns == measured.offset_ns

    watch(scenario, ahead, clock=clock)
