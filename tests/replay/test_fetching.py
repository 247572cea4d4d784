"""Fetching history: pages, patience, what is refused, and a spool that no death spoils."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from hands.replay.fetching import (
    FAILURES_MAX,
    Fetch,
    FetchError,
    Request,
    Unanswered,
    check,
    finish,
    part_of,
    taken_up,
)
from hands.replay.sources import open_market
from hands.replay.spool import MAGIC, Spool, SpoolError
from hands.sim.market.times import time_ns
from hands.venues.alpaca.endpoints import Credentials, Endpoints
from hands.venues.alpaca.rate import RateBudget
from tests.replay.history_server import ITEMS, PAGE, HistoryServer, history_server, item

FROM_NS, TO_NS = time_ns("2024-01-02T00:00:00Z"), time_ns("2024-01-03T00:00:00Z")
PAGES = -(-ITEMS // PAGE)


@pytest.fixture
def venue() -> Iterator[HistoryServer]:
    with history_server() as served:
        yield served


def request_of(*symbols: str, kind: str = "trades") -> Request:
    return Request(symbols, kind, FROM_NS, TO_NS, "sip", "1Min" if kind == "bars" else "")


class Fetching:
    """Fetches into a spool in `folder`; `slept` are the waits that were asked for."""

    def __init__(self, venue: HistoryServer, path: Path, request: Request) -> None:
        self.venue, self.path, self.request = venue, path, request
        self.slept: list[float] = []
        self.shares: list[float] = []

    def run(self, budget: RateBudget | None = None) -> Fetch:
        with Spool(part_of(self.path)) as spool:
            return self._run(spool, budget)

    def to_file(self) -> Path:
        with Spool(part_of(self.path)) as spool:
            self._run(spool, None)
            ending = "".join(self.path.suffixes)
            finish(self.request, spool, self.path, ending, {"of": "a test"})
        return self.path

    def _run(self, spool: Spool, budget: RateBudget | None) -> Fetch:
        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)

        made = Fetch(
            taken_up(spool, self.request, has_end=True), Endpoints.of(self.venue.url), Credentials("k", "s"), spool,
            budget or RateBudget(), told=lambda progress: self.shares.append(progress.share), sleep=sleep, timeout_s=5,
        )  # fmt: skip
        asyncio.run(made.run())
        return made


# --- what is asked, and what comes of it -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["trades", "quotes", "bars"])
@pytest.mark.parametrize("ending", [".parquet", ".csv", ".csv.gz", ".jsonl", ".jsonl.gz"])
def test_what_is_fetched_is_a_market(venue: HistoryServer, tmp_path: Path, kind: str, ending: str) -> None:
    request = request_of("AAPL", "BTC/USD", kind=kind)
    path = Fetching(venue, tmp_path / f"x{ending}", request).to_file()
    market = open_market([path])
    rows = market.all_rows()
    assert market.symbols == ("AAPL", "BTC/USD")
    if kind == "trades":
        assert rows["trade_id"][rows["sym"] == 0].tolist() == [2**53 + n for n in range(ITEMS) if n != 7]
        assert rows["flags"][rows["sym"] == 0].tolist() == [2 if n % 3 else 1 for n in range(ITEMS) if n != 7]
        assert set(rows["flags"][rows["sym"] == 1].tolist()) == {1}
        assert rows["size"][rows["sym"] == 1].tolist() == [1e-9] * ITEMS
    if kind != "bars":
        assert rows["price"][rows["sym"] == 1].tolist() == [round(10.01 + n, 2) for n in range(ITEMS)]
        assert int(rows["venue_ns"][-1]) == time_ns(item(kind, "AAPL", ITEMS - 1)["t"])
    assert len(rows) == {"trades": 2 * ITEMS - 1, "quotes": 2 * ITEMS, "bars": 2 * ITEMS * 4}[kind]
    assert not part_of(path).exists()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_each_question_says_what_it_must_and_progress_only_grows(
    venue: HistoryServer, tmp_path: Path
) -> None:
    fetching = Fetching(venue, tmp_path / "x.csv", request_of("AAPL", "BTC/USD", kind="bars"))
    made = fetching.run()
    stock, coin = venue.asked[0], venue.asked[PAGES]
    assert stock == (
        "/v2/stocks/bars",
        {
            "symbols": "AAPL", "start": "2024-01-02T00:00:00.000000000Z", "end": "2024-01-02T23:59:59.999999999Z",
            "limit": "10000", "timeframe": "1Min", "feed": "sip",
        },
    )  # fmt: skip
    assert coin[0] == "/v1beta3/crypto/us/bars"
    assert "feed" not in coin[1]
    assert fetching.shares == sorted(fetching.shares)
    assert fetching.shares[-1] == 1.0
    assert (made.progress.items, made.progress.requests) == (2 * ITEMS, 2 * PAGES)


def test_the_file_is_the_same_wherever_the_pages_were_cut(venue: HistoryServer, tmp_path: Path) -> None:
    for kind in ("trades", "quotes", "bars"):
        for ending in (".parquet", ".csv.gz", ".jsonl"):
            made = []
            for size in (PAGE, 7):
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr("tests.replay.history_server.PAGE", size)
                    path = tmp_path / f"{kind}{size}{ending}"
                    made.append(
                        Fetching(venue, path, request_of("SPY", "AAPL", kind=kind)).to_file().read_bytes()
                    )
            assert made[0] == made[1], (kind, ending)


def test_a_symbol_without_anything_and_one_out_of_order(venue: HistoryServer, tmp_path: Path) -> None:
    venue.past = lambda kind, symbol, number: item(
        kind, symbol, ITEMS - 1 - number if symbol == "ODD" else number
    )
    path = Fetching(venue, tmp_path / "x.parquet", request_of("NONE", "ODD", "AAPL", kind="quotes")).to_file()
    market = open_market([path])
    rows = market.all_rows()
    assert len(rows) == 2 * ITEMS
    assert market.symbols == ("AAPL", "ODD")
    odd = rows[rows["sym"] == 1]
    assert (odd["venue_ns"] == rows[rows["sym"] == 0]["venue_ns"]).all()
    assert (rows["venue_ns"] == rows["recv_ns"]).all()


# --- patience ----------------------------------------------------------------------------------------------------


def test_trouble_that_passes_is_waited_out(venue: HistoryServer, tmp_path: Path) -> None:
    venue.troubles = [
        (429, {"Retry-After": "7"}, '{"code":42910000,"message":"rate limit exceeded"}'),
        (429, {"X-RateLimit-Reset": "99999999999"}, ""),
        (503, {}, "<html><title>503</title></html>"),
        (500, {"Retry-After": "soon"}, ""),
    ]
    fetching = Fetching(venue, tmp_path / "x.csv", request_of("AAPL"))
    assert fetching.run().progress.items == ITEMS
    assert [3.5 <= fetching.slept[0] <= 7, 45 <= fetching.slept[1] <= 90] == [True, True]
    assert len(fetching.slept) == 4
    assert len(venue.asked) == PAGES + 4


def test_it_gives_up_on_a_venue_that_does_not_recover_and_goes_on_later(
    venue: HistoryServer, tmp_path: Path
) -> None:
    fetching = Fetching(venue, tmp_path / "x.csv", request_of("AAPL"))
    venue.troubles = [(503, {}, "")] * FAILURES_MAX
    with pytest.raises(Unanswered, match="given up after 12 tries: HTTP 503"):
        fetching.run()
    assert fetching.run().progress.items == ITEMS


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ((403, {}, '{"message":"subscription does not permit querying recent SIP data"}'), "recent SIP data"),
        ((400, {}, '{"message":"invalid symbol: X"}'), "HTTP 400 invalid symbol"),
        ((401, {}, '{"message":"unauthorized."}'), "HTTP 401"),
        ((200, {}, "not json"), "cannot be read"),
        ((200, {}, '{"trades":{"AAPL":[{"t":"noon"}]}}'), "cannot be read"),
        ((200, {}, '{"trades":{"AAPL":[{"p":1}]}}'), "cannot be read"),
    ],
)
def test_what_would_be_the_same_again_is_not_asked_again(
    venue: HistoryServer, tmp_path: Path, trouble: tuple[int, dict[str, str], str], said: str
) -> None:
    venue.troubles = [trouble]
    fetching = Fetching(venue, tmp_path / "x.csv", request_of("AAPL"))
    with pytest.raises(FetchError, match=said):
        fetching.run()
    assert (len(venue.asked), fetching.slept) == (1, [])


def test_a_page_that_leads_to_itself_is_no_reason_to_go_on_for_ever(
    venue: HistoryServer, tmp_path: Path
) -> None:
    page = (200, {}, '{"trades":{},"next_page_token":"x"}')
    venue.troubles = [page, page]
    with pytest.raises(FetchError, match="circle"):
        Fetching(venue, tmp_path / "x.csv", request_of("AAPL")).run()


def test_the_budget_is_waited_for(venue: HistoryServer, tmp_path: Path) -> None:
    now_s = 0.0

    class Ticking(Fetching):
        def run(self, budget: RateBudget | None = None) -> Fetch:
            return super().run(RateBudget(entries_max=2, monotonic=lambda: now_s + sum(self.slept)))

    fetching = Ticking(venue, tmp_path / "x.csv", request_of("AAPL"))
    assert fetching.run().progress.pages == PAGES == 5
    assert fetching.slept == [60.0, 60.0]


# --- going on ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 1, PAGES - 1, PAGES, PAGES + 2])
def test_a_fetch_that_was_interrupted_ends_in_the_same_bytes(
    venue: HistoryServer, tmp_path: Path, after: int
) -> None:
    request = request_of("AAPL", "SPY")
    whole = Fetching(venue, tmp_path / "whole.parquet", request).to_file().read_bytes()
    venue.asked.clear()
    fetching = Fetching(venue, tmp_path / "x.parquet", request)
    answers = venue.answer
    count = 0

    def limited(path: str, query: dict[str, str]) -> tuple[int, dict[str, str], str]:
        nonlocal count
        count += 1
        return answers(path, query) if count != after + 1 else (400, {}, '{"message":"stop"}')

    venue.answer = limited  # type: ignore[method-assign]
    with pytest.raises(FetchError, match="stop"):
        fetching.run()
    part = part_of(fetching.path)
    part.write_bytes(part.read_bytes() + b"\x02\x00\x10")  # a record that a death has torn
    assert fetching.to_file().read_bytes() == whole
    assert len(venue.asked) == 2 * PAGES


def test_an_unfinished_fetch_of_something_else_is_not_touched(venue: HistoryServer, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    Fetching(venue, path, request_of("AAPL")).run()
    before = part_of(path).read_bytes()
    with Spool(part_of(path)) as spool:
        with pytest.raises(
            SpoolError, match=r"another fetch, trades of AAPL from 2024-01-02T00:00:00Z to .*\(sip\)"
        ):
            taken_up(spool, request_of("SPY"), has_end=True)
        later = Request(("AAPL",), "trades", FROM_NS, TO_NS + 1, "sip")
        assert taken_up(spool, later, has_end=False) == request_of("AAPL")
        with pytest.raises(SpoolError):
            taken_up(spool, later, has_end=True)
    assert part_of(path).read_bytes() == before


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request(("AAPL",), "trades", TO_NS, FROM_NS, "sip"), "--from must lie before --to"),
        (Request(("AAPL", "AAPL"), "trades", FROM_NS, TO_NS, "sip"), "a symbol twice: AAPL"),
        (Request(("aapl",), "trades", FROM_NS, TO_NS, "sip"), "'aapl' is no symbol"),
        (Request(("A,B",), "trades", FROM_NS, TO_NS, "sip"), "'A,B' is no symbol"),
        (Request(("A/B/C",), "trades", FROM_NS, TO_NS, "sip"), "'A/B/C' is no symbol"),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_meant_is_not_asked(request_: Request, said: str) -> None:
    assert check(request_) == [said]
    assert check(request_of("AAPL", "BRK.B", "BTC/USD")) == []


# --- the spool ---------------------------------------------------------------------------------------------------


def test_a_spool_has_what_was_put_into_it_also_while_it_grows(tmp_path: Path) -> None:
    with Spool(tmp_path / "s.part") as spool:
        assert spool.is_new
        spool.append(1, b"one")
        reading = spool.records()
        assert next(reading) == (1, b"one")
        spool.append(2, b"two" * 1000)
        spool.append(1, b"")
        assert [body for _, body in spool.records(frozenset({1}))] == [b"one", b""]
        places = [at for at, _ in spool.places(2)]
        assert [kind for kind, _ in spool.records(first=places[0])] == [2, 1]
        assert [kind for kind, _ in spool.records(end=places[0])] == [1]
        with pytest.raises(SpoolError, match="another process"):
            Spool(tmp_path / "s.part")
    with Spool(tmp_path / "s.part") as spool:
        assert [kind for kind, _ in spool.records()] == [1, 2, 1]


def test_whatever_is_torn_off_the_end_costs_one_record(tmp_path: Path) -> None:
    path = tmp_path / "s.part"
    ends = []
    with Spool(path) as spool:
        for number in range(4):
            spool.append(number, bytes([number]) * 40)
            ends.append(spool.bytes)
    whole = path.read_bytes()
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        with Spool(path) as spool:
            left = [kind for kind, _ in spool.records()]
            assert left == list(range(sum(end <= size for end in ends)))
            spool.append(9, b"on")
        with Spool(path) as spool:
            assert [kind for kind, _ in spool.records()] == [*left, 9]


def test_a_flipped_bit_ends_a_spool_before_it(tmp_path: Path) -> None:
    path = tmp_path / "s.part"
    with Spool(path) as spool:
        spool.append(1, b"one")
        second = spool.bytes
        spool.append(2, b"two")
    raw = bytearray(path.read_bytes())
    raw[second + 10] ^= 4
    path.write_bytes(raw)
    with Spool(path) as spool:
        assert [kind for kind, _ in spool.records()] == [1]


def test_a_file_that_is_no_spool_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.part"
    path.write_bytes(b"my thesis")
    with pytest.raises(SpoolError, match="in the way"):
        Spool(path)
    assert path.read_bytes() == b"my thesis"
    path.write_bytes(MAGIC[:5])  # it died as it began
    with Spool(path) as spool:
        assert spool.is_new
