"""Reading a stranger's file, and filing it: what can change under us between any two system calls."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hands.core.vocab import Code
from hands.intake import files
from hands.intake import reading as reading_module
from hands.intake.drops import DropFolders
from hands.intake.inotify import open_watcher
from hands.intake.permissions import drop_folder_risks
from hands.intake.places import open_below, open_folder_fd
from hands.intake.reading import read_document

ID = "00000000-0000-4000-8000-000000000001"
JUDGED_NS = 1_767_571_199_999_999_999  # the last nanosecond of 2026-01-04, UTC


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("archive", "refused", "receipts"):
        (tmp_path / name).mkdir()
    return tmp_path


def archive(folder: Path, drop: Path, name: str, data: bytes, **rest: Any) -> None:
    with open_below(drop) as drop_fd:
        files.archive(folder, drop_fd, name, data, **rest)


def refuse(folder: Path, drop: Path, name: str, data: bytes, **rest: Any) -> str:
    with open_below(drop) as drop_fd:
        return files.refuse(folder, drop_fd, name, data, **rest)


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def fd(root: Path):
    fd = open_folder_fd(root)
    yield fd
    os.close(fd)


def during_read(monkeypatch: pytest.MonkeyPatch, act) -> None:
    """Do something to the folder just after the file was opened and before it is read."""
    real = os.read
    done = []

    def reading(fd: int, size: int) -> bytes:
        if not done:
            done.append(True)
            act()
        return real(fd, size)

    monkeypatch.setattr(reading_module.os, "read", reading)


def test_a_file_that_grows_past_the_limit_while_it_is_read_is_too_large(root: Path, fd: int, monkeypatch):
    (root / "a.json").write_bytes(b"x" * 60_000)
    during_read(monkeypatch, lambda: (root / "a.json").write_bytes(b"x" * 70_000))
    reading = read_document(fd, "a.json")
    assert reading is not None
    assert (reading.fault, reading.data) == (Code.TOO_LARGE, b"")


def test_a_file_that_is_written_to_while_it_is_read_is_left_to_its_writer(root: Path, fd: int, monkeypatch):
    (root / "a.json").write_bytes(b"x" * 100)
    os.utime(root / "a.json", (1, 1))
    during_read(monkeypatch, lambda: (root / "a.json").write_bytes(b"y" * 100))
    assert read_document(fd, "a.json") is None
    again = read_document(fd, "a.json")
    assert again is not None
    assert again.data == b"y" * 100


def test_a_file_replaced_while_it_is_read_is_read_as_it_was_opened(root: Path, fd: int, monkeypatch):
    (root / "a.json").write_bytes(b"first")
    (root / ".b").write_bytes(b"second")
    during_read(monkeypatch, lambda: (root / ".b").rename(root / "a.json"))
    reading = read_document(fd, "a.json")
    assert reading is not None
    assert (reading.data, reading.fault) == (b"first", None)


@pytest.mark.parametrize("kind", ["symlink", "fifo", "gone", "other file"])
def test_a_file_swapped_between_looking_and_opening_is_looked_at_again(
    root: Path, fd: int, monkeypatch, kind: str
):
    (root / "a.json").write_bytes(b"good")
    (root / "secret").write_bytes(b"secret")
    real = os.open
    swapped = []

    def opening(path, flags, *args, **kwargs):
        if path == "a.json" and not swapped:
            swapped.append(True)
            (root / "a.json").rename(root / "away")  # kept, so that its inode is not given out again
            if kind == "symlink":
                (root / "a.json").symlink_to("secret")
            elif kind == "fifo":
                os.mkfifo(root / "a.json")
            elif kind == "other file":
                (root / "a.json").write_bytes(b"other")
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(reading_module.os, "open", opening)
    reading = read_document(fd, "a.json")
    if kind == "gone":
        assert reading is None
    elif kind == "other file":
        assert reading is not None
        assert reading.data == b"other"
    else:
        assert reading is not None
        assert (reading.fault, reading.data) == (Code.NOT_REGULAR_FILE, b"")


def test_a_file_that_gets_a_second_name_between_looking_and_opening_is_refused_unread(
    root: Path, fd: int, monkeypatch
):
    (root / "a.json").write_bytes(b"good")
    real = os.open

    def opening(path, flags, *args, **kwargs):
        if path == "a.json":
            os.link(root / "a.json", root / "kept")
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(reading_module.os, "open", opening)
    reading = read_document(fd, "a.json")
    assert reading is not None
    assert (reading.fault, reading.data) == (Code.NOT_REGULAR_FILE, b"")


def test_a_document_is_read_with_one_look_one_open_and_one_read(root: Path, fd: int, monkeypatch):
    (root / "a.json").write_bytes(b"x" * 5000)
    calls: list[str] = []

    def counted(name: str) -> None:
        real = getattr(os, name)
        monkeypatch.setattr(reading_module.os, name, lambda *a, **k: calls.append(name) or real(*a, **k))

    for name in ("stat", "open", "fstat", "read"):
        counted(name)
    assert read_document(fd, "a.json") is not None
    assert calls == ["stat", "open", "fstat", "read", "fstat"]


def test_a_refusal_that_fails_half_way_leaves_no_half_and_the_next_try_takes_no_other_number(
    root: Path, monkeypatch
):
    """Or a folder that lets nothing out would fill the disk, four receipts a second."""
    (root / "a.json").write_bytes(b"bad")
    real = os.rename

    def stuck(*args: Any, **kwargs: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.os, "rename", stuck)
    for _ in range(3):
        with pytest.raises(reading_module.IntakeError, match="Permission denied"):
            refuse(root, root, "a.json", b"bad", receipt={}, identity=None)
        assert listing(root / "refused") == []
    monkeypatch.setattr(files.os, "rename", real)
    assert refuse(root, root, "a.json", b"bad", receipt={}, identity=None) == "a.json"
    assert listing(root / "refused") == ["a.json", "a.json.receipt.json"]


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("a.json", True),
        (".a.json", False),
        ("a.json.tmp", False),
        ("a.part", False),
        ("HALT", False),
        ("a.txt", False),
    ],
)
def test_only_finished_visible_json_names_count(name: str, counts: bool):
    assert reading_module.is_candidate(name) is counts


def test_judged_bytes_are_archived_under_the_utc_date_in_a_fresh_file(root: Path):
    (root / "a.json").write_bytes(b"{}")
    inode = (root / "a.json").stat().st_ino
    kept = os.open(root / "a.json", os.O_RDONLY)  # so that the inode cannot be given out again
    archive(root, root, "a.json", b"{}", intent_id=ID, judged_ns=JUDGED_NS)
    filed = root / "archive/2026-01-04" / f"{ID}.json"
    assert filed.read_bytes() == b"{}"
    assert (filed.stat().st_ino != inode, filed.stat().st_nlink) == (True, 1)
    assert listing(root) == ["archive", "receipts", "refused"]
    assert listing(filed.parent) == [filed.name]
    os.close(kept)


def test_an_archived_document_is_never_overwritten(root: Path):
    archive(root, root, "a.json", b"first", intent_id=ID, judged_ns=JUDGED_NS)
    archive(root, root, "a.json", b"first", intent_id=ID, judged_ns=JUDGED_NS)
    (root / "a.json").write_bytes(b"second")
    archive(root, root, "a.json", b"second", intent_id=ID, judged_ns=JUDGED_NS)
    (root / "a.json").write_bytes(b"third")
    archive(root, root, "a.json", b"third", intent_id=ID, judged_ns=JUDGED_NS)
    archive(root, root, "a.json", b"second", intent_id=ID, judged_ns=JUDGED_NS)
    day = root / "archive/2026-01-04"
    assert {name: (day / name).read_bytes() for name in listing(day)} == {
        f"{ID}.json": b"first",
        f"{ID}.json.1": b"second",
        f"{ID}.json.2": b"third",
    }
    assert not (root / "a.json").exists()


@pytest.mark.parametrize("intent_id", ["../x", "", "a/b", ".hidden", "x" * 65, "a\nb"])
def test_an_id_that_is_not_a_file_name_is_our_own_bug(root: Path, intent_id: str):
    with pytest.raises(ValueError, match="file name"):
        archive(root, root, "a.json", b"{}", intent_id=intent_id, judged_ns=JUDGED_NS)


@pytest.mark.parametrize("replacement", [b"second", b"firstly", b"", None])
def test_what_stands_in_the_place_of_the_judged_file_by_now_stays(root: Path, replacement: bytes | None):
    if replacement is None:
        (root / "a.json").symlink_to("refused")
    else:
        (root / "a.json").write_bytes(replacement)
    archive(root, root, "a.json", b"first", intent_id=ID, judged_ns=JUDGED_NS)
    if replacement is None:
        assert (root / "a.json").is_symlink()
    else:
        assert (root / "a.json").read_bytes() == replacement
        assert (root / "a.json").stat().st_nlink == 1
    assert [name for name in listing(root) if name.startswith(".")] == []


def test_a_taken_file_whose_name_is_in_use_again_gets_another_one(root: Path, fd: int):
    (root / "a.json").write_bytes(b"third")
    (root / ".taken-00").write_bytes(b"second")
    files.give_back(fd, ".taken-00", "a.json")
    assert (root / "a.json").read_bytes() == b"third"
    [other] = [name for name in listing(root) if name.startswith("a~")]
    assert (root / other).read_bytes() == b"second"
    assert reading_module.is_candidate(other)


def test_a_taken_file_that_was_delivered_already_is_not_put_back_under_another_name(root: Path, fd: int):
    (root / "a.json").write_bytes(b"third")
    (root / ".taken-00").write_bytes(b"second")
    files.give_back(fd, ".taken-00", "a.json", claimed=lambda: [b"third", b"second"])
    assert [name for name in listing(root) if "." in name] == ["a.json"]


def test_refused_files_of_one_name_are_numbered_file_and_receipt_alike(root: Path):
    for number in range(40):
        (root / "a.json").write_bytes(f"bad {number}".encode())
        filed = refuse(root, root, "a.json", f"bad {number}".encode(), receipt={"n": number}, identity=None)
        assert filed == (f"a.json.{number}" if number else "a.json")
        assert not (root / "a.json").exists()
    for number in range(40):
        name = f"a.json.{number}" if number else "a.json"
        assert (root / "refused" / name).read_bytes() == f"bad {number}".encode()
        assert f'"n": {number}'.encode() in (root / "refused" / f"{name}.receipt.json").read_bytes()
    assert len(listing(root / "refused")) == 80


def test_a_name_that_clashes_with_a_receipt_goes_to_the_next_number(root: Path):
    (root / "refused/a.json.receipt.json").write_bytes(b"lonely")
    (root / "a.json").write_bytes(b"bad")
    assert refuse(root, root, "a.json", b"bad", receipt={}, identity=None) == "a.json.1"
    assert (root / "refused/a.json.receipt.json").read_bytes() == b"lonely"


def test_a_thing_that_was_not_read_is_moved_itself_and_only_if_it_is_still_the_same(root: Path, fd: int):
    (root / "a.json").symlink_to("secret")
    reading = read_document(fd, "a.json")
    assert reading is not None
    (root / "a.json").rename(root / "kept")
    (root / "a.json").write_bytes(b"a good document that came meanwhile")
    filed = refuse(root, root, "a.json", b"", receipt={}, identity=reading.identity)
    assert (root / "a.json").read_bytes() == b"a good document that came meanwhile"
    assert not (root / "refused" / filed).exists()
    (root / "kept").replace(root / "a.json")
    filed = refuse(root, root, "a.json", b"", receipt={}, identity=reading.identity)
    assert (root / "refused" / filed).readlink() == Path("secret")
    assert not os.path.lexists(root / "a.json")


def test_a_full_folder_with_contents_is_moved_whole(root: Path, fd: int):
    (root / "a.json").mkdir()
    (root / "a.json/inside").write_bytes(b"x")
    reading = read_document(fd, "a.json")
    assert reading is not None
    refuse(root, root, "a.json", b"", receipt={}, identity=reading.identity)
    assert (root / "refused/a.json/inside").read_bytes() == b"x"


def test_a_disk_that_takes_no_more_is_reported_and_the_document_stays(tmp_path: Path):
    """A real failing write(2), by a file size limit, in a process of its own."""
    code = """
