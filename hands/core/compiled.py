"""How the market's code is compiled, and how a stale compilation is told from a fresh one.

Owns the options under which numba compiles. May not know what is compiled.
The one idea: only a few functions are called from Python, and only those are cached; everything they call is compiled
into them, and a fingerprint of all of it is part of the cache's key.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from types import CodeType, ModuleType
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, typeof_impl

Record: TypeAlias = Any
"""One element of a record array, as compiled code sees it: its fields are attributes, written in place."""

int64: Any = np.int64
"""For compiled code, which would be compiled once for every width and literal among the integers it is given."""

ABSENT = math.nan
"""How compiled code says "no value yet"; it becomes `None` before it leaves the market."""

_F = TypeVar("_F", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"error_model": "numpy", "_nrt": False}
"""IEEE arithmetic in source order (no `fastmath`, no threads), x / 0 is not an exception, and numba's allocator off:
the kernel then cannot allocate, and counts no references to the arrays it is lent. Counting them cost 120 of 135 ns
per row."""


_NO_WAY_IN: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


class Inner:
    """A function for compiled code only: numba sees what it compiles, Python sees the function as it was written.

    It has no compiled way in from Python, which nobody would use: compiling one for each took 1.3 of 8.5 s.
    """

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        self.py_func = function
        self.dispatcher = njit(**_OPTIONS, **_NO_WAY_IN, **options)(function)

    def __call__(self, *arguments: Any) -> Any:
        return self.py_func(*arguments)


@typeof_impl.register(Inner)
def _as_dispatcher(inner: Inner, _: object) -> types.Dispatcher:
    return types.Dispatcher(inner.dispatcher)


def compiled(function: _F) -> _F:
    """Compile `function` into whatever calls it: for what every row runs through."""
    return cast("_F", Inner(function, forceinline=True))


def compiled_apart(function: _F) -> _F:
    """Compile `function` once, to be called: for what few rows run through, in several places."""
    return cast("_F", Inner(function))


def entry_point(function: _F) -> _F:
    """Compile `function` to be called from Python, and keep the machine code (`kept_in`).

    numba keeps it in `NUMBA_CACHE_DIR`, else beside the source file, else in the user's cache directory. Where none of
    them can be written every process compiles anew, which takes seconds, but works.
    """
    try:
        return cast("_F", njit(cache=True, **_OPTIONS)(function))
    except RuntimeError:  # "no locator available"
        return cast("_F", njit(**_OPTIONS)(function))


def kept_in(function: Callable[..., Any]) -> str | None:
    """Return the folder in which an entry point's machine code is kept, None where it cannot be."""
    found: str | None = function.stats.cache_path  # type: ignore[attr-defined]
    return found


def was_compiled(function: Callable[..., Any]) -> bool:
    """Whether this process has compiled an entry point, and not found it where it is kept."""
    return bool(function.overloads) and not function.stats.cache_hits  # type: ignore[attr-defined]


def door(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the quickest way into an entry point: past numba's dispatcher once its one signature is compiled.

    The dispatcher finds the types of all arguments anew at every call, which is half of a call with one row; behind
    this door the arguments must have the types that were compiled. Before anything is compiled it is the dispatcher.
    """
    overloads = list(function.overloads.values())  # type: ignore[attr-defined]
    return overloads[0].entry_point if len(overloads) == 1 else function


LINE = 64
"""Bytes of a cache line."""


def lines(*groups: list[Any]) -> np.dtype[Any]:
    """Return the layout of a record in which each group of fields begins on a cache line; `spare_…` fill the gaps."""
    fields: list[Any] = []
    for number, group in enumerate(groups):
        fields += group
        gap = -np.dtype(group, align=True).itemsize % LINE // 8
        if gap:
            fields.append((f"spare_{number}", "i8", (gap,)))
    return np.dtype(fields, align=True)


def line_of(layout: np.dtype[Any], name: str) -> int:
    """Return in which cache line of a record a field begins."""
    assert layout.fields is not None
    return int(layout.fields[name][1]) // LINE


def on_lines(shape: tuple[int, ...], layout: np.dtype[Any]) -> np.ndarray:
    """Return zeroed records that begin on a cache line, where numpy would begin them 16 bytes beyond one."""
    size = math.prod(shape) * layout.itemsize
    room = np.zeros(size + LINE, np.uint8)
    begin = -room.__array_interface__["data"][0] % LINE
    return room[begin : begin + size].view(layout).reshape(shape)


def _prefetch(typing: Any, array: Any, i: Any, line: Any) -> Any:  # noqa: ARG001 as numba calls it
    """Ask for a cache line of element `i` of a contiguous array."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        whole = ir.IntType(32)
        made = context.make_array(signature.args[0])(context, builder, args[0])
        size = made.itemsize
        at = builder.add(builder.mul(args[1], size), builder.mul(args[2], ir.Constant(ir.IntType(64), LINE)))
        where = builder.gep(builder.bitcast(made.data, byte), [at])
        kind = ir.FunctionType(ir.VoidType(), [byte, whole, whole, whole])
        call = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        builder.call(call, [where, whole(1), whole(3), whole(1)])
        return context.get_dummy_value()

    return types.none(array, types.intp, types.intp), generate


prefetch: Any = intrinsic(_prefetch)
"""For compiled code: `prefetch(array, i, line)` asks for a cache line of element `i`, which need not exist."""


def fingerprint(*spaces: ModuleType | Mapping[str, object]) -> int:
    """Return a number that changes when a function or a constant in one of `spaces` (modules, globals) changes.

    numba checks a cached function against its own source file only: an edit to a formula elsewhere would leave
    the kernel that calls it stale. The kernel closes over this number, which makes it part of the cache's key.
    """
    sha = hashlib.sha256()
    for space in spaces:
        for name, value in sorted((vars(space) if isinstance(space, ModuleType) else space).items()):
            if isinstance(value, int | float | str | np.number) and not name.startswith("__"):
                sha.update(f"{name}={value!r};".encode())
            elif isinstance(value, tuple):
                sha.update(f"{name}={_plain(value)};".encode())
            elif isinstance(value, Inner):
                options = sorted(value.dispatcher.targetoptions.items())
                sha.update(f"{name}:{options}{_code(value.py_func.__code__)}".encode())
            elif isinstance(code := getattr(value, "__code__", None), CodeType):
                sha.update(f"{name}:{_code(code)}".encode())
    return int.from_bytes(sha.digest()[:7], "big")


def _plain(value: object) -> str:
    """Return a text of nested tuples that is the same in every process: functions by name, not by address."""
    if isinstance(value, tuple):
        return f"({','.join(_plain(part) for part in value)})"
    function = value.py_func if isinstance(value, Inner) else value
    return str(getattr(function, "__name__", repr(function)))


def _code(code: CodeType) -> str:
    consts = [_code(const) if isinstance(const, CodeType) else repr(const) for const in code.co_consts]
    return f"{code.co_code.hex()}{code.co_names}{code.co_freevars}{consts}"
