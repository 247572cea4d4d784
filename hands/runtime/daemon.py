"""The daemon: one process, one uvloop, one account. Start-up is recovery; there is no other way to start.

Owns the assembly of the shells around the core and the life of the process. Load limits -> read the journal's
open business -> ask the venue what is true -> reconcile -> warm up -> trade. An exception that reaches the loop
is our own bug: the process stops loudly, what rests at the venue works on, and the next start recovers.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import uvloop

from hands.core.events import AccountReport, Link, OperatorAction, SessionReport, Started
from hands.core.market import Market
from hands.core.state import State, open_symbols
from hands.core.units import NS_PER_MS
from hands.intake.inbox import HALT_FILE, Inbox
from hands.intake.reading import IntakeError
from hands.intake.receipts import ReceiptWriter
from hands.journal.ledger import Ledger, LedgerError
from hands.journal.store import JournalError, JournalStore, StateDirBoundElsewhere, StateDirInUse, way_out
from hands.runtime import machine_code, status
from hands.runtime.beat import Heartbeat
from hands.runtime.clock import Clock
from hands.runtime.config import Config, ConfigError, Options, Unsafe, load
from hands.runtime.control import SOCKET_NAME, ControlError, ControlServer, note_drop_folder
from hands.runtime.dispatcher import Dispatcher
from hands.runtime.ending import CLOSE_WITHIN_S, FLUSH_WITHIN_S, STOP_WITHIN_S, close_each, end_entries
from hands.runtime.limits_file import LimitsWatch
from hands.runtime.logs import set_up_logging
from hands.runtime.look_back import LookBack
from hands.runtime.market_data import MarketData
from hands.runtime.operator_desk import OperatorDesk
from hands.runtime.polling import Poller
from hands.runtime.recording import Recording
from hands.runtime.rehearsal import rehearse
from hands.runtime.sequencer import Sequencer
from hands.runtime.sessions import FILE_NAME, Sessions
from hands.runtime.storage import Room
from hands.venues.alpaca.endpoints import origin_of
from hands.venues.alpaca.order_entry import OrderEntry
from hands.venues.alpaca.rate import RateBudget
from hands.venues.alpaca.snapshots import Snapshots
from hands.venues.alpaca.trade_stream import TradeStream
from hands.version import __version__

log = logging.getLogger("hands")

DATA_GRACE_S = 5.0
HOUSEKEEPING_S = 1.0
ENTITIES = (
    "ticket", "change", "seen", "day", "performance", "breakers", "limits", "agent", "reason", "accepted", "stopped_out", "halt",
)  # fmt: skip
Ready = Callable[[dict[str, object]], None]


def run(options: Options, ready: Ready) -> int:
    """Run the daemon until it is stopped; return its exit code.

    Raises:
        ConfigError: the configuration cannot be used.
        Unsafe: starting would be unsafe; nothing is owned yet.
    """
    config = load(options)
    set_up_logging(as_json=config.log_json, secrets=(config.credentials.secret, config.credentials.key_id))
    for risk in config.risks:
        log.warning("%s; accepted on %s", risk, config.venue)
    machine_code.prepare()
    try:
        config.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        journal = JournalStore(
            config.state / "journal.db",
            durability="disk" if config.settings.journal.durability == "disk" else "process",
        )
    except (StateDirInUse, JournalError) as error:
        raise Unsafe(str(error)) from error
    except OSError as error:
        raise ConfigError([f"{config.state}: {error.strerror}"]) from error
    try:
        note_drop_folder(config.state, config.intents)  # only once the directory is known to be ours
    except OSError as error:  # a full disk: what is owned needs us all the same
        log.warning("%s: the drop folder's place cannot be noted: %s", config.state, error)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(Daemon(config, journal).live(ready))
    except (JournalError, msgspec.MsgspecError) as error:  # only while it is read, at the start
        raise Unsafe(f"{journal.path} cannot be used: {error}. {way_out(error)}") from error
    finally:
        saved = _saved(journal)
    return code if saved else code or 3  # an end by our own bug stays one: the service starts it again


def _saved(journal: JournalStore) -> bool:
    """Close the journal; False if its last records could not be written."""
    try:
        journal.close()
    except JournalError as error:
        log.critical("stopped with records that could not be saved: %s", error)
        return False
    return True


class Daemon:
    """Everything of one process life."""

    def __init__(self, config: Config, journal: JournalStore) -> None:
        self._config = config
        self._journal = journal
        self._clock = Clock()
        self._exit_code, self._stop_by_s = 0, math.inf
        still_open = open_symbols(doc for _, doc in journal.load("ticket")) - set(config.limits.allow)
        self._symbols = config.limits.allow + tuple(sorted(still_open))  # its exits need its market
        told = config.settings.market
        periods, jump = told.periods_of(self._symbols), told.suspicious_jump
        market = Market(self._symbols, tuple(told.intervals_s), periods, suspicious_jump=jump)
        self.state = State(config.limits, market, config.venue)
        self.state.dry_run = config.dry_run
        self.state.venue_rejections_max = config.settings.venue.rejections_latch
        self._dispatcher = Dispatcher(self.state, self._clock)
        self._recording = Recording(config.state, journal, config.settings.journal)
        self._sequencer = Sequencer(
            self.state, journal, self._clock, self._dispatcher.dispatch, self._recording.rows
        )
        feed, clock, settings = self._sequencer.feed, self._clock, config.settings
        late_ns = settings.watchdog.late_ms * NS_PER_MS
        self._beat = Heartbeat(config.state, self.state, clock, feed, late_ns=late_ns)
        path, text, only = config.limits_path, config.limits_text, config.symbols
        self._limits_watch = LimitsWatch(path, text, only, clock, feed)
        symbols = self._symbols
        budget = RateBudget.sharing(settings.venue.requests_per_minute)
        data_budget = RateBudget.sharing(settings.venue.requests_per_minute)  # the data host counts apart
        self._order_entry = OrderEntry(
            config.endpoints,
            config.credentials,
            clock,
            feed,
            connections=settings.venue.order_connections,
            request_timeout_s=settings.venue.request_timeout_s,
            symbols=symbols,
            budget=budget,
            close_intent=settings.venue.close_intent,
            read_only=config.dry_run,
        )
        self._snapshots = Snapshots(
            config.endpoints,
            config.credentials,
            clock,
            symbols=symbols,
            budget=budget,
            data_budget=data_budget,
            timeout_s=settings.venue.request_timeout_s,
        )
        self._trade_stream = TradeStream(config.endpoints, config.credentials, feed, clock, symbols=symbols)
        self._desk = OperatorDesk(
            self.state,
            clock,
            intents=config.intents,
            agents=config.agents,
            feed=feed,
            seq=lambda: self._sequencer.seq,
            faults=self._faults,
            streams=self._streams,
            watchdog=self._beat.watchdog,
        )
        self._dispatcher.on_answer = self._desk.take_answer
        self._inbox = Inbox(
            config.intents,
            config.agents,
            clock=clock,
            deliver=feed,
            on_halt=lambda: self._desk.operate(OperatorAction.HALT_FILE),
        )
        self._ledger = Ledger(config.state / "hands.db", journal.path)
        self._control_server = ControlServer(config.state / SOCKET_NAME, self._desk.answer)
        self._room = Room(config.state)
        sessions = Sessions(config.state / FILE_NAME)
        self._poller = Poller(
            self._snapshots,
            settings.poll,
            symbols,
            market.index,
            clock=clock,
            feed=feed,
            take_rows=self._sequencer.take_rows,
            on_session=self._on_session,
            sessions=sessions,
        )
        self._market_data = MarketData(
            config.endpoints,
            config.credentials,
            self.state,
            clock,
            take_rows=self._sequencer.take_rows,
            feed=feed,
            latest_quote=self._poller.latest_quote,
            budget=data_budget,
            mute_after_s=settings.venue.mute_after_s,
            audit_s=settings.market.audit_s,
        )
        bars, add_row, rolls = self._market_data.history, self._sequencer.tell, self.state.next_roll_ns
        self._look_back = LookBack(config, bars, sessions, clock=clock, next_roll_ns=rolls, add_row=add_row)
        self._dispatcher.connect(
            sequencer=self._sequencer,
            beat=self._beat,
            order_entry=self._order_entry,
            inbox=self._inbox,
            receipts=ReceiptWriter(config.intents),
            ledger=self._ledger,
            fetch_quote=self._poller.fetch_quote,
            request_truth=self._poller.request_truth,
            request_day_orders=self._poller.request_day_orders,
            request_fills=self._poller.request_fills,
        )

    # --- life ----------------------------------------------------------------------------------------------

    async def live(self, ready: Ready) -> int:
        """Start, trade until told to stop, stop; return the exit code."""
        loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._dispatcher.on_stopped = self._stopping.set
        loop.set_exception_handler(self._on_bug)
        self._stop_asked = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_asked.set)
        work = asyncio.ensure_future(self._start_and_trade(ready))
        stop = asyncio.ensure_future(self._stop_asked.wait())
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        self._stop_by_s = loop.time() + STOP_WITHIN_S
        try:
            if work.done():
                work.result()  # it ends by itself only by failing
            await self._stop()
        except BaseException as error:
            if not isinstance(error, Unsafe):  # no orderly end: whoever looks at the beat has to see that
                self._exit_code = self._exit_code or 1
            raise
        finally:
            for task in (work, stop):
                task.cancel()
            await asyncio.wait({work, stop}, timeout=self._left_s(FLUSH_WITHIN_S))
            await self._close()
        if work.done() and not work.cancelled():
            work.result()  # it failed while everything was being stopped
        return self._exit_code

    async def _start_and_trade(self, ready: Ready) -> None:
        try:
            await self._control_server.start()  # first: the operator is answered while the venue is away
        except ControlError as error:
            raise Unsafe(str(error)) from error
        account = await self._poller.first_account()
        self._check_account(account)
        self._recover()
        await self._order_entry.start()
        await self._market_data.start()
        self._sequencer.feed(account)
        await self._poller.introduce()
        self._market_data.warm_up()
        self._beat.start()  # first, so that what a watchdog did before this start is asked for
        await self._trade_stream.start()  # its first "up" asks for the venue's truth
        await self._until_ready()
        rehearse(self._config.limits, self._clock)
        self._poller.start()
        self._look_back.start()
        await self._open_inbox()
        gc.collect()
        gc.freeze()
        self._beat.trades()
        ready(self._ready_line(account))
        await self._keep_house()

    def _check_account(self, account: AccountReport) -> None:
        """Refuse an account that was not meant, before anything is owned."""
        config, number = self._config, account.account_number
        if config.live is not None and config.live != number:
            raise Unsafe(f"--live {config.live} is not this account's number")
        try:
            host = origin_of(config.endpoints.trading).host
            self._journal.bind(venue=str(config.venue), host=host, account=number)
        except StateDirBoundElsewhere as error:
            raise Unsafe(str(error)) from error

    def _recover(self) -> None:
        """Load what the last session left open; the venue is asked about the rest."""
        journal, config = self._journal, self._config
        self.state.restore((kind, key, doc) for kind in ENTITIES for key, doc in journal.load(kind))
        self._sequencer.begin()
        self._recording.begin()
        try:
            self._ledger.start()
        except LedgerError as error:
            raise Unsafe(str(error)) from error
        self._sequencer.feed(
            Started(
                ts_ns=self._clock(),
                version=__version__,
                limits_sha256=config.limits.sha256,
                rolls_ns=config.rolls_ns,
            )
        )
        self._limits_watch.begin()
        self._sequencer.mind_storage(self._room.risk())
        self._desk.is_open = True
        self._look_for_halt()

    def _look_for_halt(self) -> None:
        """Halt if the HALT file is there: until the inbox watches the folder, nobody else looks."""
        if "HALT_FILE" not in self.state.reasons and os.path.lexists(self._config.intents / HALT_FILE):
            self._desk.operate(OperatorAction.HALT_FILE)

    async def _until_ready(self) -> None:
        """Wait for the first reconciliation and for order entry; for market data and the day's counters a little while."""
        links = self.state.links
        loop = asyncio.get_running_loop()
        patience = loop.time() + DATA_GRACE_S
        while True:
            able = self.state.reconciled and links.get(Link.ORDER_ENTRY) and links.get(Link.TRADE_UPDATES)
            fed = self._market_data.is_warm and all(links.get(link) for link in self._market_data.feeds)
            counted = not self.state.recount_due
            if able and ((fed and counted) or loop.time() > patience):
                return
            await asyncio.sleep(0.01)
            self._look_for_halt()

    async def _open_inbox(self) -> None:
        """Watch the drop folder. One that cannot be watched safely refuses to start, unless something is owned."""
        while True:
            try:
                self._inbox.start(asyncio.get_running_loop())
            except IntakeError as error:
                if not self.state.committed():
                    raise Unsafe(str(error)) from error
                log.critical("no intents are taken in, but what is owned is looked after: %s", error)
                await asyncio.sleep(HOUSEKEEPING_S)
                self._look_for_halt()
            else:
                return

    def _ready_line(self, account: AccountReport) -> dict[str, object]:
        return {
            "event": "ready",
            "version": __version__,
            "venue": str(self._config.venue),
            "account": account.account_number,
            "state": str(self.state.trading_state),
            "intents": str(self._config.intents),
            "state_dir": str(self._config.state),
            "symbols": list(self._config.limits.allow),
            "dry_run": self._config.dry_run,
        }

    async def _keep_house(self) -> None:
        """Once a second: notice a stepped wall clock, trim what the ledger has, keep the log short."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            if (step := self._clock.step(self.state.wall_offset_ns)) is not None:
                self._sequencer.feed(step)
            self._market_data.keep_house()
            self._limits_watch.look()
            if self._journal.is_gone:
                self._sequencer.give_up_journal()
            self._sequencer.mind_storage(self._room.risk())
            try:
                if self._recording.keep_house():
                    self._sequencer.snapshot()
                self._journal.trim_outbox(self._ledger.position)
                self._journal.refresh()
                await self._recording.trim()
            except JournalError as error:
                log.warning("%s", error)

    # --- the end -------------------------------------------------------------------------------------------

    def _left_s(self, less_s: float = 0.0) -> float:
        """Return the seconds left of the time to stop, `less_s` kept for later; never negative."""
        return max(0.0, self._stop_by_s - less_s - asyncio.get_running_loop().time())

    async def _stop(self) -> None:
        """No new intents; unfilled entries are cancelled; protection stays; everything is saved."""
        log.info("stopping")
        self._inbox.stop()
        if not await end_entries(self.state, self._desk, self._stopping, self._left_s(CLOSE_WITHIN_S)):
            self._exit_code = (
                self._exit_code or 3
            )  # an end by our own bug stays one: it is to be started again
        stopped = self._dispatcher.stopped
        if stopped is not None and stopped.still_open:
            log.info("protection stays at the venue for: %s", ", ".join(stopped.still_open))

    async def _close(self) -> None:
        """Close everything, one thing after the other, by the one deadline; what is not closed by then is named."""
        closing: dict[str, Callable[[], Awaitable[None]]] = {
            "look back": self._look_back.stop,
            "questions to the venue": self._poller.stop,
            "market data": self._market_data.stop,
            "trade stream": self._trade_stream.stop,
            "order entry": self._order_entry.stop,
            "connections for questions": self._snapshots.close,
            "control socket": self._control_server.close,
        }
        if not await close_each(closing, lambda: self._left_s(FLUSH_WITHIN_S)):
            self._exit_code = self._exit_code or 3
        self._sequencer.stop()
        if not self._dispatcher.finish_papers(self._left_s(FLUSH_WITHIN_S / 2)):
            self._exit_code = self._exit_code or 1
        if self._desk.is_open:
            self._sequencer.end()
            if not self._recording.stop(self._left_s(FLUSH_WITHIN_S / 4)):
                log.warning("segments/ is not complete; the next start completes it")
        if not self._ledger.flush(self._left_s(FLUSH_WITHIN_S / 4)) and self._desk.is_open:
            log.warning("the views in hands.db are not complete; the next start completes them")
        self._ledger.close(self._left_s())
        self._beat.stop(orderly=self._exit_code == 0)

    def _on_bug(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception nobody expected: our own bug. Stop loudly; the venue keeps the protection."""
        error = context.get("exception")
        log.critical("%s", context.get("message"), exc_info=error)
        self._exit_code = 1
        self._stop_asked.set()
        del loop

    # --- the world comes in --------------------------------------------------------------------------------

    def _on_session(self, report: SessionReport) -> None:
        self._market_data.take_session(report)

    def _streams(self) -> dict[str, status.Document]:
        return self._market_data.streams()

    def _faults(self) -> dict[str, str | None]:
        """Return what is wrong with each part, for the operator to see; None where nothing is."""
        return {
            "journal": self._sequencer.storage_fault or self._journal.fault,
            "record": self._recording.fault,
            "ledger": self._ledger.fault or status.set_aside_fault(self._ledger.set_aside),
            "intake": self._inbox.fault,
            "papers": self._dispatcher.papers_fault,
            **self._market_data.faults(),
        }
