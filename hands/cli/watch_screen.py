"""Where `hands watch` is drawn: a whole terminal, or lines one below the other.

Owns the terminal while it has it, and gives it back as it was, also when it is stopped (Ctrl-Z) or ended by a signal.
May not decide what is drawn.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from rich.console import Console
from rich.text import Text

from hands.cli.output import harmless, say
from hands.cli.watch_view import PLAIN_GLYPHS, moves, picture

SLICE_S = 0.1
"""How soon a new size of the terminal is noticed."""

HOME, ERASE = "\x1b[H", "\x1b[2J"

Document = dict[str, Any]


def is_screen() -> bool:
    """Whether stdout is a terminal whose cursor can be moved."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")


def _has_blocks(encoding: str | None) -> bool:
    return "utf" in (encoding or "").lower()


def table_printer() -> Callable[[Document], None]:
    """Return what prints a tick as a table and moves no cursor."""
    plain = not _has_blocks(sys.stdout.encoding)
    went: dict[str, str] = {}
    before: dict[str, str] = {}

    def show(document: Document) -> None:
        went.update(moves(before, document, went))
        before.update({row["symbol"]: row["last"] for row in document["symbols"] if row["last"]})
        lines = picture(document, shutil.get_terminal_size().columns, went=went)
        text = "\n".join(line.plain for line in lines)
        say((text.translate(PLAIN_GLYPHS) if plain else text) + "\n")

    return show


class Screen:
    """The whole terminal, on its second page, so that what stood there before comes back afterwards.

    It is taken when there is something to draw: an error at the start is said where the command was given.
    """

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._plain = not _has_blocks(self._console.encoding)
        self._document: Document | None = None
        self._notice: str | None = None
        self._went: dict[str, str] = {}
        self._before: dict[str, str] = {}
        self._size = (0, 0)
        self._is_taken = False

    def __enter__(self) -> Self:
        self._stopping = signal.signal(signal.SIGTSTP, self._stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()
        signal.signal(signal.SIGTSTP, self._stopping)

    def _take(self) -> None:
        self._is_taken = True
        self._console.set_alt_screen(True)
        self._console.show_cursor(False)

    def _give_back(self) -> None:
        if not self._is_taken:
            return
        self._is_taken = False
        self._console.show_cursor(True)
        self._console.set_alt_screen(False)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        """Ctrl-Z: give the terminal back, stop as any program would, and take it again when told to go on."""
        was_taken = self._is_taken
        self._give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._stop)
        if was_taken:
            self._draw()

    def show(self, document: Document) -> None:
        self._went = moves(self._before, document, self._went)
        self._before |= {row["symbol"]: row["last"] for row in document["symbols"] if row["last"]}
        self._document, self._notice = document, None
        self._draw()

    def lost(self, why: str) -> None:
        shown = (
            "" if self._document is None else f"; what is shown was true at {self._document['at'][11:19]}Z"
        )
        self._notice = f"{why}; waiting{shown}"
        self._draw()

    def pause(self, until_s: float) -> None:
        while (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(SLICE_S, left_s))
            if self._size != tuple(self._console.size):
                self._draw()

    def _draw(self) -> None:
        """Write over what is there; every line is padded to the full width, so that nothing has to be erased first."""
        if not self._is_taken:
            self._take()
        width, height = self._console.size
        if self._document is None:
            lines = [Text(harmless(self._notice or ""))]
        else:
            lines = picture(self._document, width, height, self._went, self._notice)
        rows = [self._row(line, width) for line in [*lines, *[Text()] * (height - len(lines))][:height]]
        fresh = ERASE if (width, height) != self._size else ""
        self._size = width, height
        self._console.file.write(HOME + fresh + "\r\n".join(rows))
        self._console.file.flush()

    def _row(self, line: Text, width: int) -> str:
        text = line.plain.translate(PLAIN_GLYPHS) if self._plain else line.plain
        row = Text(text, spans=line.spans)
        row.truncate(width, pad=True)
        with self._console.capture() as captured:
            self._console.print(row, end="", no_wrap=True, crop=False)
        return captured.get()