import os, pathlib, resource, signal, sys
from hands.intake.files import archive, refuse
from hands.intake.reading import IntakeError
from hands.intake.receipts import ReceiptWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
root = pathlib.Path(sys.argv[1])
for name in ("archive", "refused", "receipts"):
    (root / name).mkdir()
data = b"x" * 5000
(root / "a.json").write_bytes(data)
ReceiptWriter(root).write("id-1", {"v": 1})
fd = os.open(root, os.O_RDONLY)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
acts = (
    lambda: archive(root, fd, "a.json", data, intent_id="id-1", judged_ns=0),
    lambda: refuse(root, fd, "a.json", data, receipt={"x": "y" * 2000}, identity=None),
    lambda: refuse(root, fd, "a.json", data, receipt={"x": "a receipt still fits, its document does not"}, identity=None),
    lambda: ReceiptWriter(root).write("id-1", {"x": "y" * 2000}),
)
for act in acts:
    try:
        act()
    except IntakeError as error:
        print("reported", error)
assert (root / "a.json").read_bytes() == data
assert (root / "receipts/id-1.json").read_bytes() == b'{"v":1}\\n'
left = [p.name for p in root.rglob("*") if p.is_file()]
assert sorted(left) == ["a.json", "id-1.json"], left
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("reported") == 4


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be")
def test_a_read_only_archive_is_reported_and_the_document_stays(tmp_path: Path):
    code = """
import os, pathlib
from hands.intake.files import archive
from hands.intake.reading import IntakeError
os.setuid(65534)
root = pathlib.Path(".")  # the folders above it are not for that user
try:
    archive(root, os.open(root, os.O_RDONLY), "a.json", b"{}", intent_id="id-1", judged_ns=0)
except IntakeError as error:
    print("reported", error)
"""
    (tmp_path / "archive").mkdir(mode=0o555)
    (tmp_path / "a.json").write_bytes(b"{}")
    tmp_path.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Permission denied" in done.stdout
    assert (tmp_path / "a.json").exists()


def test_a_drop_folder_that_hands_makes_lets_its_group_drop_and_do_nothing_else(tmp_path: Path):
    folder = tmp_path / "intents"
    assert drop_folder_risks(folder) == [], "not there yet"
    watcher = open_watcher(tmp_path)
    drops = DropFolders(folder, {}, watcher)
    try:
        drops.look_after()
        assert folder.stat().st_mode & 0o7777 == 0o3775
        assert drop_folder_risks(folder) == []
        folder.chmod(0o757)
        drops_only = drop_folder_risks(folder)
        assert [any(word in risk for risk in drops_only) for word in ("everybody", "sticky")] == [True, True]
    finally:
        drops.close()
        watcher.close()
