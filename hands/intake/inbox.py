"""The inbox: watches the drop folder and delivers every document exactly once.

Owns the watches, the claims (which file has been delivered and is not yet filed) and the order of delivery. May not
judge a document. The one idea: between the kernel's word that a file is there and `deliver` everything is synchronous,
on the event loop's own thread; a flood is taken in slices so that the market is never starved by it.

Two ways lead to a document: the kernel's events, which prove that its writer is done, and a scan of the folders (at
start, every two seconds, and when the kernel's queue overflowed), which proves nothing and therefore leaves a file alone
that was written to within the last second. A file found both ways is delivered once.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hands.core.events import DocumentReceived
from hands.core.units import NS_PER_S, Ns
from hands.intake import files
from hands.intake.drops import DEFAULT_AGENT, Drop, DropFolders, make_drop_folder
from hands.intake.inotify import GONE_MASK, IN_CREATE, IN_Q_OVERFLOW, FileEvent, open_watcher
from hands.intake.reading import (
    Identity,
    IntakeError,
    Reading,
    is_candidate,
    read_document,
    scan,
    shown_name,
    written_within,
)

HALT_FILE = "HALT"
RESCAN_S = 2.0
QUIET_S = 1.0
"""A scan takes a file for finished when nothing was written to it for this long."""

POLLED_QUIET_S = 0.05
"""The same for events that do not prove that a file is finished (no inotify)."""

SLICE_FILES = 64
SLICE_S = 0.002


class _Found(NamedTuple):
    """A file to be read; `complete` where it is proven or long enough ago that its writer was done."""

    drop: Drop
    name: str
    file_event_ns: Ns
    complete: bool


class _Claim(NamedTuple):
    """A document that was delivered and not yet filed; `raw_name` is its true file name in `folder`."""

    folder: Path
    raw_name: str
    reading: Reading


class Inbox:
    """The drop folder `folder`, for the agents named in `agents` (name -> user id that must own its files, or None).

    `clock` gives the time of an event (Unix ns), `deliver` takes each document, `on_halt` is called when a file HALT
    appears. Both are called on the loop's thread; what they raise goes to the loop's exception handler and does not
    stop the inbox. `fault` says what is wrong with the folder, None while all is well.
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
        self.folder = folder
        self.fault: str | None = None
        self._agents = dict(agents)
        self._clock = clock
        self._deliver = deliver
        self._on_halt = on_halt
        self._claims: dict[tuple[str, str], deque[_Claim]] = {}
        self._queue: deque[_Found] = deque()
        self._halt_seen: tuple[int, int] | None = None
        self._scan_due = False
        self._draining: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._running = False
        self._held: int | None = None

    # --- life --------------------------------------------------------------------------------------------

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make the folders, watch them, and deliver what is already there, oldest first. Call it when ready to judge.

        Raises:
            IntakeError: the folders cannot be made or watched, or everybody may write to the drop folder.
        """
        self._loop = loop
        self._claim_folder()
        try:
            self._watcher = open_watcher(self.folder)
        except OSError as error:
            raise IntakeError(f"{self.folder} cannot be watched: {error}") from error
        try:
            self._drops = DropFolders(self.folder, self._agents, self._watcher)
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
        loop.add_reader(self._watcher.fileno(), self._on_readable)
        self._rescan_and_again()

    def stop(self) -> None:
        """Stop watching; what was not delivered stays where it is. Documents may still be filed."""
        if not self._running:
            return
        self._running = False
        self._loop.remove_reader(self._watcher.fileno())
        for handle in (self._draining, self._timer):
            if handle is not None:
                handle.cancel()
        self._queue.clear()
        self._let_go()
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def _let_go(self) -> None:
        self._drops.close()
        self._watcher.close()

    def _claim_folder(self) -> None:
        """Hold the folder for this process: two daemons would judge the same documents and overwrite receipts."""
        if self._held is not None:
            return
        try:
            make_drop_folder(self.folder)
            held = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise IntakeError(f"{self.folder} cannot be watched: {error}") from error
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(held)
            raise IntakeError(f"another daemon watches {self.folder}") from error
        self._held = held

    def rescan(self) -> None:
        """Look into every folder for documents that no event told of, oldest first, and deliver them.

        While documents are still waiting the scan is put off until they are through.
        """
        if not self._running:
            return
        try:
            self._drops.look_after()
            self.fault = None
        except (OSError, IntakeError) as error:
            self.fault = str(error)
        self._look_for_halt(announced=False)
        self._scan_due = True
        self._drain()

    def _rescan_and_again(self) -> None:
        self._timer = self._loop.call_later(RESCAN_S, self._rescan_and_again)
        self.rescan()

    def _scan(self) -> None:
        self._scan_due = False
        file_event_ns = self._clock()
        found: list[tuple[int, str, Drop]] = []
        youngest = False
        for drop in self._drops:
            for mtime_ns, name, inode, young in scan(drop.fd, int(QUIET_S * NS_PER_S)):
                claims = self._claims.get((drop.agent, shown_name(name)), ())
                if any(claim.reading.identity.ino == inode for claim in claims):
                    continue
                if young:
                    youngest = True
                else:
                    found.append((mtime_ns, name, drop))
        found.sort(key=lambda item: item[:2])
        self._queue.extend(_Found(drop, name, file_event_ns, complete=True) for _, name, drop in found)
        if (
            youngest and self._timer is not None
        ):  # its writer may be done without an event of ours: look again sooner
            self._timer.cancel()
            self._timer = self._loop.call_later(QUIET_S, self._rescan_and_again)

    # --- filing ------------------------------------------------------------------------------------------

    def archive(self, intent_id: str, agent: str, name: str, data: bytes, judged_ns: Ns) -> None:
        """File a judged document and take it out of the drop folder (`files.archive`).

        Raises:
            IntakeError: it could not be done; the document stays claimed, so try again.
        """
        folder, raw_name, _, others = self._claimed(agent, name)
        files.archive(
            self.folder, folder, raw_name, data, intent_id=intent_id, judged_ns=judged_ns, claimed=others
        )
        self._release(agent, name)

    def refuse(self, agent: str, name: str, data: bytes, receipt: Mapping[str, Any]) -> str:
        """Move a refused document to refused/ with its receipt; return its name there (`files.refuse`).

        Raises:
            IntakeError: it could not be done; the document stays claimed, so try again.
        """
        folder, raw_name, identity, others = self._claimed(agent, name)
        filed = files.refuse(
            self.folder, folder, raw_name, data, receipt=receipt, identity=identity, claimed=others
        )
        self._release(agent, name)
        return filed

    def _claimed(self, agent: str, name: str) -> tuple[Path, str, Identity | None, list[bytes]]:
        """Return folder, true name and identity of the oldest claim, and the bytes of the later ones of its name."""
        claims = self._claims.get((agent, name))
        if claims is not None:
            others = [claim.reading.data for claim in list(claims)[1:] if claim.reading.data]
            return claims[0].folder, claims[0].raw_name, claims[0].reading.identity, others
        # Delivered by a process that died before it was filed: the names are all there is to go by.
        if {"/", "\0"} & {*agent, *name} or agent in {"", ".", ".."} or name in {"", ".", ".."}:
            raise ValueError(f"{agent!r}, {name!r}: not a document of a drop folder")
        return self.folder if agent == DEFAULT_AGENT else self.folder / "agents" / agent, name, None, []

    def _release(self, agent: str, name: str) -> None:
        claims = self._claims.get((agent, name))
        if claims is not None:
            claims.popleft()
            if not claims:
                del self._claims[agent, name]

    # --- being told --------------------------------------------------------------------------------------

    def _on_readable(self) -> None:
        file_event_ns = self._clock()
        look_again = False
        for event in self._watcher.read():
            drop = self._drops.of(event.watch)
            if drop is not None:
                look_again |= self._on_event(drop, event, file_event_ns)
            elif event.mask & IN_Q_OVERFLOW or self._drops.is_parent(event.watch):
                look_again = True
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
        elif is_candidate(event.name) and (not event.mask & IN_CREATE or _is_special(drop.fd, event.name)):
            # A regular file that was only created is still to be written; anything else will never be closed.
            self._queue.append(_Found(drop, event.name, file_event_ns, self._watcher.proves_complete))
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

    def _drain(self) -> None:
        """Deliver a slice of what is waiting, and come back for the rest after everybody else had a turn.

        The kernel keeps further events while there is a rest, so what waits here is at most one buffer or one scan.
        """
        if self._draining is not None:
            self._draining.cancel()
            self._draining = None
        end = time.monotonic() + SLICE_S
        try:
            if self._scan_due and not self._queue:
                self._scan()
            for _ in range(SLICE_FILES):
                if not self._queue or time.monotonic() > end:
                    break
                self._take_in(self._queue.popleft())
        finally:
            if self._running:
                self._go_on()

    def _go_on(self) -> None:
        if self._queue or self._scan_due:
            self._paused = True
            self._loop.remove_reader(self._watcher.fileno())
            self._draining = self._loop.call_soon(self._drain)
        elif self._paused:
            self._paused = False
            self._loop.add_reader(self._watcher.fileno(), self._on_readable)

    def _take_in(self, found: _Found) -> None:
        """Read, claim and deliver one file; what cannot be read now is met again at the next scan."""
        drop = found.drop
        if drop.fd < 0:
            return
        if not found.complete and written_within(drop.fd, found.name, int(POLLED_QUIET_S * NS_PER_S)):
            self._loop.call_later(POLLED_QUIET_S, self._come_back, found)
            return
        try:
            reading = read_document(drop.fd, found.name, drop.owner, drop.refusal)
        except OSError as error:
            self.fault = f"{found.name} cannot be read: {error}"
            return
        if reading is None:
            return
        shown = shown_name(found.name)
        claims = self._claims.setdefault((drop.agent, shown), deque())
        if any(claim.reading == reading for claim in claims):
            return
        claims.append(_Claim(drop.path, found.name, reading))
        self._deliver(
            DocumentReceived(
                ts_ns=self._clock(),
                agent=drop.agent,
                name=shown,
                data=reading.data,
                file_event_ns=found.file_event_ns,
                fault=reading.fault,
                fault_detail=reading.detail,
            )
        )

    def _come_back(self, found: _Found) -> None:
        if self._running:
            self._queue.append(found)
            self._drain()


def _is_special(folder_fd: int, name: str) -> bool:
    """Whether `name` is there and is not a regular file."""
    try:
        return not stat.S_ISREG(os.stat(name, dir_fd=folder_fd, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False
