from __future__ import annotations

import contextlib
import json
import logging

import pytest
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from hands.core.events import Link, LinkReport, OrderReport
from hands.venues.alpaca.endpoints import Endpoints
from hands.venues.alpaca.reconnect import Pace
from hands.venues.alpaca.trade_stream import AuthForm, TradeStream

QUICK = Pace(first_s=0.01, most_s=0.02, busy_s=0.05, refused_s=0.05, ready_within_s=1.0)
ORDER = {
    "id": "o1",
    "client_order_id": "c1",
    "symbol": "BTCUSD",
    "asset_class": "crypto",
    "side": "buy",
    "type": "limit",
    "status": "filled",
    "qty": "1",
    "filled_qty": "1",
}
FILL = {
    "stream": "trade_updates",
    "data": {
        "event": "fill",
        "execution_id": "e1",
        "order": ORDER,
        "timestamp": "2023-12-12T22:31:25Z",
        "price": "1",
        "qty": "1",
        "position_qty": "1",
    },
}
FLAT = {"action": "auth", "key": "KEYID", "secret": "sekrit-0123456789"}
NESTED = {"action": "authenticate", "data": {"key_id": "KEYID", "secret_key": "sekrit-0123456789"}}


class Venue:
    def __init__(self, accepts, frames):
        self.accepts = accepts
        self.frames = frames
        self.heard = []

    async def __call__(self, ws):
        with contextlib.suppress(ConnectionClosed):
            auth = json.loads(await ws.recv())
            self.heard.append(auth)
            status = "authorized" if auth in self.accepts else "unauthorized"
            await ws.send(
                json.dumps(
                    {"stream": "authorization", "data": {"status": status, "action": "authenticate"}}
                ).encode()
            )
            if status == "unauthorized":
                await ws.wait_closed()
                return
            listen = json.loads(await ws.recv())
            assert listen == {"action": "listen", "data": {"streams": ["trade_updates"]}}
            await ws.send(json.dumps({"stream": "listening", "data": {"streams": ["trade_updates"]}}))
            for frame in self.frames:
                await ws.send(frame)
            await ws.wait_closed()


@pytest.fixture
def listen(run, credentials):
    def start(scenario, *frames, accepts=(FLAT, NESTED), handler=None, **options):
        async def play():
            venue, events = handler or Venue(accepts, frames), []
            async with serve(venue, "127.0.0.1", 0, close_timeout=0.1) as server:
                stream = TradeStream(
                    Endpoints.of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"),
                    credentials,
                    events.append,
                    lambda: 42,
                    pace=QUICK,
                    **options,
                )
                await stream.start()
                await scenario(stream, venue, events)
                await stream.stop()

        run(play())

    return start


def links(events):
    return [event.up for event in events if isinstance(event, LinkReport)]


@pytest.mark.parametrize("frame", [json.dumps(FILL), json.dumps(FILL).encode()], ids=["text", "binary"])
def test_an_update_becomes_a_report_whatever_the_frame(listen, wait_until, frame):
    async def scenario(stream, venue, events):
        await wait_until(lambda: len(events) == 2)
        up, report = events
        assert isinstance(up, LinkReport)
        assert (up.link, up.up) == (Link.TRADE_UPDATES, True)
        assert isinstance(report, OrderReport)
        assert (report.ts_ns, report.order.symbol, report.execution.execution_id) == (42, "BTC/USD", "e1")
        assert venue.heard == [NESTED]

    listen(scenario, frame)


def test_duplicates_are_delivered_as_they_come(listen, wait_until):
    """Trap 4: the core absorbs them by execution id; here nothing is dropped."""

    async def scenario(stream, venue, events):
        await wait_until(lambda: len(events) == 4)
        assert len({event.execution.execution_id for event in events[1:]}) == 1

    listen(scenario, *[json.dumps(FILL)] * 3)


@pytest.mark.parametrize(("form", "only"), [(AuthForm.AUTHENTICATE, FLAT), (AuthForm.AUTH, NESTED)])
def test_the_other_form_of_auth_is_tried(listen, wait_until, form, only):
    async def scenario(stream, venue, events):
        await wait_until(lambda: stream.is_up)
        assert venue.heard[-1] == only
        assert len(venue.heard) == 2

    listen(scenario, accepts=(only,), auth_form=form)


def test_bad_credentials_are_told_without_the_secret(listen, wait_until, credentials):
    async def scenario(stream, venue, events):
        await wait_until(lambda: len(venue.heard) >= 3)
        assert not any(links(events))
        assert credentials.secret not in repr(events)
        assert "did not authorise" in events[0].reason

    listen(scenario, accepts=())


def test_the_secret_is_in_no_log_even_when_everything_is_logged(listen, wait_until, credentials, caplog):
    async def scenario(stream, venue, events):
        await wait_until(lambda: stream.is_up)

    caplog.set_level("DEBUG")
    logging.getLogger("websockets.server").setLevel("WARNING")  # the other side's business
    listen(scenario)
    assert credentials.secret not in caplog.text


def test_what_is_not_json_is_tolerated(listen, wait_until):
    async def scenario(stream, venue, events):
        await wait_until(lambda: any(isinstance(event, OrderReport) for event in events))
        assert links(events) == [True]
        assert stream.strange_frames == 5

    listen(
        scenario,
        b"\x01",
        "hello",
        "[]",
        json.dumps({"stream": "other"}),
        json.dumps({"hello": 1}),
        json.dumps(FILL),
    )


@pytest.mark.parametrize(
    "frame",
    [
        '{"stream":"trade_updates","data":{"event":"fi',
        json.dumps({"stream": "trade_updates", "data": {"event": "fill", "order": ORDER}}),
        json.dumps({"stream": "trade_updates"}),
    ],
)
def test_an_update_that_cannot_be_read_is_a_gap_on_a_connection_that_stays(listen, wait_until, frame):
    async def scenario(stream, venue, events):
        await wait_until(lambda: any(isinstance(event, OrderReport) for event in events))
        assert links(events) == [True, False, True]
        assert "could not be read" in events[1].reason
        assert len(venue.heard) == 1

    listen(scenario, frame, json.dumps(FILL))


def test_the_link_is_not_up_until_the_venue_lets_us_listen(listen, wait_until):
    async def handler(ws):
        with contextlib.suppress(ConnectionClosed):
            await ws.recv()
            await ws.send(json.dumps({"stream": "authorization", "data": {"status": "authorized"}}))
            await ws.recv()
            await ws.send(json.dumps({"stream": "listening", "data": {"streams": []}}))
            await ws.wait_closed()

    async def scenario(stream, venue, events):
        await wait_until(lambda: events)
        assert links(events) == [False]

    listen(scenario, handler=handler)


def test_an_error_of_the_venue_is_the_reason(listen, wait_until):
    async def handler(ws):
        with contextlib.suppress(ConnectionClosed):
            await ws.recv()
            await ws.send(json.dumps({"action": "error", "data": {"error_message": "too many"}}))
            await ws.wait_closed()

    async def scenario(stream, venue, events):
        await wait_until(lambda: events)
        assert "too many" in events[0].reason

    listen(scenario, handler=handler)
