"""A Brain under a Unix user of its own, as `hands init` sets it up: it can drop documents, and it can do nothing else.

Needs root, to act as another user. Everything here is really tried, by a process with the other user's ids.
"""

from __future__ import annotations

import json
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from hands.intake.permissions import Person, drop_folder_risks, may_write, person
from hands.runtime.set_up import agent_folder, folders, set_up
from tests.e2e.harness import Exchange, Floor, until
from tests.second_user import OTHER, STRANGER, as_user, needs_root, reachable_folder

pytestmark = [pytest.mark.e2e, needs_root]

BRAIN = Person("brain", STRANGER, frozenset({STRANGER}))


@pytest.fixture(scope="module")
def floor() -> Iterator[Floor]:
    """A daemon whose default agent is the user STRANGER and whose agent `other` is the user OTHER, with a trade open."""
    with reachable_folder() as folder, ExitStack() as endings:
        exchange = Exchange(folder)
        endings.callback(exchange.process.end)
        floor = Floor(folder, exchange)
        endings.callback(floor.close)
        wanted = folders(floor.intents, floor.state, STRANGER)
        wanted.append(agent_folder(floor.intents, "other", OTHER))
        assert all(step.detail for step in set_up(wanted, person(os.geteuid())))
        with floor.limits.open("a") as file:
            file.write("\n[agents.other]\nmax_daily_trades = 3\n")
        floor.open()
        floor.protected(floor.drop())
        yield floor


DROP = """
data, folder, name = sys.argv[1].encode(), sys.argv[2], sys.argv[3]
part = os.path.join(folder, "." + name + ".tmp")
fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
os.write(fd, data)
os.close(fd)
os.rename(part, os.path.join(folder, name))
"""


def drop(floor: Floor, folder: Path, *, uid: int = STRANGER, **changes: Any) -> str:
    document = floor.document("SPY", **changes)
    as_user(DROP, json.dumps(document), folder, f"{document['intent_id']}.json", uid=uid)
    return str(document["intent_id"])


def test_it_can_drop_and_read_its_answer(floor: Floor) -> None:
    intent_id = drop(floor, floor.intents, confidence=0.1)
    receipt = floor.expect(intent_id, "REJECTED", code="CONFIDENCE_TOO_LOW")
    assert receipt["agent"] == "default"
    assert list(floor.intents.glob("*.json")) == []
    read = as_user("print(open(sys.argv[1]).read())", floor.intents / "receipts" / f"{intent_id}.json")
    assert json.loads(read)["intent_id"] == intent_id


def test_an_agent_in_its_own_folder_is_that_agent(floor: Floor) -> None:
    intent_id = drop(floor, floor.intents / "agents" / "other", uid=OTHER, confidence=0.1)
    assert floor.expect(intent_id, "REJECTED")["agent"] == "other"


