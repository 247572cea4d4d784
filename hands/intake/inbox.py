"""The inbox: watches the drop folder and delivers every document exactly once.

Owns when a document is read, and that it is delivered once. May not judge a document. The one idea: between the kernel's
word that a lone file is there and `deliver` everything is synchronous, on the event loop's own thread; of a flood a few
files are read for each one that is delivered, in slices, so that neither the market nor a document in its midst waits
for the rest.

Two ways lead to a document: the kernel's events, which prove that its writer is done, and a sweep of the folders (at
start, every two seconds, more often where the kernel does not tell, and when its queue overflowed), which proves nothing
and therefore leaves a file alone that was written to within the last second, or that the kernel told was begun and not
yet that it was closed. A file found both ways is delivered once.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from hands.core.events import DocumentReceived
from hands.core.units import NS_PER_S, Ns
from hands.intake import files
from hands.intake.backlog import Backlog, Waiting
from hands.intake.claims import Claim, Claims
from hands.intake.drops import DEFAULT_AGENT, Drop, DropFolders
from hands.intake.inotify import (
    BEGUN_MASK,
    GONE_MASK,
    IN_CREATE,
    IN_Q_OVERFLOW,
    FileEvent,
    NoWatcher,
    open_watcher,
)
from hands.intake.places import FolderHold, open_below
from hands.intake.reading import Identity, IntakeError, is_candidate, is_fresh, read_document, shown_name
from hands.intake.sweep import Sweep

HALT_FILE = "HALT"
RESCAN_S = 2.0
UNWATCHED_RESCAN_S = 0.25
"""The same while a folder is not watched: then sweeps are all there is."""

QUIET_S = 1.0
"""A sweep takes a file for finished when nothing was written to it for this long."""

POLLED_QUIET_S = 0.05
"""The same for events that do not prove that a file is finished (no inotify)."""

SLICE_FILES = 64
SLICE_S = 0.002
READ_AHEAD = 32
"""Files read for each document delivered: reading costs a tenth of judging, and shows whose deadline is next."""

SWEEP_NAMES = 200
"""Names that a sweep looks at in one slice: about half a millisecond."""

UNREAD_MAX = 4096
"""Files told of and not yet read; the kernel keeps further events meanwhile."""


class _Found(NamedTuple):
    """A file to be read; `complete` where it is proven or long enough ago that its writer was done."""

    drop: Drop
    name: str
    file_event_ns: Ns
    complete: bool


class Inbox:
    """The drop folder `folder`, for the agents named in `agents` (name -> user id that must own its files, or None).

    `clock` gives the time of an event (Unix ns), `deliver` takes each document, `on_halt` is called when a file HALT
    appears. Both are called on the loop's thread; what they raise goes to the loop's exception handler and does not
    stop the inbox. Where `folder` itself is a symbolic link, it is followed now and never again.
    """

    def __init__(
        self,
        folder: Path,
        agents: Mapping[str, int | None],
        *,
        clock: Callable[[], Ns],
        deliver: Callable[[DocumentReceived], None],
        on_halt: Callable[[], None],
    ) -> None:
        for agent in agents:
            if not agent or agent.startswith(".") or "/" in agent or shown_name(agent, suffix="") != agent:
                raise ValueError(f"{agent!r} cannot be an agent's name: it must be a plain folder name")
        self.folder = folder.resolve()
        self._agents = dict(agents)
        self._clock = clock
        self._deliver = deliver
        self._on_halt = on_halt
        self._claims = Claims()
        self._backlog = Backlog()
        self._unread: deque[_Found] = deque()
        self._sweep: Sweep | None = None
        self._last_sweep: Sweep | None = None
        self._sweep_due = False
        self._faults: dict[str, str] = {}
        self._kept_out: set[str] = set()
        self._halt_seen: tuple[int, int] | None = None
        self._draining: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._running = False
        self._hold = FolderHold(self.folder)

    @property
    def fault(self) -> str | None:
        """What is wrong with the folder, None while all is well."""
        full = [f"documents of {agent} wait unfiled, no more are read" for agent in sorted(self._kept_out)]
        return "; ".join([*self._faults.values(), *full]) or None

    # --- life --------------------------------------------------------------------------------------------

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make the folders, watch them, and deliver what is already there, oldest first. Call it when ready to judge.

        Raises:
            IntakeError: the folders cannot be made or opened, or everybody may write to the drop folder.
        """
        self._loop = loop
        self._hold.take()
        self._watch()
        try:
            self._drops.look_after()
            for drop in self._drops:
                files.return_taken(drop.fd)
        except IntakeError:
            self._let_go()
            raise
        except OSError as error:
            self._let_go()
            raise IntakeError(f"{self.folder} cannot be watched: {error}") from error
        self._running = True
        self._listen()
        self._rescan_and_again()

    def stop(self) -> None:
        """Stop watching; what was not delivered stays where it is. Documents may still be filed."""
        if not self._running:
            return
        self._running = False
        self._listen(on=False)
        for handle in (self._draining, self._timer):
            if handle is not None:
                handle.cancel()
        self._unread.clear()
        self._backlog.clear()
        if self._sweep is not None:
            self._sweep.close()
        self._let_go()
        self._hold.let_go()

    def _watch(self) -> None:
        self._watcher = open_watcher(self.folder)
        self._drops = DropFolders(self.folder, self._agents, self._watcher)

    def _let_go(self) -> None:
        self._drops.close()
        self._watcher.close()

    def _listen(self, *, on: bool = True) -> None:
        if self._watcher.fileno() >= 0:
            if on:
                self._loop.add_reader(self._watcher.fileno(), self._on_readable)
            else:
                self._loop.remove_reader(self._watcher.fileno())

    # --- sweeps ------------------------------------------------------------------------------------------

    def rescan(self) -> None:
        """Look into every folder for documents that no event told of, oldest first, and deliver them.

        While documents are still waiting the sweep is put off until they are through.
        """
        if not self._running:
            return
        self._faults.clear()
        self._watch_again()
        try:
            self._hold.take()
        except IntakeError as error:
            self._drops.close()  # what stands there now is nobody's, or another daemon's
            self._faults["folder"] = str(error)
        else:
            self._look_after()
        self._look_for_halt(announced=False)
        self._sweep_due = True
        self._drain()

    def _look_after(self) -> None:
        try:
            self._drops.look_after()
        except (OSError, IntakeError) as error:
            self._faults["folder"] = str(error)
        if self._drops.unwatched is not None:
            self._faults["watching"] = (
                f"not told of new files, looking every {UNWATCHED_RESCAN_S:g} s instead: {self._drops.unwatched}"
            )

    def _watch_again(self) -> None:
        """Ask for a watcher again where the system had none to give."""
        if isinstance(self._watcher, NoWatcher):
            self._drops.close()
            self._watch()
            self._listen()

    def _rescan_and_again(self) -> None:
        self._rescan_in(RESCAN_S)  # first: whatever `deliver` raises, the next one comes
        self.rescan()
        if self._drops.unwatched is not None:
            self._rescan_in(UNWATCHED_RESCAN_S)

    def _rescan_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._rescan_and_again)

    def _go_on_sweeping(self) -> None:
        """Look at some names more; once through, what was found is to be read, oldest first."""
        if self._sweep is None:
            self._sweep_due = False
            drops = [drop for drop in self._drops if not self._claims.is_full(drop.agent)]
            self._sweep = Sweep(drops, self._is_claimed, int(QUIET_S * NS_PER_S), self._last_sweep)
        sweep = self._sweep
        if not sweep.look(SWEEP_NAMES):
            return
        self._sweep, self._last_sweep = None, sweep
        file_event_ns = self._clock()
        found = sorted(sweep.found, key=lambda item: item[:2])
        self._unread.extend(_Found(drop, name, file_event_ns, complete=True) for _, name, drop in found)
        self._sweep_due |= sweep.has_more
        if sweep.has_young and self._drops.unwatched is None:
            self._rescan_in(QUIET_S)  # its writer may be done without an event of ours: look again sooner
        sweep.found.clear()

    def _is_claimed(self, drop: Drop, name: str, identity: Identity) -> bool:
        return drop.is_begun(name, identity.ino) or self._claims.holds(drop.agent, shown_name(name), identity)

    # --- filing ------------------------------------------------------------------------------------------

    def archive(self, intent_id: str, agent: str, name: str, data: bytes, judged_ns: Ns) -> None:
        """File a judged document and take it out of the drop folder (`files.archive`).

        Raises:
            IntakeError: it could not be done; the document stays claimed, so try again.
        """
        claim = self._claims.find(agent, name, data)
        with self._folder_of(claim, agent, name) as fd:
            files.archive(
                self.folder,
                fd,
                name if claim is None else claim.raw_name,
                data,
                intent_id=intent_id,
                judged_ns=judged_ns,
                claimed=lambda: self._claims.others(agent, name, claim),
            )
        self._release(agent, name, claim)

    def refuse(self, agent: str, name: str, data: bytes, receipt: Mapping[str, Any]) -> str:
        """Move a refused document to refused/ with its receipt; return its name there (`files.refuse`).

        Raises:
            IntakeError: it could not be done; the document stays claimed, so try again.
        """
        claim = self._claims.find(agent, name, data)
        with self._folder_of(claim, agent, name) as fd:
            filed = files.refuse(
                self.folder,
                fd,
                name if claim is None else claim.raw_name,
                data,
                receipt=receipt,
                identity=None if claim is None else claim.reading.identity,
                claimed=lambda: self._claims.others(agent, name, claim),
            )
        self._release(agent, name, claim)
        return filed

    @contextmanager
    def _folder_of(self, claim: Claim | None, agent: str, name: str) -> Iterator[int | None]:
        """Give the folder that a document came from, as it was opened then, or by its names; None if it is gone."""
        if claim is not None and claim.drop.fd >= 0:
            yield claim.drop.fd
            return
        if claim is not None:
            below = claim.drop.path.relative_to(self.folder).parts
        else:  # delivered by a process that died before it was filed: the names are all there is to go by
            if {"/", "\0"} & {*agent, *name} or {agent, name} & {"", ".", ".."}:
                raise ValueError(f"{agent!r}, {name!r}: not a document of a drop folder")
            below = () if agent == DEFAULT_AGENT else ("agents", agent)
        with ExitStack() as stack:
            try:
                fd = stack.enter_context(open_below(self.folder, *below))
            except (FileNotFoundError, NotADirectoryError):
                fd = None
            except OSError as error:
                raise IntakeError(f"{shown_name(name)} not filed: {error.strerror or error}") from error
            yield fd

    def _release(self, agent: str, name: str, claim: Claim | None) -> None:
        if claim is not None:
            self._claims.release(agent, name, claim)
            if agent in self._kept_out and self._claims.has_room(agent):
                self._kept_out.discard(agent)
                self._sweep_due = True
                if self._running:
                    self._go_on()

    # --- being told --------------------------------------------------------------------------------------

    def _on_readable(self) -> None:
        file_event_ns = self._clock()
        look_again = False
        for event in self._watcher.read():
            drop = self._drops.of(event.watch)
            if drop is not None:
                look_again |= self._on_event(drop, event, file_event_ns)
            elif event.mask & IN_Q_OVERFLOW:
                self._drops.forget_begun()  # what was closed meanwhile is among what was lost
                look_again = True
            else:
                look_again |= self._drops.is_parent(event.watch)
        if look_again:
            self.rescan()
        else:
            self._drain()

    def _on_event(self, drop: Drop, event: FileEvent, file_event_ns: Ns) -> bool:
        """Take note of what happened in a folder; return whether the folders must be looked after."""
        if not event.name:
            if event.mask & GONE_MASK:
                self._drops.forget(drop)
                return True
        elif event.name == HALT_FILE and drop.path == self.folder:
            self._look_for_halt(announced=True)
        elif is_candidate(event.name):
            if not event.mask & BEGUN_MASK:
                drop.begun.pop(event.name, None)
            elif drop.begin(event.name, written=not event.mask & IN_CREATE):
                return False  # anything but a regular file will never be closed
            self._unread.append(_Found(drop, event.name, file_event_ns, self._watcher.proves_complete))
        return False

    def _look_for_halt(self, *, announced: bool) -> None:
        """Halt if HALT is there and was not seen before; `announced`: also if it has already gone again."""
        try:
            found = os.lstat(self.folder / HALT_FILE)
        except OSError:
            self._halt_seen = None
            if announced:
                self._on_halt()
            return
        if self._halt_seen != (found.st_ino, found.st_mtime_ns):
            self._halt_seen = (found.st_ino, found.st_mtime_ns)
            self._on_halt()

    # --- reading and delivering --------------------------------------------------------------------------

    def _drain(self) -> None:
        """Read and deliver a slice of what is waiting, and come back for the rest after everybody else had a turn."""
        end = time.monotonic() + SLICE_S
        try:
            if self._sweep is not None or (self._sweep_due and not self._unread):
                self._go_on_sweeping()
            for _ in range(SLICE_FILES):
                for _ in range(min(READ_AHEAD, len(self._unread))):
                    self._take_in(self._unread.popleft())
                if self._backlog:
                    self._hand_over(self._backlog.next(self._clock()))
                elif not self._unread:
                    break
                if time.monotonic() > end:
                    break
        finally:
            if self._running:
                self._go_on()

    def _drain_more(self) -> None:
        self._draining = None
        self._look_for_halt(announced=False)  # its event may lie behind a flood in the kernel's queue
        self._drain()

    def _go_on(self) -> None:
        """Come back if anything is left; ask the kernel for more only while not too much of it is unread."""
        if self._draining is None and (self._unread or self._backlog or self._sweep or self._sweep_due):
            self._draining = self._loop.call_soon(self._drain_more)
        if self._paused != (len(self._unread) >= UNREAD_MAX):
            self._paused = not self._paused
            self._listen(on=not self._paused)

    def _take_in(self, found: _Found) -> None:
        """Read and claim one file; what cannot be read now is met again at the next sweep."""
        drop = found.drop
        if drop.fd < 0:
            return
        if not found.complete and is_fresh(drop.fd, found.name, int(POLLED_QUIET_S * NS_PER_S)):
            self._loop.call_later(POLLED_QUIET_S, self._come_back, found)
            return
        if self._claims.is_full(drop.agent):
            self._kept_out.add(drop.agent)
            return
        try:
            reading = read_document(drop.fd, found.name, drop.owner, drop.refusal)
        except OSError as error:
            self._faults["reading"] = f"{shown_name(found.name)} cannot be read: {error.strerror or error}"
            return
        if reading is None:
            return
        shown = shown_name(found.name)
        claim = Claim(drop, found.name, reading)
        if not self._claims.add(drop.agent, shown, claim):
            return
        waiting = Waiting(claim, shown, found.file_event_ns)
        if self._unread or self._backlog:
            self._backlog.add(waiting)
        else:
            self._hand_over(waiting)

    def _hand_over(self, waiting: Waiting) -> None:
        drop, _, reading = waiting.claim
        self._deliver(
            DocumentReceived(
                ts_ns=self._clock(),
                agent=drop.agent,
                name=waiting.shown_name,
                data=reading.data,
                file_event_ns=waiting.file_event_ns,
                fault=reading.fault,
                fault_detail=reading.detail,
            )
        )

    def _come_back(self, found: _Found) -> None:
        if self._running:
            self._unread.append(found)
            self._drain()
