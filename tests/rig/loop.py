"""An event loop whose time jumps: when nothing is ready, the clock stands at the next timer.

Owns virtual time, the order of callbacks, and which process a callback belongs to. May not know what runs on it. The
one idea: a process that dies is a `Life` that is over; whatever was put down by it, tasks, timers and answers alike, is
never run again, as the kernel does not run a dead process. Real descriptors (inotify) are polled and never waited for:
what another part of this thread did to them is seen before time moves on.
"""

from __future__ import annotations

import asyncio
import heapq
import select
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context, ContextVar, copy_context
from typing import Any

from tests.rig.wires import Network

CALLBACK_NS = 2_000
"""What a callback takes. Without it no time would pass within a burst, and every latency were zero."""


class ProcessDied(BaseException):
    """Raised where a process is to die: it unwinds what is on the stack, and nothing may be done on the way."""


class Stalled(Exception):  # noqa: N818
    """Nothing is ready and nothing will ever be: whoever waits waits for ever."""


class Life:
    """One process: its callbacks run while it is alive, in its own context."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.signals: dict[int, Callable[..., object]] = {}
        self.on_bug: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None
        self.tasks: list[asyncio.Task[Any]] = []
        self.context = copy_context()
        self.context.run(LIFE.set, self)


LIFE: ContextVar[Life | None] = ContextVar("life", default=None)


class _Handle(asyncio.Handle):
    __slots__ = ()

    def _run(self) -> None:
        life = self._context.get(LIFE)
        if life is None or life.alive:
            super()._run()


class _Timer(asyncio.TimerHandle):
    __slots__ = ()

    def _run(self) -> None:
        life = self._context.get(LIFE)
        if life is None or life.alive:
            super()._run()


class VirtualLoop(asyncio.BaseEventLoop):
    """Time is `now_ns`, monotonic; `wall_ns` is what the wall shows, which may be stepped."""

    def __init__(self, start_ns: int, network: Network) -> None:
        super().__init__()
        self.now_ns = 1_000_000_000_000  # a machine that is up for a while
        self.wall_step_ns = start_ns - self.now_ns
        self.bugs: list[str] = []
        self.network = network
        network.loop = self
        self._readers: dict[int, asyncio.Handle] = {}
        self._poll = select.poll()

    # --- time ----------------------------------------------------------------------------------------------

    def time(self) -> float:
        return self.now_ns / 1e9

    @property
    def wall_ns(self) -> int:
        return self.now_ns + self.wall_step_ns

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # one thread

    def call_at(
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = _Timer(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True
        return timer

    def call_later(
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now_ns / 1e9 + delay, callback, *args, context=context)

    def _run_once(self) -> None:
        scheduled, ready = self._scheduled, self._ready
        if self._readers:
            self._look_at_readers()
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
            self._timer_cancelled_count = max(0, self._timer_cancelled_count - 1)
        if not ready:
            if not scheduled:
                raise Stalled("nothing is left to happen")
            self.now_ns = max(self.now_ns, int(scheduled[0]._when * 1e9) + 1)
        now_s = self.now_ns / 1e9
        while scheduled and scheduled[0]._when <= now_s:
            timer = heapq.heappop(scheduled)
            timer._scheduled = False
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                self.now_ns += CALLBACK_NS
                handle._run()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass  # those that were cancelled go when their time has come

    # --- descriptors ---------------------------------------------------------------------------------------

    def add_reader(self, fd: int, callback: Any, *args: Any) -> None:
        self._readers[fd] = _Handle(callback, args, self, None)
        self._poll.register(fd, select.POLLIN)

    def remove_reader(self, fd: int) -> bool:
        if self._readers.pop(fd, None) is None:
            return False
        self._poll.unregister(fd)
        return True

    def _look_at_readers(self) -> None:
        for fd, _ in self._poll.poll(0):
            handle = self._readers[fd]
            if handle not in self._ready:
                self._ready.append(handle)

    # --- connections ---------------------------------------------------------------------------------------

    async def create_connection(self, factory: Any, host: Any = None, port: Any = None, **more: Any) -> Any:
        assert not more.get("ssl"), "the rig's wires are plain"
        return await self.network.connect(factory, host, port)

    async def create_server(self, factory: Any, host: Any = None, port: Any = None, **more: Any) -> Any:
        del more
        return self.network.listen(factory, host, port)

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        pass  # those of a dead process end with it

    # --- what would need a thread, a signal or a socket -------------------------------------------------------

    def run_in_executor(self, executor: Executor | None, func: Any, *args: Any) -> Any:
        """Do it now: in one thread there is one order of things."""
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  (it is handed on)
            done.set_exception(error)
        return done

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:
        life = LIFE.get()
        assert life is not None
        life.signals[sig] = lambda: callback(*args)

    def remove_signal_handler(self, sig: int) -> bool:
        life = LIFE.get()
        return life is not None and life.signals.pop(sig, None) is not None

    def _process_events(self, event_list: Any) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    # --- processes -----------------------------------------------------------------------------------------

    def create_task(self, coro: Coroutine[Any, Any, Any], **more: Any) -> asyncio.Task[Any]:
        task = super().create_task(coro, **more)
        context = more.get("context")
        life = LIFE.get() if context is None else context.get(LIFE)
        if life is not None:
            life.tasks.append(task)
            if len(life.tasks) > 256:
                life.tasks = [each for each in life.tasks if not each.done()]
        return task

    def spawn(self, life: Life, coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine as a part of a process."""
        return self.create_task(coro, context=life.context)

    def bury(self, life: Life) -> None:
        """A process is dead: nothing of it runs any more, its sockets close, its descriptors are forgotten."""
        life.alive = False
        for fd, handle in list(self._readers.items()):
            if handle._context.get(LIFE) is life:
                self.remove_reader(fd)
        self.network.cut_off(life)
        for task in life.tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]

    def set_exception_handler(self, handler: Any) -> None:
        life = LIFE.get()
        if life is None:
            super().set_exception_handler(handler)
        else:
            life.on_bug = handler

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, ProcessDied):
            return
        handle = context.get("handle")
        life = LIFE.get() if handle is None else handle._context.get(LIFE)
        if life is not None and not life.alive:
            return
        self.bugs.append(_told(context, life))
        if life is not None and life.on_bug is not None:
            life.on_bug(self, context)


def _told(context: dict[str, Any], life: Life | None) -> str:
    import traceback

    error = context.get("exception")
    lines = traceback.format_exception(error) if isinstance(error, BaseException) else []
    return f"{life.name if life else 'rig'}: {context.get('message')}\n{''.join(lines)}"
