"""Tasks that nobody awaits: if one ends by an exception, the loop's exception handler hears of it.

Owns that one promise. A task whose result is never asked for would otherwise keep its exception to itself: a bug in
a decision would end a stream for good, and the process would live on as if nothing had happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


def standing_task(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Run `work` on its own; what it raises goes to the running loop's exception handler at once."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(work, name=name)

    def finished(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            loop.call_exception_handler(
                {"message": f"{name} failed by our own fault", "exception": error, "task": task}
            )

    task.add_done_callback(finished)
    return task
