"""The `hands` command itself: which commands there are, and the version.

Owns the table of commands. May not do anything heavy: every command imports what it needs when it runs.
"""

from __future__ import annotations

from typing import Annotated

import typer

from hands.cli import (
    check,
    config,
    demo,
    doctor,
    documents,
    envelope,
    explain,
    export,
    fetch,
    gates,
    holdings,
    init,
    journal,
    limits,
    log,
    operate,
    record,
    replay,
    report,
    service,
    simulate,
    trades,
    verify,
    watch,
    watchdog,
)
from hands.cli.output import JsonFlag, print_json
from hands.version import __version__

app = typer.Typer(
    name="hands",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"hands {__version__}")
        raise typer.Exit


@app.callback()
def about(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The execution engine between a trading agent and its brokerage account.

    Start with `hands demo`. Exit codes: 0 fine, 1 a negative verdict or state, 2 usage or configuration,
    3 refused because unsafe (no daemon, wrong account), 130 interrupted.
    """


def version(*, as_json: JsonFlag = False) -> None:
    """Print the version (as `hands --version` does)."""
    if as_json:
        print_json({"name": "hands", "version": __version__})
    else:
        typer.echo(f"hands {__version__}")


for name, command in (
    ("demo", demo.demo),
    ("run", service.run),
    ("sim", simulate.sim),
    ("new", documents.new),
    ("send", documents.send),
    ("check", check.check),
    ("envelope", envelope.envelope),
    ("explain", explain.explain),
    ("gates", gates.gates),
    ("report", report.report),
    ("export", export.export),
    ("verify", verify.verify),
    ("status", operate.status),
    ("quote", operate.quote),
    ("watch", watch.watch),
    ("watchdog", watchdog.watchdog),
    ("positions", holdings.positions),
    ("orders", holdings.orders),
    ("log", log.log),
    ("cancel", trades.cancel),
    ("close", trades.close),
    ("amend", trades.amend),
    ("halt", operate.halt),
    ("reduce-only", operate.reduce_only),
    ("flatten", trades.flatten),
    ("resume", operate.resume),
    ("adopt", trades.adopt),
    ("fetch", fetch.fetch),
    ("replay", replay.replay),
    ("record", record.record),
    ("init", init.init),
    ("doctor", doctor.doctor),
    ("config", config.config),
    ("schema", check.schema),
):
    app.command(name, cls=simulate.GroupedCommand if name == "sim" else None)(command)
app.add_typer(limits.app, name="limits")
app.add_typer(journal.app, name="journal")
app.command("version", hidden=True)(version)


def main() -> None:
    """Run the command line; ends the process with the contract's exit code."""
    app()
