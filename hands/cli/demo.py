"""`hands demo`: the whole product on the embedded exchange, in under a minute.

Owns the stage: a fresh folder, the exchange, the daemon and the watchdog as processes, the market, the picture, and the
end. The idea: nothing in it is staged but the market; the daemon is the one that `hands run` starts, reached over the same
sockets and folders, and the demo fails if anything differs from what was expected.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hands.cli.output import ExitCode, JsonFlag, fail, print_json

if TYPE_CHECKING:
    import aiohttp

    from hands.cli.demo_market import DemoMarket
    from hands.cli.demo_processes import Child
    from hands.cli.demo_script import Expectation, Script

SEED = 7
EXAMPLES = Path("intents/examples")
CONFIG = Path("config/hands.toml")
HURRY_AFTER_S = 15.0
"""A start that took longer than this (the first one on a machine compiles the kernel) makes the rest brisk."""

OVER_WITHIN_S = 45.0
READY_WITHIN_S = 10.0
VIEW_EVERY_S = 0.15


class DemoFailed(Exception):  # noqa: N818  (says what is the case)
    """The demo could not be played to its end."""


def demo(
    *,
    state: Annotated[
        Path | None, typer.Option(help="Keep the session here, an empty or new folder [var/demo-<time>].")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Play the whole product on the embedded exchange, and end by itself in under a minute.

    Starts the simulator, the daemon and the watchdog as processes, drops good intents and one for every common refusal,
    moves the market, and holds what came against what was expected and against the exchange's own books. Exit 0 only if
    every expectation held. --json: the summary as one JSON object on the last line.

    Example: hands demo --state var/my-demo
    """
    from hands.cli.demo_processes import ChildFailed

    root = _root(as_json=as_json)
    folder = (state or Path("var") / f"demo-{datetime.now(UTC):%Y%m%dT%H%M%S}").absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        fail(ExitCode.USAGE, f"{folder} is not an empty folder", as_json=as_json)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        fail(ExitCode.USAGE, f"{folder}: {error.strerror}", as_json=as_json)
    stage = Stage(root, folder, as_json=as_json)
    try:
        summary = asyncio.run(stage.play())
    except (ChildFailed, DemoFailed) as error:
        fail(ExitCode.NEGATIVE, [*str(error).splitlines(), f"the session is in {folder}"], as_json=as_json)
    except asyncio.CancelledError:
        raise typer.Exit(int(ExitCode.INTERRUPTED)) from None
    stage.show(summary)
    raise typer.Exit(int(ExitCode.FINE if summary["ok"] else ExitCode.NEGATIVE))


def _root(*, as_json: bool) -> Path:
    """Return the tree with the configuration and the examples: here, or where Hands is installed from."""
    places = (Path.cwd(), Path(__file__).resolve().parents[2])
    found = next((p for p in places if (p / EXAMPLES).is_dir() and (p / CONFIG).is_file()), None)
    if found is None:
        fail(ExitCode.USAGE, f"{EXAMPLES} and {CONFIG} are not here; run it in a clone", as_json=as_json)
    return found


def shipped_limits(symbols: tuple[str, ...], now: datetime) -> str:
    """Return a limits file as shipped, whatever the owner has changed in his; its day does not roll during the demo."""
    from hands.core.limit_keys import LIMIT_KEYS

    roll = now.astimezone(UTC) + timedelta(hours=12)
    allowed = ", ".join(f'"{symbol}"' for symbol in symbols)
    return "\n".join(
        [
            "[hard_limits]",
            *(key.line for key in LIMIT_KEYS),
            f"[symbols]\nallow = [{allowed}]\nallow_short = false",
            "[session]\nno_entry_first_s = 0\nno_entry_last_s = 60\nflatten_before_close_s = 0",
            f'[day]\nroll = "{roll:%H:%M} UTC"\n',
        ]
    )


