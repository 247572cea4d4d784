"""A desk: one exchange, one state directory, and one daemon after the other, each of which dies where it is told to.

Owns the processes of a chain of cells and the reading of the exchange's truth. May not judge. The one idea: the life
that recovers from one cell's death is the life that dies in the next, so a cell costs one start, and every cell is
judged on a state directory that has been through all those before it.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tests.e2e.harness import HANDS, STARTS_WITHIN_S, Exchange, Floor, Process, until

LIMITS = {
    "max_daily_trades": 100_000, "semantic_duplicate_s": 0, "max_daily_loss": 1, "max_drawdown": 1,
    "orders_per_minute": 100_000, "rejections_latch": 100_000,
}  # fmt: skip
"""What a matrix of trades needs to be allowed; everything that protects one trade is as shipped."""

LAUNCHER = "tests.crash.real_launcher"


def events(dog: Process) -> list[str]:
    """Return what a watchdog has told of, in order."""
    lines = dog.log.with_suffix(".out").read_text().splitlines()
    return [str(json.loads(line)["event"]) for line in lines if line.endswith("}")]


class NotDead(AssertionError):  # noqa: N818  (a verdict about a cell)
    """The daemon did not die where it should have, or of something else."""


class Desk(Floor):
    """A floor whose daemons are started through the launcher."""

    def __init__(self, folder: Path, exchange: Exchange) -> None:
        super().__init__(folder, exchange)
        self.plan = folder / "plan.json"
        self.lives = 0
        self.limit(**LIMITS)
        self.setting(requests_per_minute=100_000)

    def command(self, *more: str, url: str | None = None) -> tuple[str, ...]:
        command = super().command(*more, url=url)
        return (sys.executable, "-m", LAUNCHER, str(self.plan), *command[command.index("run") :])

    # --- death and life ------------------------------------------------------------------------------------

    def arm(self, step: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Have the daemon die (or stand still) at `word:nth:when`, counted from now."""
        word, nth, when = step.rsplit(":", 2)
        self.killed.unlink(missing_ok=True)
        unfinished = self.plan.with_suffix(".tmp")
        unfinished.write_text(
            json.dumps({"word": word, "nth": int(nth), "when": when, "signal": number.name})
        )
        unfinished.replace(self.plan)

    def stand_still(self) -> None:
        """Wait until the daemon stands still where it was told to."""
        until("it stands still", self.killed.exists)
        assert self.daemon is not None
        status = Path(f"/proc/{self.daemon.popen.pid}/status")
        until("it stands still", lambda: "State:\tT" in status.read_text())
        self.disarm()

    def go_on(self) -> None:
        """Let it go on."""
        assert self.daemon is not None
        self.daemon.popen.send_signal(signal.SIGCONT)

    def disarm(self) -> None:
        self.plan.unlink(missing_ok=True)

    @property
    def killed(self) -> Path:
        return self.plan.with_suffix(".killed")

    @property
    def is_dead(self) -> bool:
        return self.daemon is None or not self.daemon.is_running

    def bury(self, step: str) -> None:
        """Make sure that the daemon died at `step`, of the kill."""
        assert self.daemon is not None
        code = self.daemon.end(signal.SIGKILL)
        found = self.killed.read_text() if self.killed.exists() else "no step"
        self.killed.unlink(missing_ok=True)
        self.disarm()
        if code != -signal.SIGKILL or found != step:
            raise NotDead(f"it should have died at {step}; it ended with {code} at {found}")

    def start_life(self, *market: dict[str, Any]) -> float:
        """Start a daemon, wait until it trades, give it the market of now; return the seconds that took."""
        began = time.monotonic()
        self.launch().ready(STARTS_WITHIN_S)
        self.lives += 1
        took = time.monotonic() - began
        if market:
            self.market(*market)
            self.seen(market[-1])
        return took

    def die_again(self, step: str) -> None:
        """Start a daemon that dies at `step`, while it recovers."""
        self.arm(step)
        daemon = self.launch()
        until(f"the second life dies at {step}", lambda: not daemon.is_running, STARTS_WITHIN_S)
        self.bury(step)

    # --- the second process --------------------------------------------------------------------------------

    def watch_on(self) -> Process:
        """Start a watchdog without waiting for it."""
        files = ("--config", str(self.config), "--limits", str(self.limits), "--state", str(self.state))
        return self.start("watchdog", (*HANDS, "watchdog", "--json", "--alpaca-url", self.url, *files))

    def start_watchdog(self) -> Process:
        """Start a watchdog over the living daemon, and wait until it watches."""
        dog = self.watch_on()
        until("the watchdog watches", lambda: "alive" in events(dog), STARTS_WITHIN_S)
        return dog

    # --- the exchange's word -------------------------------------------------------------------------------

    def naked_ms(self, symbol: str) -> float:
        """Return how long a symbol has been naked in all."""
        watch = self.truth()["naked"].get(symbol)
        return 0.0 if watch is None else watch["naked_ns"] / 1e6
