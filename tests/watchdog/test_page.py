"""The shared page, both sides of it on a real file: silence, the fence, the sheet, the lock."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hands.core import heartbeat
from hands.core.events import AnyEvent, Fenced
from hands.core.heartbeat import AT, EPOCH, FENCE, SIZE, Beater, Phase, read_beater, read_dog, write_beater
from hands.core.state import State
from hands.core.units import NS_PER_MS, NS_PER_S, Ns
from hands.runtime.beat import Heartbeat, boot_number, map_page
from hands.watchdog.page import LockedElsewhere, Page, Pulse, take_lock
from tests.core.world import live, world

LATE_NS = 1000 * NS_PER_MS


def engine(folder: Path, feed: Callable[[AnyEvent], None], state: State | None = None) -> Heartbeat:
    return Heartbeat(folder, state or world(), lambda: Ns(time.time_ns()), feed, late_ns=LATE_NS)


def words_of(folder: Path) -> memoryview:
    found = map_page(folder / heartbeat.FILE_NAME)
    assert found is not None
    return found


def test_a_life_as_the_watchdog_sees_it(tmp_path: Path) -> None:
    page = Page(tmp_path, late_ns=LATE_NS)
    assert page.pulse() is Pulse.ABSENT
    page.beat()
    assert not (tmp_path / "beat").exists()  # the engine's file is the engine's to make

    async def life() -> None:
        beat = engine(tmp_path, lambda _: None)
        assert page.pulse() is Pulse.ABSENT
        assert beat.watchdog() == "absent"
        beat.start()
        page.beat()
        assert page.pulse() is Pulse.ALIVE
        assert beat.watchdog() == "alive"
        beat.trades()
        words = words_of(tmp_path)
        words[AT] = time.monotonic_ns() - LATE_NS - NS_PER_MS
        assert page.pulse() is Pulse.SILENT
        assert (page.silent_ms() or 0) >= 1000
        beat.touch()
        assert page.pulse() is Pulse.ALIVE
        beat.stop(orderly=True)

    asyncio.run(life())
    assert page.pulse() is Pulse.STOPPED
    assert (tmp_path / "beat").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "guard.json").stat().st_mode & 0o777 == 0o600


def test_an_end_that_was_not_orderly_is_silence(tmp_path: Path) -> None:
    async def life() -> None:
        beat = engine(tmp_path, lambda _: None)
        beat.start()
        beat.stop(orderly=False)

    asyncio.run(life())
    page = Page(tmp_path, late_ns=20 * NS_PER_MS)
    deadline = time.monotonic() + 5
    while page.pulse() is not Pulse.SILENT:
        assert time.monotonic() < deadline
    assert page.pulse() is Pulse.SILENT


def test_the_beat_of_another_boot_is_silence_however_high_its_number(tmp_path: Path) -> None:
    words = words_of(tmp_path)
    beater = Beater(pid=1, token=2, boot=boot_number() ^ 1, phase=Phase.TRADING)
    write_beater(words, beater, time.monotonic_ns() + 10**15)
    assert Page(tmp_path, late_ns=LATE_NS).pulse() is Pulse.SILENT


def test_a_number_of_the_future_is_silence_also_where_nobody_can_be_read(tmp_path: Path) -> None:
    words = words_of(tmp_path)
    write_beater(words, Beater(pid=1, token=2, boot=3, phase=Phase.TRADING), time.monotonic_ns() + 10**15)
    words[1] += 1  # killed while it was saying who it is
    assert Page(tmp_path, late_ns=LATE_NS).pulse() is Pulse.SILENT


def test_a_page_that_makes_no_sense_is_nobodys(tmp_path: Path) -> None:
    words = words_of(tmp_path)
    write_beater(words, Beater(pid=1, token=2, boot=3, phase=Phase.TRADING), 5)
    words[4] = 77
    assert read_beater(words) is None
    assert Page(tmp_path, late_ns=LATE_NS).pulse() is Pulse.SILENT


@pytest.mark.parametrize(
    ("orderly", "pulse"), [(False, Pulse.SILENT), (True, Pulse.ALIVE)], ids=["died", "stopped"]
)
def test_a_start_is_no_beat_where_the_life_before_it_died(
    tmp_path: Path, orderly: bool, pulse: Pulse
) -> None:
    """Else lives that end before they know what is true would keep the watchdog away for ever."""
    page = Page(tmp_path, late_ns=LATE_NS)

    async def life() -> None:
        beat = engine(tmp_path, lambda _: None)
        beat.start()
        beat.trades()
        beat.stop(orderly=orderly)
        words_of(tmp_path)[AT] -= 2 * LATE_NS
        for _ in range(3):
            state = world()
            state.reconciled = False
            again = engine(tmp_path, lambda _: None, state)
            again.start()
            assert page.pulse() is pulse
            again.stop(orderly=False)
        state.reconciled = True
        again.start()
        assert page.pulse() is Pulse.ALIVE
        again.stop(orderly=False)

    asyncio.run(life())


def test_a_writer_killed_in_the_middle_leaves_nobody_and_the_next_one_is_read() -> None:
    words = memoryview(bytearray(SIZE)).cast("Q")
    beater = Beater(pid=1, token=2, boot=3, phase=Phase.TRADING)
    write_beater(words, beater, 5)
    assert read_beater(words) == beater
    words[1] += 1  # odd: it is being written
    assert read_beater(words) is None
    write_beater(words, beater, 6)
    assert read_beater(words) == beater
    words[0] = 7  # another layout
    assert read_beater(words) is None


def test_a_fence_is_told_once_and_acknowledged_when_the_core_has_asked(tmp_path: Path) -> None:
    state, told = world(), list[AnyEvent]()

    def feed(event: AnyEvent) -> None:
        told.append(event)
        assert isinstance(event, Fenced)
        state.fence, state.fenced_ns = event.epoch, event.ts_ns

    async def life() -> None:
        beat = engine(tmp_path, feed, state)
        beat.start()
        assert not beat.is_fenced()
        page, words = Page(tmp_path, late_ns=LATE_NS), words_of(tmp_path)
        assert page.pulse() is Pulse.ALIVE
        assert page.raise_fence() == 1
        assert beat.is_fenced()
        assert not beat.is_fenced()  # the core knows: it is what keeps silent now
        beat._turn()
        assert words[EPOCH] == 0
        state.fenced_ns = None
        beat._turn()
        assert words[EPOCH] == words[FENCE] == 1
        beat.stop(orderly=True)

        again = engine(tmp_path, feed)
        again.start()  # a fence that was acknowledged is none
        words[FENCE] += 1
        assert again.is_fenced()
        again.stop(orderly=True)

    asyncio.run(life())
    assert [event.epoch for event in told if isinstance(event, Fenced)] == [1, 1]  # of each session


def test_a_start_after_the_watchdog_acted_begins_behind_the_fence(tmp_path: Path) -> None:
    words_of(tmp_path)[FENCE] = 3
    told: list[AnyEvent] = []

    async def life() -> None:
        beat = engine(tmp_path, told.append)
        beat.start()
        beat.stop(orderly=False)

    asyncio.run(life())
    assert [event.epoch for event in told if isinstance(event, Fenced)] == [3]


def test_a_stall_of_its_own_is_noticed_at_the_next_turn(tmp_path: Path) -> None:
    state, told = world(), list[AnyEvent]()

    async def life() -> None:
        beat = engine(tmp_path, told.append, state)
        beat.start()
        state.reconciled = True
        beat._turned_ns -= LATE_NS + NS_PER_MS
        beat._turn()
        beat._turn()
        beat.stop(orderly=False)

    asyncio.run(life())
    (event,) = told
    assert isinstance(event, Fenced)
    assert "stood still for 100" in event.reason


def test_an_engine_that_does_not_know_what_is_true_does_not_beat(tmp_path: Path) -> None:
    """Else a start whose questions go unanswered would leave its positions to nobody."""
    state = world()
    state.reconciled = False

    async def life() -> None:
        beat = engine(tmp_path, lambda _: None, state)
        beat.start()
        words = words_of(tmp_path)
        words[AT] = 7
        beat._turn()
        beat.touch()
        assert words[AT] == 7
        state.reconciled = True
        beat._turn()
        assert words[AT] > 7
        beat.stop(orderly=False)

    asyncio.run(life())


def test_a_dry_run_does_not_beat(tmp_path: Path) -> None:
    state = world()
    state.dry_run = True

    async def life() -> None:
        beat = engine(tmp_path, lambda _: None, state)
        beat.start()
        beat.trades()
        beat.touch()
        beat.stop(orderly=True)

    asyncio.run(life())
    assert Page(tmp_path, late_ns=LATE_NS).pulse() is Pulse.ABSENT


def test_the_sheet_says_what_is_open_and_is_replaced_whole(tmp_path: Path) -> None:
    state = world()
    page = Page(tmp_path, late_ns=LATE_NS)

    async def life() -> None:
        beat = engine(tmp_path, lambda _: None, state)
        beat.start()
        beat._write_sheet()
        sheet = page.sheet()
        assert sheet is not None
        assert sheet.trades == ()
        ticket = live(state, 1, "AAPL")
        state.touch(ticket)
        beat.note()
        await _until(lambda: bool(page.sheet().trades))  # type: ignore[union-attr]
        beat.stop(orderly=True)

    asyncio.run(life())
    sheet = page.sheet()
    assert sheet is not None
    (trade,) = sheet.trades
    assert (trade.symbol, trade.is_long, sheet.account) == ("AAPL", True, "PA000001")
    (tmp_path / "guard.json").write_bytes(b'{"venue": 1')
    assert page.sheet() is None


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110  a file is what is waited for
            await asyncio.sleep(0.002)


def test_a_sheet_that_is_no_file_is_none(tmp_path: Path) -> None:
    page = Page(tmp_path, late_ns=LATE_NS)
    os.mkfifo(tmp_path / "guard.json")
    assert page.sheet() is None
    (tmp_path / "guard.json").unlink()
    (tmp_path / "guard.json").mkdir()
    assert page.sheet() is None


def test_a_sheet_that_cannot_be_written_hurts_nobody(tmp_path: Path) -> None:
    (tmp_path / "guard.new").mkdir()

    async def life() -> None:
        beat = engine(tmp_path, lambda _: None)
        beat.start()
        beat._write_sheet()
        beat.stop(orderly=True)

    asyncio.run(life())
    assert not (tmp_path / "guard.json").exists()


def test_an_engine_that_can_make_no_page_lives_without(tmp_path: Path) -> None:
    (tmp_path / "beat").mkdir()
    told: list[AnyEvent] = []

    async def life() -> None:
        beat = engine(tmp_path, told.append)
        beat.start()
        assert not beat.is_fenced()
        beat.stop(orderly=True)

    asyncio.run(life())
    assert told == []


def test_two_watchdogs_do_not_share_a_directory(tmp_path: Path) -> None:
    handle = take_lock(tmp_path)
    with pytest.raises(LockedElsewhere, match=str(os.getpid())):
        take_lock(tmp_path)
    os.close(handle)
    os.close(take_lock(tmp_path))


def test_the_watchdogs_own_beat_is_read_back(tmp_path: Path) -> None:
    words = words_of(tmp_path)
    assert read_dog(words) is None
    page = Page(tmp_path, late_ns=LATE_NS)
    page.acts = 2
    page.beat()
    dog = read_dog(words)
    assert dog is not None
    assert (dog.pid, dog.acts) == (os.getpid(), 2)
    assert time.monotonic_ns() - dog.at_ns < NS_PER_S
