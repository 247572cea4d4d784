"""The cells of the real matrix, as a table: asset, scenario, fault, and the steps at which the daemon dies.

Owns which deaths are real ones. The in-memory matrix (`python -m tests.crash`) has every step crossed with every fault;
these are the steps at which the operating system has a say: what was written to a file, a database or a socket.
A step is `word:nth:when` (`real_launcher`); `a > b` dies at a, and the life that recovers dies at b.
"""

from __future__ import annotations

from tests.crash.real_play import Cell

TABLE = """
equity entry none: commit/document:1:before, commit/document:1:mid, commit/document:1:after
equity entry none: write/submit/entry:1:before, write/submit/entry:1:after, write/submit/entry:1:sent
equity entry none: answer/submit/entry:1:before, report/fill/entry:1:before, report/fill/entry:1:after
equity entry none: commit/order_report/fill/entry:1:mid, receipt/WORKING:1:before, receipt/WORKING:1:mid
equity entry none: archive:1:before, archive:1:mid, archive:1:taken, receipt/OPEN:1:mid
equity entry none: project/orders:1:mid, project/intents:1:after
equity entry drop_request: answer/submit/entry:1:after
equity entry drop_response: answer/submit/entry:1:before, answer/submit/entry:1:after
equity entry late: write/submit/entry:1:sent
equity entry duplicate: report/fill/entry:2:before
equity entry delay: answer/submit/entry:1:after
equity entry none: commit/document:1:after > commit/truth:1:mid
equity entry none: write/submit/entry:1:sent > commit/truth:1:before
equity partial none: report/partial_fill/entry:1:before, report/partial_fill/entry:1:after
equity partial none: write/cancel/entry:1:sent, report/canceled/entry:1:after, write/submit/tp:1:sent
equity partial none: answer/submit/tp:1:before
equity partial drop_cancel: answer/cancel/entry:1:after
equity partial lose_second: answer/submit/tp:1:after
equity target none: report/fill/tp:1:before, report/fill/tp:1:after, write/query/entry:1:sent
equity target none: commit/row/trade_episodes:1:before, commit/row/trade_episodes:1:mid
equity target none: commit/row/trade_episodes:1:after, receipt/CLOSED:1:mid, project/trade_episodes:1:mid
equity target none: project/trade_episodes:1:after
equity target duplicate: report/fill/tp:2:before
equity stop none: report/fill/sl:1:before, commit/row/trade_episodes:1:mid, receipt/CLOSED:1:before
equity stop delay: report/fill/sl:1:before
equity time none: write/cancel/leg:1:sent, report/canceled/tp:1:before, write/submit/exit:1:before
equity time none: write/submit/exit:1:sent, answer/submit/exit:1:before
equity time drop_request: answer/submit/exit:1:after
equity time late: write/submit/exit:1:sent
crypto entry none: commit/document:1:mid, write/submit/entry:1:sent, report/fill/entry:1:before
crypto entry none: write/submit/sl:1:before, write/submit/sl:1:sent, answer/submit/sl:1:before
crypto entry none: commit/order_report/new/sl:1:mid
crypto entry late: write/submit/entry:1:sent
crypto entry drop_second: answer/submit/sl:1:after
crypto entry lose_second: answer/submit/sl:1:after
crypto entry none: report/fill/entry:1:before > write/submit/sl:1:sent
crypto partial none: report/partial_fill/entry:1:after, write/cancel/entry:1:sent, write/submit/sl:1:sent
crypto target none: write/cancel/sl:1:before, write/cancel/sl:1:sent, report/canceled/sl:1:before
crypto target none: write/submit/exit:1:before, write/submit/exit:1:sent, answer/submit/exit:1:before
crypto target none: report/fill/exit:1:before, commit/row/trade_episodes:1:mid
crypto target drop_cancel: answer/cancel/sl:1:after
crypto target lose_cancel: answer/cancel/sl:1:after
crypto target drop_request: answer/submit/exit:1:after
crypto target drop_response: answer/submit/exit:1:after
crypto target late: write/submit/exit:1:sent
crypto target duplicate: report/canceled/sl:2:before
crypto target none: write/cancel/sl:1:sent > commit/truth:1:after
crypto stop none: report/fill/sl:1:before, commit/row/trade_episodes:1:after
crypto time none: write/cancel/sl:1:sent, write/submit/exit:1:after, report/fill/exit:1:after
crypto time duplicate: report/fill/exit:2:before
equity trail none: write/replace/leg:1:before, write/replace/leg:1:sent, report/replaced/sl:1:before
equity trail none: commit/order_report/replaced/sl:1:mid
equity trail lose_change: answer/replace/leg:1:after
crypto trail none: write/replace/sl:1:sent, answer/replace/sl:1:before
crypto trail drop_change: answer/replace/sl:1:after
equity close none: commit/document:1:mid, write/cancel/leg:1:sent, write/submit/exit:1:sent, receipt/DONE:1:mid
crypto close none: commit/document:1:after, write/submit/exit:1:before, archive:1:taken
crypto close late: write/submit/exit:1:sent
equity flatten none: commit/operator:1:before, commit/operator:1:after, write/submit/exit:1:sent
crypto flatten none: commit/operator:1:mid, write/cancel/sl:1:sent, report/fill/exit:1:before
equity entry watchdog: write/submit/entry:1:sent
equity partial watchdog: report/partial_fill/entry:1:after
equity time watchdog: write/submit/exit:1:before
crypto entry watchdog: write/submit/sl:1:before, write/submit/entry:1:sent
crypto target watchdog: write/cancel/sl:1:sent, write/submit/exit:1:sent
"""

EVERY_TEST_RUN = (
    "equity entry | write/submit/entry:1:sent | late",
    "equity partial | write/submit/tp:1:sent | none",
    "equity target | project/trade_episodes:1:mid | none",
    "crypto entry | report/fill/entry:1:before then write/submit/sl:1:sent | none",
    "crypto target | write/submit/exit:1:sent | late",
    "crypto time | write/cancel/sl:1:sent | none",
)
"""The few that every test run affords: the worst moments of each scenario."""


def read(table: str) -> list[Cell]:
    """Return the cells of a table."""
    cells = []
    for line in table.strip().splitlines():
        head, _, steps = line.partition(": ")
        asset, scenario, fault = head.split()
        for text in steps.split(", "):
            step, _, again = text.partition(" > ")
            cells.append(Cell(asset, scenario, step, fault, again))
    return cells


CELLS = read(TABLE)
EVERY_RUN = [cell for cell in CELLS if cell.name in EVERY_TEST_RUN]
