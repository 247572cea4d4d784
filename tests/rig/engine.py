"""The engine's side of the rig: the daemon as it is shipped, started, killed and started again over one state directory.

Owns the processes' lives. May not look at what the engine decides. The one idea: everything durable is real (SQLite,
files, inotify) and everything else ends with a `Life`; where the daemon has a thread, its work is done by the loop.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hands.intake.permissions import drop_folder_risks  # noqa: F401  (imported before time is virtual)
from hands.journal import store as store_module
from hands.journal.ledger import Ledger, LedgerError
from hands.journal.recorder import Recorder
from hands.journal.store import JournalError, JournalStore
from hands.runtime import daemon as daemon_module
from hands.runtime import machine_code
from hands.runtime import recording as recording_module
from hands.runtime.config import Config, Options, load
from tests.rig.exchange import URL
from tests.rig.loop import Life, ProcessDied, VirtualLoop

PROJECT_S = 0.02
PASS_S = 0.1
RING_ROWS = 1 << 13
ROOT = Path(__file__).resolve().parents[2]


class Disk:
    """The disk under the journal: while it is `broken` nothing is committed."""

    def __init__(self) -> None:
        self.broken = False


class _Connection:
    """A SQLite connection whose commits fail while the disk is broken."""

    def __init__(self, db: sqlite3.Connection, disk: Disk) -> None:
        self._db = db
        self._disk = disk

    def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
        if self._disk.broken and sql == "COMMIT":
            raise sqlite3.OperationalError("disk I/O error")
        return self._db.execute(sql, values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


class Journal(JournalStore):
    """The journal of one life. `on_commit("before" | "after")` is called around each commit that writes something."""

    def __init__(self, path: Path, disk: Disk, on_commit: Callable[[str], None]) -> None:
        super().__init__(path)
        self._db = _Connection(self._db, disk)  # type: ignore[assignment]
        self._on_commit = on_commit
        self.is_dead = False

    def commit(self) -> None:
        if self.is_dead:
            raise ProcessDied
        if not self.pending:
            return
        self._on_commit("before")
        super().commit()
        self._on_commit("after")

    def append(
        self, seq: int, ts_ns: int, kind: str, payload: bytes, row: int = 0, commands: bytes = b""
    ) -> None:
        if self.is_dead:
            raise ProcessDied
        super().append(seq, ts_ns, kind, payload, row, commands)

    def drop(self) -> None:
        """Be gone as a process is: nothing is written any more, and the lock is free."""
        self.is_dead = True
        self._db.close()
        self._lock.release()


class NoCheckpoints(store_module.Checkpointer):
    """The journal's checkpoints, which the rig does without: its log is read all the same."""

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass


class LoopLedger(Ledger):
    """The projection, done by the loop a moment after each wake-up."""

    _due: Any = None
    _loop: VirtualLoop

    def wake(self) -> None:
        if self._due is None and not self._stopping:
            import asyncio

            self._due = asyncio.get_running_loop().call_later(PROJECT_S, self._project)

    def _project(self) -> None:
        self._due = None
        try:
            while self._project_batch():
                pass
        except (sqlite3.Error, OSError, LedgerError) as error:
            self._fault = str(error)
            self._give_up(error)
            self.wake()
        else:
            self._fault = None

    def flush(self, timeout_s: float) -> bool:
        del timeout_s
        while self._project_batch():
            pass
        return True

    def close(self, timeout_s: float = 2.0) -> None:
        del timeout_s
        self._stopping = True
        self._close_connections()


class LoopRecorder(Recorder):
    """The recorder, whose passes are made by the loop."""

    _due: Any = None

    def start(self) -> None:
        import asyncio

        self._due = asyncio.get_running_loop().call_later(PASS_S, self._pass)

    def _pass(self) -> None:
        while self.work_once(self._clock()):
            pass
        self.start()

    def stop(self, timeout_s: float) -> bool:
        if self._due is not None:
            self._due.cancel()
        return super().stop(timeout_s)

    def drop(self) -> None:
        """Be gone as a process is: its descriptors are closed, and nothing is written any more."""
        self._close_journal()
        if self._file is not None:
            self._file.close()


class Desk:
    """Stands in for the control socket: `answer` is what would be behind it."""

    def __init__(self, path: Path, answer: Callable[[dict[str, Any]], Any]) -> None:
        del path
        self.answer = answer

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass


@contextlib.contextmanager
def in_one_thread() -> Iterator[None]:
    """Let the daemon's parts with threads or sockets of their own be the rig's, as long as the block runs."""
    changes = {
        (daemon_module, "Ledger"): LoopLedger,
        (daemon_module, "ControlServer"): Desk,
        (daemon_module, "rehearse"): lambda limits, clock: None,
        (daemon_module, "gc"): SimpleNamespace(collect=lambda: 0, freeze=lambda: None),
        (store_module, "Checkpointer"): NoCheckpoints,
        (recording_module, "Recorder"): LoopRecorder,
        (recording_module, "RING_ROWS"): RING_ROWS,
    }
    former = {key: getattr(*key) for key in changes}
    machine_code.prepare()
    try:
        for (module, name), value in changes.items():
            setattr(module, name, value)
        yield
    finally:
        for (module, name), value in former.items():
            setattr(module, name, value)


