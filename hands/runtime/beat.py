"""The engine's heartbeat, and its ear for the fence.

Owns the file `beat` (mapped, 0600) as far as the engine writes it, and `guard.json`. May not decide anything: a fence it
does not know, and a stall of its own, are told to the core as an event. The one idea: the beat is written by the loop's
own turn, so a loop that hangs stops beating; it says that the positions are looked after, so an engine that does not know
yet what is true (a start, a fence) does not beat either; and the fence is read in the same breath as an order is sent.

A beat costs a clock reading and one store, the fence one load (`python -m tests.watchdog.beat_cost` measures both). The
guard sheet is written a moment after open business has changed, never before an order leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import mmap
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from hands.core.events import AnyEvent, Fenced
from hands.core.guard_sheet import FILE_NAME as SHEET_NAME
from hands.core.guard_sheet import Guarded, GuardSheet, guarded_trades
from hands.core.heartbeat import (
    AT,
    BEAT_EVERY_NS,
    EPOCH,
    FENCE,
    FILE_NAME,
    SIZE,
    Beater,
    Phase,
    read_beater,
    read_dog,
    write_beater,
)
from hands.core.state import State
from hands.core.units import NS_PER_MS, NS_PER_S, Ns

log = logging.getLogger("hands")

SHEET_AFTER_S, SHEET_LATEST_S = 0.005, 0.5
SHEET_SHARE = 0.02
"""A sheet follows a change after this long, or later where it would take a larger share; one slow write of a busy disk
does not keep the next change from the watchdog for longer than `SHEET_LATEST_S`."""

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_UNENDED = frozenset({Phase.STARTING, Phase.TRADING})

DOG_LATE_NS = 3 * NS_PER_S
"""A watchdog silent for so long is not there."""


def boot_number() -> int:
    """Return a number of this start of the machine: monotonic times of another one say nothing. 0 where it has none."""
    try:
        return int(BOOT_ID.read_text("ascii").replace("-", "")[:16], 16)
    except (OSError, ValueError):
        return 0


def map_page(path: Path) -> memoryview | None:
    """Return the page's words, made where there is none; None where it cannot be."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.posix_fallocate(
                handle, 0, SIZE
            )  # a store into a page that the disk has no room for would kill us
            return memoryview(mmap.mmap(handle, SIZE)).cast("Q")
        finally:
            os.close(handle)
    except OSError as error:
        log.critical("%s: no heartbeat, so no watchdog can see this engine: %s", path, error.strerror)
        return None


def watchdog_beside(folder: Path) -> str:
    """Return how the watchdog of a state directory is, whether or not an engine runs: "alive", "late" or "absent"."""
    try:
        page = memoryview((folder / FILE_NAME).read_bytes())
    except OSError:
        return "absent"
    return _dog_word(page.cast("Q")) if len(page) == SIZE else "absent"


def watchdog_acts(folder: Path) -> int:
    """Return how many orders the watchdog that looked last has sent. Raises OSError where there is no page."""
    dog = read_dog(memoryview((folder / FILE_NAME).read_bytes()).cast("Q"))
    return 0 if dog is None else dog.acts


def _dog_word(words: memoryview) -> str:
    dog = read_dog(words)
    if dog is None or dog.boot != boot_number():
        return "absent"
    return "alive" if time.monotonic_ns() - dog.at_ns < DOG_LATE_NS else "late"