class Stage:
    """One performance: everything that is started in it is ended by it."""

    def __init__(self, root: Path, folder: Path, *, as_json: bool) -> None:
        self._root = root
        self._folder = folder
        self._as_json = as_json
        self._live = not as_json and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._began_s = time.monotonic()
        self._news = ""
        self._script: Script | None = None
        self._view: dict[str, Any] | None = None
        self._is_interrupted = False
        self._is_ending = False
        self.expectations: list[Expectation] = []

    def _interrupt(self, task: asyncio.Task[Any]) -> None:
        """Cancel until it is noticed: a cancellation is lost where what is waited for comes in the same moment."""
        self._is_interrupted = True
        if not self._is_ending:
            task.cancel()
            asyncio.get_running_loop().call_later(0.2, self._interrupt, task)

    async def play(self) -> dict[str, Any]:
        """Play it and return the summary.

        Raises:
            ChildFailed, DemoFailed: it could not be played to its end.
            CancelledError: somebody interrupted it.
        """
        import aiohttp

        from hands.cli.demo_processes import Child

        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._interrupt, task)
        exchange, daemon = Child("sim", self._folder), Child("run", self._folder)
        self._dog = Child("watchdog", self._folder)
        try:
            async with asyncio.timeout(OVER_WITHIN_S), aiohttp.ClientSession() as session:
                summary = await self._perform(exchange, daemon, session)
        except TimeoutError:
            raise DemoFailed(
                f"not over within {OVER_WITHIN_S:g} s\n{exchange.tail()}\n{daemon.tail()}"
            ) from None
        except aiohttp.ClientError as error:
            raise DemoFailed(f"the exchange does not answer: {error}\n{exchange.tail()}") from error
        finally:
            self._is_ending = True
            await self._dog.stop()
            await daemon.stop()
            await exchange.stop()
        if self._is_interrupted:
            raise asyncio.CancelledError
        return summary

    async def _perform(
        self, exchange: Child, daemon: Child, session: aiohttp.ClientSession
    ) -> dict[str, Any]:
        from hands.cli.demo_market import START, DemoMarket

        self._say("starting the exchange")
        sim = await exchange.start(
            ["sim", "--tape", "manual", "--fills", "instant", "--symbols", ",".join(START)]
        )
        url = str(sim["url"])
        market = DemoMarket(url, session, SEED)
        endless = [asyncio.create_task(market.run()), asyncio.create_task(exchange.ended())]
        if self._live:
            endless.append(asyncio.create_task(self._watch()))
        try:
            await self._start_daemon(daemon, url, market)
            endless += [asyncio.create_task(child.ended()) for child in (daemon, self._dog)]
            await self._play_script(market, endless)
        finally:
            for task in endless:
                task.cancel()
            await asyncio.gather(*endless, return_exceptions=True)
        return await self._reckon(daemon, url, session)

    async def _start_daemon(self, daemon: Child, url: str, market: DemoMarket) -> None:
        self._say("starting the daemon")
        limits = self._folder / "risk_limits.toml"
        limits.write_text(shipped_limits(tuple(market.levels), datetime.now(UTC)), "utf-8")
        places = ["--json", "--alpaca-url", url, "--limits", str(limits), "--state", str(self._folder),
                  "--config", str(self._root / CONFIG)]  # fmt: skip
        await daemon.start(["run", *places, "--intents", str(self._folder / "intents")])
        self._say("starting the watchdog, which should have nothing to do")
        await self._dog.start(["watchdog", *places])
        await self._until_quoted()

    async def _play_script(self, market: DemoMarket, endless: Sequence[asyncio.Task[None]]) -> None:
        """Play the script; what is `endless` should outlive it, and ends it where it does not."""
        from hands.cli.demo_script import BRISK, UNHURRIED, Script

        slow = time.monotonic() - self._began_s > HURRY_AFTER_S
        pace = UNHURRIED if self._live and not slow else BRISK
        self._script = Script(
            self._root / EXAMPLES, self._folder / "intents", market, pace, self._say, self.expectations
        )
        playing = asyncio.create_task(self._script.play())
        try:
            await asyncio.wait({playing, *endless}, return_when=asyncio.FIRST_COMPLETED)
            for task in endless:
                if task.done():
                    task.result()
            await playing
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
        await asyncio.sleep(2 * VIEW_EVERY_S if self._live else 0)

    async def _until_quoted(self) -> None:
        """Wait until the daemon has a quote of every symbol and may trade."""
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            view = await self._ask_view()
            if view is not None and view["ready"] and all(quote["bid"] for quote in view["symbols"]):
                self._view = view
                return
            await asyncio.sleep(0.05)
        raise DemoFailed(f"the daemon has no quotes after {READY_WITHIN_S:g} s")

    async def _ask_view(self) -> dict[str, Any] | None:
        from hands.runtime.control import NoDaemon, call

        try:
            answer = await asyncio.to_thread(call, self._folder, {"do": "view"}, 2.0)
        except NoDaemon:
            return None
        view = answer.get("view")
        return view if isinstance(view, dict) else None

    async def _reckon(self, daemon: Child, url: str, session: aiohttp.ClientSession) -> dict[str, Any]:
        """Stop the daemon, take the exchange's truth, and hold everything against it."""
        from hands.cli.demo_script import Expectation
        from hands.cli.demo_truth import episodes, reckon, summary
        from hands.core.limits import read_limits
        from hands.core.units import NS_PER_MS
        from hands.runtime.beat import watchdog_acts, watchdog_beside

        script = self._script
        assert script is not None
        watched = watchdog_beside(self._folder)
        acts = watchdog_acts(self._folder)
        await self._dog.stop()
        self._say("stopping the daemon; what is held stays protected")
        code = await daemon.stop()
        async with session.get(f"{url}/sim/v1/truth") as answer:
            truth = await answer.json()
        for act in script.acts:
            act.refresh()
        limits = read_limits((self._folder / "risk_limits.toml").read_text("utf-8"))
        finished = episodes(self._folder)
        naked_max_ms = limits.hard.unprotected_max_ms // NS_PER_MS
        self.expectations += [
            Expectation("the watchdog looks on", "alive", watched, watched == "alive"),
            Expectation("orders that the watchdog had to send", "0", str(acts), acts == 0),
            Expectation("the daemon stops cleanly", "0", str(code), code == 0),
            *reckon(script.acts, truth, finished, naked_max_ms),
        ]
        found = summary(script.acts, truth, finished, self.expectations)
        return found | {
            "seconds": round(time.monotonic() - self._began_s, 2),
            "state_dir": str(self._folder),
        }

    # --- showing -----------------------------------------------------------------------------------------

    def _say(self, news: str) -> None:
        """Tell what happens: in the picture where there is one, else as a line on stderr or stdout."""
        self._news = news
        if not self._live:
            typer.echo(f"{time.monotonic() - self._began_s:6.1f} s  {news}", err=self._as_json)

    async def _watch(self) -> None:
        """Draw the picture until cancelled."""
        from rich.live import Live

        from hands.cli.demo_view import picture

        before: dict[str, str] = {}
        with Live(auto_refresh=False, transient=False) as live:
            while True:
                self._view = await self._ask_view() or self._view
                acts = [] if self._script is None else self._script.acts
                elapsed_s = time.monotonic() - self._began_s
                size = (live.console.size.width, live.console.size.height)
                live.update(picture(self._view, acts, self._news, elapsed_s, before, size), refresh=True)
                await asyncio.sleep(VIEW_EVERY_S)

    def show(self, summary: dict[str, Any]) -> None:
        from hands.cli.demo_view import summary_lines

        if self._as_json:
            print_json(summary)
        else:
            typer.echo("\n".join(summary_lines(summary, self.expectations)))