class Log(logging.Handler):
    """The last lines of the engine's log, with the virtual time."""

    def __init__(self, loop: VirtualLoop, kept: int = 400) -> None:
        super().__init__(logging.INFO)
        self.loop = loop
        self.lines: list[str] = []
        self._kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{self.loop.now_ns / 1e9 - 1000:10.4f} {record.levelname:8} {record.getMessage()}")
        if len(self.lines) > 2 * self._kept:
            del self.lines[: self._kept]


class Engine:
    """One state directory and drop folder, and the processes that follow one another over them."""

    def __init__(
        self,
        loop: VirtualLoop,
        folder: Path,
        *,
        limits: dict[str, Any],
        settings: dict[str, Any],
        symbols: tuple[str, ...],
    ) -> None:
        self.loop = loop
        self.intents = folder / "intents"
        self.state = folder / "var"
        self.disk = Disk()
        self.life: Life | None = None
        self.daemon: Any = None
        self.journal: Journal | None = None
        self.is_ready = False
        self.starts = 0
        self.answers: list[dict[str, Any]] = []
        """What the operator was told."""
        self.ready_ns = 0
        self.away: list[list[int | None]] = []
        """When no process was up and ready, from and to, in the loop's monotonic time."""
        self.on_commit: Callable[[str], None] = lambda when: None
        self._limits, self._settings = folder / "risk_limits.toml", folder / "hands.toml"
        _write(ROOT / "config" / "risk_limits.toml", self._limits, limits)
        _write(ROOT / "config" / "hands.toml", self._settings, settings)
        self._symbols = symbols
        self._config: Config | None = None
        self._done: Any = None

    @property
    def config(self) -> Config:
        if self._config is None:
            options = Options(
                config=self._settings,
                limits=self._limits,
                intents=self.intents,
                state=self.state,
                alpaca_url=URL,
                symbols=self._symbols,
            )
            self._config = load(options, {})
        return self._config

    def start(self) -> None:
        """Start a process."""
        assert self.life is None
        self.starts += 1
        if not self.away or self.away[-1][1] is not None:
            self.away.append([self.loop.now_ns, None])
        life = self.life = Life(f"engine {self.starts}")
        self.is_ready = False
        life.context.run(self._begin, life)

    def _begin(self, life: Life) -> None:
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.journal = Journal(self.state / "journal.db", self.disk, self._commits)
        self.daemon = daemon_module.Daemon(self.config, self.journal)
        self._done = self.loop.create_task(self.daemon.live(self._ready))
        del life

    def _commits(self, when: str) -> None:
        self.on_commit(when)

    def _ready(self, line: dict[str, object]) -> None:
        del line
        self.is_ready = True
        self.ready_ns = self.loop.now_ns
        self.away[-1][1] = self.loop.now_ns

    def operate(self, **request: Any) -> None:
        """Let the operator ask something of the process that is up, over its control socket; who asks is not answered
        where it dies meanwhile."""
        life = self.life
        if life is None or not self.is_ready:
            return

        async def asked() -> None:
            answer = self.daemon._control_server.answer(request)
            self.answers.append(await answer if inspect.isawaitable(answer) else answer)

        self.loop.spawn(life, asked())

    def die(self) -> None:
        """Kill -9, now; who calls this from within the process raises `ProcessDied` afterwards."""
        life = self.life
        assert life is not None
        self.life, self.is_ready = None, False
        if self.away[-1][1] is not None:
            self.away.append([self.loop.now_ns, None])
        self.loop.bury(life)
        daemon, journal = self.daemon, self.journal
        assert journal is not None
        journal.drop()
        daemon._ledger._close_connections()
        daemon._recording.recorder.drop()
        life.context.copy().run(daemon._inbox.stop)  # its descriptors; it writes nothing
        self.loop.call_soon(_dispose, life)

    async def stop(self) -> int:
        """SIGTERM, and wait for the end; return the exit code."""
        import signal

        life = self.life
        assert life is not None
        if self.is_ready:
            self.away.append([self.loop.now_ns, None])
        handler = life.signals.get(signal.SIGTERM)
        assert handler is not None
        self.loop.call_soon(handler, context=life.context)
        code: int = await self._done
        assert self.journal is not None
        try:
            self.journal.close()
        except JournalError:
            code = 3  # as `hands.runtime.daemon.run` has it: the disk would not take the last records
        self.life, self.is_ready = None, False
        self.loop.bury(life)
        _dispose(life)
        return code

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended by itself: a bug of its own."""
        return self.life is not None and self._done.done()


def _dispose(life: Life) -> None:
    """Let go of a dead process's coroutines; their `finally` blocks find everything closed."""
    for task in life.tasks:
        if not task.done():
            coro: Any = task.get_coro()
            with contextlib.suppress(BaseException):
                coro.close()
    life.tasks.clear()


def _write(shipped: Path, place: Path, changes: dict[str, Any]) -> None:
    """Write a shipped file with some of its keys changed."""
    lines = shipped.read_text().splitlines()
    for name, value in changes.items():
        at = next(i for i, line in enumerate(lines) if line.split("=")[0].strip() == name)
        lines[at] = f"{name} = {value}"
    place.write_text("\n".join(lines) + "\n")