class Heartbeat:
    """Beats every 100 ms and with every order, from `start` to `stop`; tells `feed` of the fence and of stalls.

    `late_ns`: a stall this long is one that the watchdog may have taken for death.
    """

    def __init__(
        self,
        folder: Path,
        state: State,
        clock: Callable[[], Ns],
        feed: Callable[[AnyEvent], None],
        *,
        late_ns: int,
    ) -> None:
        page = map_page(folder / FILE_NAME)
        self._words = page if page is not None else memoryview(bytearray(SIZE)).cast("Q")
        self._sheet = folder / SHEET_NAME
        self._state = state
        self._clock = clock
        self._feed = feed
        self._late_ns = late_ns
        self._token = secrets.randbits(64)
        self._written: tuple[Guarded, ...] | None = None
        self._beats = False
        self._turned_ns = 0
        self._base = 0
        self._sheet_after_s = SHEET_AFTER_S
        self._timer: asyncio.TimerHandle | None = None
        self._sheet_timer: asyncio.TimerHandle | None = None

    # --- life ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to beat. What the watchdog did before this start is asked for like what it does during a stall.

        Who follows a death inherits its silence until the venue has named the truth: lives that end before that, one after
        the other, would else keep the watchdog away from what none of them looks after.

        A dry run looks after nothing, so it does not beat: whoever died here before it is still guarded.
        """
        if self._state.dry_run:
            return
        # the core counts fences from its start, so that a journal says all it knew
        self._base = self._words[EPOCH]
        before = read_beater(self._words)
        if before is None or before.boot != boot_number() or before.phase not in _UNENDED:
            self._words[AT] = time.monotonic_ns()
        self._name(Phase.STARTING)
        self._beats, self._turned_ns = True, time.monotonic_ns()
        self.note()
        self._turn()

    def trades(self) -> None:
        """Say that the start is over. How long a part of it took is no stall: the fence alone says whether it mattered."""
        if self._beats:
            self._turned_ns = time.monotonic_ns()
            self._name(Phase.TRADING)

    def stop(self, *, orderly: bool) -> None:
        """Stop beating, with the last sheet; an `orderly` end is said, any other shows as silence."""
        for timer in (self._timer, self._sheet_timer):
            if timer is not None:
                timer.cancel()
        if not self._beats:
            return
        self._beats = False
        self._write_sheet()
        if orderly:
            self._name(Phase.STOPPED)

    def _name(self, phase: Phase) -> None:
        beater = Beater(pid=os.getpid(), token=self._token, boot=boot_number(), phase=phase)
        write_beater(self._words, beater, time.monotonic_ns() if self._state.reconciled else self._words[AT])

    # --- beating -------------------------------------------------------------------------------------------

    def touch(self) -> None:
        """Beat."""
        if self._beats and self._state.reconciled:
            self._words[AT] = time.monotonic_ns()

    def is_fenced(self) -> bool:
        """Whether the fence stands where the core does not know it; then it is told, and nothing may be sent."""
        epoch = self._words[FENCE] - self._base
        if not self._beats or epoch == self._state.fence:
            return False
        reason = f"the watchdog raised fence {epoch + self._base}"
        self._feed(Fenced(ts_ns=self._clock(), epoch=epoch, reason=reason))
        return True

    def _turn(self) -> None:
        now_ns, words = time.monotonic_ns(), self._words
        still_ns, self._turned_ns = now_ns - self._turned_ns, now_ns
        if not self.is_fenced() and still_ns > self._late_ns and self._state.reconciled:
            reason = f"the engine stood still for {still_ns // NS_PER_MS} ms"
            self._feed(Fenced(ts_ns=self._clock(), epoch=words[FENCE] - self._base, reason=reason))
        if self._state.fenced_ns is None and words[EPOCH] != self._base + self._state.fence:
            words[EPOCH] = self._base + self._state.fence
        if self._state.reconciled:
            words[AT] = now_ns
        self._timer = asyncio.get_running_loop().call_later(BEAT_EVERY_NS / NS_PER_S, self._turn)

    def watchdog(self) -> str:
        """Return how the watchdog is: "alive", "late" or "absent"."""
        return _dog_word(self._words)

    # --- the guard sheet -----------------------------------------------------------------------------------

    def note(self) -> None:
        """Write the guard sheet anew in a moment, if it says something else by then."""
        if self._sheet_timer is None and self._beats:
            loop = asyncio.get_running_loop()
            self._sheet_timer = loop.call_later(self._sheet_after_s, self._write_sheet)

    def _write_sheet(self) -> None:
        self._sheet_timer = None
        began_s = time.monotonic()
        self._replace_sheet()
        took_s = time.monotonic() - began_s
        self._sheet_after_s = min(max(SHEET_AFTER_S, took_s / SHEET_SHARE), SHEET_LATEST_S)

    def _replace_sheet(self) -> None:
        account = self._state.account
        trades = guarded_trades(self._state)
        if trades == self._written or account is None:
            return
        sheet = GuardSheet(
            venue=str(self._state.venue),
            account=account.account_number,
            written_ns=time.time_ns(),
            trades=trades,
        )
        new = self._sheet.with_suffix(".new")
        try:
            with open(new, "wb", opener=_private) as file:
                file.write(msgspec.json.encode(sheet))
            new.replace(self._sheet)
        except OSError as error:  # the watchdog then goes by what the venue shows alone
            log.warning("%s: not written: %s", self._sheet, error.strerror)
            with contextlib.suppress(OSError):
                new.unlink()
        else:
            self._written = trades


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
