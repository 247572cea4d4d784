"""Being told of files: inotify on Linux, watchfiles where there is none, and nothing where the system gives neither.

Owns the kernel's watches and their file descriptor. May not look at a file. Who is not told looks (`hands.intake.sweep`):
a watcher only makes it quick. The one idea: the descriptor sits in
the event loop like a socket, so between a rename and our callback there is no thread, no queue and no pause to
gather more (60 us against 1.9 ms for watchfiles at its fastest, 75 ms at its defaults). The forty lines of ctypes are
here because what is on offer either waits, or starts a thread, or both.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import threading
from collections import deque
from pathlib import Path
from typing import NamedTuple

IN_MODIFY = 0x00000002
IN_CLOSE_WRITE = 0x00000008
IN_MOVED_TO = 0x00000080
IN_CREATE = 0x00000100
IN_DELETE_SELF = 0x00000400
IN_MOVE_SELF = 0x00000800
IN_UNMOUNT = 0x00002000
IN_Q_OVERFLOW = 0x00004000
IN_IGNORED = 0x00008000
IN_ONLYDIR = 0x01000000

FOLDER_MASK = (
    IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR
)  # fmt: skip
BEGUN_MASK = IN_CREATE | IN_MODIFY
"""Of a regular file: it may still be being written."""

GONE_MASK = IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED

_HEADER = struct.Struct("iIII")  # struct inotify_event: wd, mask, cookie, len; then len bytes of name
_READ_BYTES = 64 * 1024


RETRY_S = 1.0
"""How long the thread of `PollingWatcher` waits before it tries again to watch what it could not."""


class FileEvent(NamedTuple):
    """Something happened to `name` in the watched folder (`name` empty: to the folder itself)."""

    watch: int
    mask: int
    name: str


class InotifyWatcher:
    """Watches folders through inotify; `fileno()` is readable when there are events.

    Raises:
        OSError: the kernel's limits on instances or watches are reached (fs.inotify.*), from any method.
    """

    proves_complete = True
    """Whether IN_CLOSE_WRITE and IN_MOVED_TO mean that the writer is done."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._add_watch = libc.inotify_add_watch
        self._rm_watch = libc.inotify_rm_watch
        self._fd = _checked(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def fileno(self) -> int:
        return self._fd

    def add(self, folder_fd: int, path: Path) -> int:
        """Watch the folder open as `folder_fd` (that very one, whatever `path` names by now); return the watch."""
        del path
        return _checked(self._add_watch(self._fd, f"/proc/self/fd/{folder_fd}".encode(), FOLDER_MASK))

    def remove(self, watch: int) -> None:
        """Stop watching; a watch whose folder is gone has already been removed by the kernel."""
        self._rm_watch(self._fd, watch)

    def read(self) -> list[FileEvent]:
        """Return what has happened, oldest first, at most one buffer full; nothing if nothing has."""
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return []
        events = []
        offset = 0
        while offset < len(data):
            watch, mask, _, length = _HEADER.unpack_from(data, offset)
            offset += _HEADER.size
            name = data[offset : offset + length].rstrip(b"\0")
            offset += length
            events.append(FileEvent(watch, mask, os.fsdecode(name)))
        return events

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class PollingWatcher:
    """The same for systems without inotify: watchfiles in a thread, below `root`, waking the loop through a pipe.

    It cannot tell whether a writer is done (`proves_complete` False): the inbox then waits until a file is quiet.
    """

    proves_complete = False

    def __init__(self, root: Path) -> None:
        self.trouble: OSError | None = None
        self._root = root.resolve()
        self._watches: dict[str, int] = {}
        self._events: deque[FileEvent] = deque()
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="inbox-watch", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        return self._reading

    def add(self, folder_fd: int, path: Path) -> int:
        """Report what happens in `path`, a folder at or below the root; return the watch. Raises OSError."""
        del folder_fd
        if self.trouble is not None:
            raise self.trouble
        return self._watches.setdefault(str(path.resolve()), len(self._watches) + 1)

    def remove(self, watch: int) -> None:
        """Stop reporting for that watch."""
        self._watches = {path: known for path, known in self._watches.items() if known != watch}

    def read(self) -> list[FileEvent]:
        """Return what has happened since the last call."""
        try:
            os.read(self._reading, 4096)
        except BlockingIOError:
            return []
        events = []
        while self._events:
            events.append(self._events.popleft())
        return events

    def close(self) -> None:
        if self._reading >= 0:
            self._stopped.set()
            self._thread.join()
            os.close(self._reading)
            os.close(self._writing)
            self._reading = -1

    def _run(self) -> None:
        from watchfiles import Change, watch  # only where it is needed: 20 ms of import

        while not self._stopped.is_set():
            try:
                for changes in watch(
                    self._root, watch_filter=None, debounce=1, step=1, rust_timeout=500, stop_event=self._stopped,
                    raise_interrupt=False, yield_on_timeout=True,
                ):  # fmt: skip
                    self.trouble = None
                    for change, path in sorted(changes, key=lambda item: item[1]):
                        folder, _, name = path.rpartition(os.sep)
                        number = self._watches.get(folder)
                        if number is not None and change is not Change.deleted:
                            self._events.append(FileEvent(number, IN_MOVED_TO, name))
                    if changes:
                        self._notify()
            except FileNotFoundError:  # the root is gone; the inbox makes it again
                self._stopped.wait(0.1)
            except (OSError, RuntimeError) as error:  # no watches left, or the library's own trouble
                self.trouble = error if isinstance(error, OSError) else OSError(str(error))
                self._stopped.wait(RETRY_S)

    def _notify(self) -> None:
        try:
            os.write(self._writing, b"!")
        except BlockingIOError:
            return  # a full pipe is readable, which is all that is meant


class NoWatcher:
    """Stands in where the system has no watcher to give, for the reason `error`: nothing is told, nothing is watched."""

    proves_complete = False

    def __init__(self, error: OSError) -> None:
        self._error = error

    def fileno(self) -> int:
        return -1

    def add(self, folder_fd: int, path: Path) -> int:
        del folder_fd, path
        raise self._error

    def remove(self, watch: int) -> None:
        del watch

    def read(self) -> list[FileEvent]:
        return []

    def close(self) -> None:
        pass


Watcher = InotifyWatcher | PollingWatcher | NoWatcher


def open_watcher(root: Path) -> Watcher:
    """Return the watcher of this system for the drop folder `root`; never fails."""
    try:
        return InotifyWatcher() if sys.platform == "linux" else PollingWatcher(root)
    except (OSError, RuntimeError) as error:  # no instances, descriptors or threads left
        return NoWatcher(error if isinstance(error, OSError) else OSError(str(error)))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"inotify: {os.strerror(number)}")
    return result
