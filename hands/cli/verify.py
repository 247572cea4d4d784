"""`hands verify`: run what was recorded again, and say whether the same comes out.

Owns its flags, the bar, and the exit code. May not compare anything itself: that is `hands.journal.verification`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hands.cli.output import ExitCode, JsonFlag, fail, print_json, say

if TYPE_CHECKING:
    from hands.journal.verification import Verdict


def verify(
    state_dir: Annotated[Path, typer.Argument(metavar="STATE_DIR", help="The daemon's state directory.")],
    *,
    session: Annotated[
        str | None,
        typer.Option(
            metavar="N|last",
            help="Run only this one again: the number of its first step. [all]",
            show_default=False,
        ),
    ] = None,
    key: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="The first key, from `hands journal key` (repeatable)."),
    ] = None,
    anchors: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Anchors that were kept elsewhere. [the directory's own]", show_default=False
        ),
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Compare also what another version of this program recorded.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Decide every recorded session again, and hold all that came out then against what comes out now.

    Compared are every decision, every byte of every request, the whole state wherever it was recorded, the ledger's rows and
    the open business. With the first key also that nothing was changed, added or taken out since. It may be asked while the
    daemon runs, and after a crash. Exit 1 where something is different or was changed, 3 where nothing is recorded.

    Example: hands verify var --key first.key
    """
    number = _number(session, as_json=as_json)
    began_s = time.monotonic()
    try:
        verdict = _verified(state_dir, number, key or [], anchors, anyway=anyway, as_json=as_json)
    except KeyboardInterrupt:
        fail(ExitCode.INTERRUPTED, "interrupted; nothing was decided", as_json=as_json)
    took_s = time.monotonic() - began_s
    from hands.cli.verify_view import document, lines

    if as_json:
        print_json(document(verdict, state_dir, took_s))
    else:
        say("\n".join(lines(verdict, took_s)))
    raise typer.Exit(int(ExitCode.FINE if verdict.is_good else ExitCode.NEGATIVE))


def _number(session: str | None, *, as_json: bool) -> int | str | None:
    if session is None or session == "last":
        return session
    if not (session.isascii() and session.isdecimal()):
        fail(ExitCode.USAGE, f"--session takes a number or last, not {session!r}", as_json=as_json)
    return int(session)


def _verified(
    folder: Path,
    only: int | str | None,
    keys: list[Path],
    anchors: Path | None,
    *,
    anyway: bool,
    as_json: bool,
) -> Verdict:
    from hands.journal.record import NoRecord
    from hands.journal.verification import NoSession
    from hands.runtime.proof import verify as run_again

    first_keys = _first_keys(folder, keys, as_json=as_json)
    if anchors is not None and not anchors.is_file():
        fail(ExitCode.USAGE, f"--anchors: {anchors}: no such file", as_json=as_json)
    try:
        with _bar() as progress:
            return run_again(
                folder, first_keys=first_keys, anchors=anchors, only=only, anyway=anyway, progress=progress
            )
    except NoRecord as error:
        fail(ExitCode.UNSAFE, f"nothing is recorded there: {error}", as_json=as_json)
    except NoSession as error:
        fail(ExitCode.USAGE, f"--session: {error}", as_json=as_json)
    except OSError as error:
        fail(ExitCode.UNSAFE, f"the record cannot be read: {error}", as_json=as_json)


def _first_keys(folder: Path, keys: list[Path], *, as_json: bool) -> list[bytes]:
    """Return the keys that were given, or the one that nobody has taken away yet."""
    from hands.journal.keys import FIRST_NAME, first_key, read_first_key

    problems, found = [], []
    for path in keys:
        try:
            found.append(read_first_key(path))
        except OSError as error:
            problems.append(f"--key: {path}: {error.strerror}")
        except ValueError as error:
            problems.append(f"--key: {path} is no first key: {error}")
    if problems:
        fail(ExitCode.USAGE, problems, as_json=as_json)
    if found:
        return found
    try:
        left = first_key(folder)
    except (OSError, ValueError) as error:
        say(f"hands: {folder / FIRST_NAME} cannot be used: {error}", err=True)
        return []
    if left is None:
        return []
    say(
        f"hands: the first key still lies in {folder / FIRST_NAME}: whoever could change the record could have sealed it"
        " anew. Take it away with `hands journal key`",
        err=True,
    )
    return [left]


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None] | None]:
    """Give what shows the steps and rows that are done; on a terminal's stderr."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("verifying", total=None)
        done = [0, 0]

        def show(steps: int, rows: int) -> None:
            done[0] += steps
            done[1] += rows
            progress.update(task, description=f"verifying: {done[0]:,} steps, {done[1]:,} rows")

        yield show
