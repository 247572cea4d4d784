"""The example intents: each is what its table says, in the contract's fields, and the table misses none."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path

import pytest

from hands.core.vocab import Code, Direction, Verdict

EXAMPLES = Path(__file__).resolve().parents[2] / "intents" / "examples"
FILES = sorted(path.name for path in EXAMPLES.glob("*.json"))

REQUIRED = {
    "intent_id": str, "asset": str, "direction": str, "trigger_price": float, "take_profit": float,
    "stop_loss": float, "confidence": float, "strategy_ref": str, "timestamp": str, "ttl_seconds": int,
}  # fmt: skip
OPTIONAL = {"entry": str, "arm_seconds": int, "max_hold_seconds": int, "thesis": str, "context": dict}


def _table() -> dict[str, tuple[str, str]]:
    """Return the README's table: file name to (verdict, code)."""
    rows = re.findall(
        r"^\| `(\S+\.json)` \| .+ \| (\w+) \| `(\w+)` \|$", (EXAMPLES / "README.md").read_text(), re.MULTILINE
    )
    assert len(rows) == len({name for name, _, _ in rows})
    return {name: (verdict, code) for name, verdict, code in rows}


def _read(name: str) -> dict[str, object]:
    document = json.loads((EXAMPLES / name).read_text())
    assert isinstance(document, dict)
    return document


def _readable() -> list[str]:
    return [name for name in FILES if _table()[name][1] != Code.MALFORMED_JSON]


def test_the_table_names_every_file_with_words_of_the_contract() -> None:
    table = _table()
    assert sorted(table) == FILES
    for verdict, code in table.values():
        assert (verdict == Verdict.ACCEPTED) == (code == Code.OK)
        assert verdict in set(Verdict)
        assert code in set(Code)


@pytest.mark.parametrize("name", _readable())
def test_an_example_has_the_contracts_fields(name: str) -> None:
    document = _read(name)
    for field, kind in REQUIRED.items():
        assert type(document[field]) is kind, field
    for field in document.keys() - REQUIRED.keys():
        assert type(document[field]) is OPTIONAL[field], field
    assert str(uuid.UUID(str(document["intent_id"]))) == document["intent_id"]
    assert document["direction"] in set(Direction)


def test_only_the_duplicate_shares_an_id() -> None:
    names_of: dict[object, list[str]] = {}
    for name in _readable():
        names_of.setdefault(_read(name)["intent_id"], []).append(name)
    shared = [names for names in names_of.values() if len(names) > 1]
    assert shared == [["01-equity-bracket-long.json", "09-duplicate-id.json"]]


def test_the_malformed_one_is_no_json() -> None:
    (name,) = set(FILES) - set(_readable())
    with pytest.raises(json.JSONDecodeError):
        _read(name)


def test_only_the_one_about_it_has_its_stop_on_the_wrong_side() -> None:
    wrong = []
    for name in _readable():
        document = _read(name)
        stop, trigger, target = (
            float(str(document[k])) for k in ("stop_loss", "trigger_price", "take_profit")
        )
        ordered = (
            stop < trigger < target if document["direction"] == Direction.LONG else stop > trigger > target
        )
        if not ordered:
            wrong.append(name)
    assert wrong == ["07-stop-on-the-wrong-side.json"]
