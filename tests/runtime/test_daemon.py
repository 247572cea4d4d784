"""The daemon's own promises: which account it takes, and that its end comes in time and says what is open."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hands.core.events import AccountReport
from hands.core.units import NANO, NS_PER_S, Ns, Usd
from hands.journal.store import JournalStore
from hands.runtime.config import Options, Unsafe, load
from hands.runtime.daemon import Daemon
from hands.watchdog.page import Page, Pulse


@pytest.fixture
def options(root: Path, tmp_path: Path, state_dir: Path) -> Options:
    return Options(
        config=root / "config" / "hands.toml",
        limits=root / "config" / "risk_limits.toml",
        intents=tmp_path / "intents",
        state=state_dir,
        alpaca_url="http://127.0.0.1:1",
    )


@pytest.fixture
def on_daemon(options: Options, state_dir: Path) -> Callable[..., None]:
    """Run `scenario(daemon)` with a daemon that was assembled and not started."""

    def start(scenario: Callable[[Daemon], Awaitable[None]], **changes: Any) -> None:
        async def play() -> None:
            journal = JournalStore(state_dir / "journal.db")
            try:
                await scenario(Daemon(load(replace(options, **changes), {}), journal))
            finally:
                journal.close()

        asyncio.run(play())

    return start


def account(number: str) -> AccountReport:
    usd = Usd(100_000 * NANO)
    return AccountReport(
        ts_ns=Ns(1),
        asked_ns=Ns(1),
        account_number=number,
        status="ACTIVE",
        equity=usd,
        cash=usd,
        buying_power=usd,
        non_marginable_buying_power=usd,
        shorting_enabled=True,
    )


def test_an_account_number_that_was_given_must_be_the_accounts_on_paper_too(on_daemon: Any) -> None:
    async def scenario(daemon: Daemon) -> None:
        with pytest.raises(Unsafe, match="LIVE1 is not this account"):
            daemon._check_account(account("PAPER1"))
        daemon._check_account(account("LIVE1"))

    on_daemon(scenario, live="LIVE1")


def test_without_an_account_number_a_paper_account_is_taken(on_daemon: Any) -> None:
    async def scenario(daemon: Daemon) -> None:
        daemon._check_account(account("PAPER1"))

    on_daemon(scenario)


def test_the_end_does_not_wait_for_what_does_not_end_and_names_it(
    on_daemon: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def for_ever() -> None:
        await asyncio.Event().wait()

    async def scenario(daemon: Daemon) -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(daemon._order_entry, "stop", for_ever)
        monkeypatch.setattr(daemon._control_server, "close", for_ever)
        daemon._stop_by_s = loop.time() + 0.6
        async with asyncio.timeout(10):
            await daemon._close()
        assert daemon._exit_code == 3
        [said] = [r.getMessage() for r in caplog.records if "still open" in r.getMessage()]
        assert "order entry" in said
        assert "control socket" in said
        assert "questions" not in said

    on_daemon(scenario)


def test_an_end_by_our_own_bug_stays_one_and_is_silence_to_whoever_looks_at_the_beat(
    on_daemon: Any, monkeypatch: pytest.MonkeyPatch, state_dir: Path
) -> None:
    """Code 3 would keep a service manager from starting it again; an orderly end is looked after more seldom."""

    async def for_ever() -> None:
        await asyncio.Event().wait()

    async def scenario(daemon: Daemon) -> None:
        async def fail(_ready: Any) -> None:
            daemon._beat.start()
            raise ZeroDivisionError

        monkeypatch.setattr(daemon, "_start_and_trade", fail)
        monkeypatch.setattr(daemon._order_entry, "stop", for_ever)
        monkeypatch.setattr("hands.runtime.daemon.STOP_WITHIN_S", 0.6)
        with pytest.raises(ZeroDivisionError):
            await daemon.live(lambda _: None)
        assert daemon._exit_code == 1

    on_daemon(scenario)
    assert Page(state_dir, late_ns=60 * NS_PER_S).pulse() is not Pulse.STOPPED


def test_a_dry_run_is_told_to_order_entry(on_daemon: Any) -> None:
    async def scenario(daemon: Daemon) -> None:
        assert daemon._order_entry._read_only

    on_daemon(scenario, dry_run=True)


def test_what_a_feed_could_not_use_and_what_the_ledger_set_aside_is_shown(on_daemon: Any) -> None:
    async def scenario(daemon: Daemon) -> None:
        assert daemon._desk.answer({"do": "status"})["status"]["faults"] == {}
        feed = next(iter(daemon._market_data.feeds.values()))
        feed.counts.unreadable_frames = 2
        feed.counts.malformed = 1
        daemon._ledger._set_aside = 3
        faults = daemon._desk.answer({"do": "status"})["status"]["faults"]
        assert faults == {
            str(next(iter(daemon._market_data.feeds))): "2 frames that could not be read, 1 malformed rows",
            "ledger": "3 rows did not fit the tables of hands.db and were set aside there",
        }

    on_daemon(scenario)


def test_until_it_has_recovered_the_daemon_takes_no_orders_from_its_operator(on_daemon: Any) -> None:
    async def scenario(daemon: Daemon) -> None:
        assert not daemon._desk.answer({"do": "halt"})["ok"]
        assert daemon._desk.answer({"do": "view"})["ok"]

    on_daemon(scenario)
