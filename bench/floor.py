"""The floor: the least a Python program can do between a file and an order. No parsing, no checks, no record.

It blocks on inotify, reads the file, and writes an order built beforehand to a socket that is already connected.
What Hands needs beyond this is what its guarantees cost.

Run as `python -m bench.floor FOLDER HOST PORT`.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import struct
import sys
from pathlib import Path

IN_MOVED_TO = 0x80
_HEADER = struct.Struct("iIII")  # struct inotify_event: wd, mask, cookie, len; then len bytes of name
_ORDER = json.dumps(
    {
        "symbol": "AAPL", "qty": "66", "side": "buy", "type": "limit", "time_in_force": "gtc",
        "limit_price": "150.15", "client_order_id": "floor", "order_class": "bracket",
        "take_profit": {"limit_price": "155"}, "stop_loss": {"stop_price": "148"},
    }
).encode()  # fmt: skip
REQUEST = (
    b"POST /v2/orders HTTP/1.1\r\nHost: bench\r\nAPCA-API-KEY-ID: sim\r\nAPCA-API-SECRET-KEY: sim\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_ORDER), _ORDER)
)


def run(folder: Path, host: str, port: int) -> None:
    """Answer every file that is renamed into `folder`, until the process is ended."""
    libc = ctypes.CDLL(None, use_errno=True)
    events = libc.inotify_init1(os.O_CLOEXEC)
    if events < 0 or libc.inotify_add_watch(events, os.fsencode(folder), IN_MOVED_TO) < 0:
        raise OSError(ctypes.get_errno(), "inotify")
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    with socket.create_connection((host, port)) as venue:
        venue.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        print(json.dumps({"event": "ready"}), flush=True)
        while True:
            data = os.read(events, 65_536)
            offset = 0
            while offset < len(data):
                _, _, _, length = _HEADER.unpack_from(data, offset)
                start = offset + _HEADER.size
                offset = start + length
                file = os.open(data[start:offset].rstrip(b"\0"), os.O_RDONLY, dir_fd=folder_fd)
                os.read(file, 65_536)
                venue.sendall(REQUEST)
                os.close(file)
                venue.recv(4_096)


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