TRY = """
said = {}
def attempt(name, act):
    try:
        act()
    except OSError as error:
        said[name] = errno.errorcode[error.errno]
    else:
        said[name] = "done"
root, state, limits, config, theirs, own = sys.argv[1:7]
def write(path, flags=os.O_WRONLY | os.O_CREAT):
    fd = os.open(path, flags, 0o666)
    os.write(fd, b"[hard_limits]\\n")
    os.close(fd)
def connect():
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(state + "/control.sock")
join = os.path.join
attempt("list the state directory", lambda: os.listdir(state))
attempt("read the ledger", lambda: open(join(state, "hands.db")))
attempt("read the journal", lambda: open(join(state, "journal.db")))
attempt("write the journal", lambda: write(join(state, "journal.db")))
attempt("reach the control socket", connect)
attempt("open the state directory", lambda: os.chmod(state, 0o777))
attempt("edit the limits", lambda: write(limits, os.O_WRONLY))
attempt("replace the limits", lambda: os.rename(own, limits))
attempt("remove the limits", lambda: os.unlink(limits))
attempt("edit the configuration", lambda: write(config, os.O_WRONLY))
attempt("make a file beside them", lambda: write(join(os.path.dirname(limits), "new.toml")))
attempt("remove another's document", lambda: os.unlink(theirs))
attempt("rename another's document", lambda: os.rename(theirs, theirs + "2"))
attempt("change another's document", lambda: write(theirs, os.O_WRONLY))
attempt("replace another's document", lambda: os.rename(own, theirs))
attempt("give its own document away", lambda: os.chown(own, 0, -1))
attempt("write a receipt", lambda: write(join(root, "receipts", "x.json")))
attempt("write over a receipt", lambda: write(sys.argv[7], os.O_WRONLY))
attempt("remove a receipt", lambda: os.unlink(sys.argv[7]))
attempt("move the receipts away", lambda: os.rename(join(root, "receipts"), join(root, "gone")))
attempt("write into the archive", lambda: write(join(root, "archive", "x.json")))
attempt("move the archive away", lambda: os.rename(join(root, "archive"), join(root, "gone")))
attempt("write into refused", lambda: write(join(root, "refused", "x.json")))
attempt("make an agent", lambda: os.mkdir(join(root, "agents", "mine")))
attempt("look into another agent's folder", lambda: os.listdir(join(root, "agents", "other")))
attempt("write into another agent's folder", lambda: write(join(root, "agents", "other", "x.json")))
attempt("take another agent's folder away", lambda: os.rename(join(root, "agents", "other"), join(root, "mine")))
attempt("open the drop folder", lambda: os.chmod(root, 0o777))
attempt("take the drop folder away", lambda: os.rename(root, root + "2"))
attempt("stop the daemon", lambda: os.kill(int(sys.argv[8]), signal.SIGTERM))
print(json.dumps(said))
"""


def test_it_can_do_nothing_else(floor: Floor) -> None:
    """Every way that a process has to the files, the sockets and the process of another user."""
    intents = floor.intents
    theirs, own = intents / ".somebody-elses.json.tmp", intents / ".own.tmp"
    theirs.write_text("{}")
    as_user("open(sys.argv[1], 'w').close()", own)
    receipt = next((intents / "receipts").glob("*.json"))
    before = {path: path.read_bytes() for path in (floor.limits, floor.config, receipt, theirs)}
    assert floor.daemon is not None
    said = json.loads(
        as_user(
            TRY,
            intents,
            floor.state,
            floor.limits,
            floor.config,
            theirs,
            own,
            receipt,
            floor.daemon.popen.pid,
        )
    )
    assert {name: how for name, how in said.items() if how not in ("EACCES", "EPERM")} == {}
    assert len(said) == 30
    assert {path: path.read_bytes() for path in before} == before
    theirs.unlink()
    own.unlink()
    assert drop_folder_risks(intents) == []
    assert [may_write(path, BRAIN) for path in (floor.limits, floor.config, floor.state)] == [None] * 3
    assert floor.status()["state"] == "ACTIVE"


def test_it_may_halt_and_taking_its_halt_away_changes_nothing(floor: Floor) -> None:
    halt = floor.intents / "HALT"
    as_user("open(sys.argv[1], 'w').close()", halt)
    until("HALTED", lambda: floor.status()["state"] == "HALTED")
    as_user("os.unlink(sys.argv[1])", halt)
    intent_id = drop(floor, floor.intents)
    floor.expect(intent_id, "REJECTED", code="HALTED")
    assert floor.stops("AAPL") == floor.held("AAPL") > 0, "what is held stays protected"
    halt.write_text("the operator's\n")
    code = "try:\n os.unlink(sys.argv[1])\nexcept PermissionError:\n print('no')"
    assert as_user(code, halt).strip() == "no"
    halt.unlink()
    assert floor.hands("resume").returncode == 0


def test_a_link_of_its_making_leads_nowhere(floor: Floor) -> None:
    """Not to a file of ours, and not to one that only Hands may read."""
    secret = floor.state / "journal.db"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    name = f"{uuid.uuid4()}.json"
    as_user("os.symlink(sys.argv[1], sys.argv[2])", secret, floor.intents / name)
    answer = floor.intents / "refused" / f"{name}.receipt.json"
    until("the link's answer", answer.exists)
    assert json.loads(answer.read_text())["code"] == "NOT_REGULAR_FILE"
