"""Reading documents that change an intent: every member, every type, and what belongs to which kind."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from hands.core.intents import KINDS, Change, Intent, Refusal, document_schema, intent_schema, read_document
from hands.core.units import NANO, nano
from hands.core.vocab import Code
from tests.core.world import Literal, document, encoded, intent_id

CHANGES = ("cancel", "close", "amend")
OPTIONS: dict[str, tuple[Any, str, Any]] = {
    # member: (a value, the field it becomes, what it is there)
    "timestamp": ("2026-01-05T15:00:00Z", "timestamp_ns", 1_767_625_200 * NANO),
    "thesis": ("late", "thesis", "late"),
    "context": ({"vix": 17.5, "note": "ok"}, "context", {"vix": 17.5, "note": "ok"}),
    "signature": ("s", "signature", "s"),
    "qty": (Literal("2.5"), "qty", nano("2.5")),
    "stop_loss": (Literal("149"), "stop_loss", nano("149")),
    "take_profit": (Literal("156"), "take_profit", nano("156")),
    "max_hold_seconds": (Literal("60"), "max_hold_ns", 60 * NANO),
}
COMMON = {"timestamp", "thesis", "context", "signature"}
OWN = {"cancel": set(), "close": {"qty"}, "amend": {"stop_loss", "take_profit", "max_hold_seconds"}}
PRICES = ("stop_loss", "take_profit")


def good(kind: str, **changes: Any) -> dict[str, Any]:
    """Return a document's members; None takes one out."""
    members: dict[str, Any] = {"kind": kind, "intent_id": intent_id(2), "target_id": intent_id(1)}
    if kind == "amend":
        members["stop_loss"] = Literal("149")
    return {name: value for name, value in (members | changes).items() if value is not None}


def refusal(kind: str, **changes: Any) -> Refusal:
    found = read_document(encoded(good(kind, **changes)))
    assert isinstance(found, Refusal), found
    assert (found.code, found.kind) == (Code.SCHEMA, kind)
    return found


@pytest.mark.parametrize("kind", CHANGES)
def test_the_shortest_document_of_a_kind(kind: str) -> None:
    found = read_document(encoded(good(kind)))
    assert isinstance(found, Change)
    assert (found.kind, found.intent_id, found.target_id) == (kind, intent_id(2), intent_id(1))
    assert found.stop_loss == (nano("149") if kind == "amend" else None)
    assert (found.qty, found.take_profit, found.max_hold_ns, found.timestamp_ns) == (None,) * 4


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("kind", CHANGES)
def test_an_option_belongs_to_its_kinds(kind: str, name: str) -> None:
    value, field, becomes = OPTIONS[name]
    if name in COMMON | OWN[kind]:
        found = read_document(encoded(good(kind, **{name: value})))
        assert isinstance(found, Change)
        assert getattr(found, field) == becomes
    else:
        said = refusal(kind, **{name: value}).message
        assert said == f"{name}: is not a known key of kind {kind!r}"


@pytest.mark.parametrize(
    "name", ["asset", "direction", "confidence", "ttl_seconds", "trigger_price", "approval_id"]
)
@pytest.mark.parametrize("kind", CHANGES)
def test_nothing_of_an_intent_is_taken(kind: str, name: str) -> None:
    assert f"{name}: is not a known key of kind {kind!r}" in refusal(kind, **{name: "x"}).message
    assert "confirm: is not a known key" in refusal(kind, confirm=True).message


@pytest.mark.parametrize("name", ["intent_id", "target_id"])
@pytest.mark.parametrize("kind", CHANGES)
def test_both_ids_are_required_and_canonical(kind: str, name: str) -> None:
    assert refusal(kind, **{name: None}).message == f"{name}: is required"
    for wrong in (
        "",
        intent_id(1).replace("-", ""),
        "0" * 36,
        intent_id(171).upper(),
        7,
        ["x"],
        f"{intent_id(1)}\n",
    ):
        found = read_document(encoded(good(kind) | {name: wrong}))
        assert isinstance(found, Refusal), wrong
        assert found.message.startswith(name)


WRONG: dict[str, tuple[Any, ...]] = {
    "timestamp": ("yesterday", "2026-01-05T15:00:00", Literal("1767625200")),
    "thesis": ("x" * 4097, Literal("1"), True),
    "context": ([], "x", {"a": {}}, {"a": True}),
    "signature": ("x" * 1025, Literal("1")),
    "qty": ("2", Literal("0"), Literal("-1"), Literal("1000000001"), True, [1]),
    "stop_loss": ("149", Literal("0"), Literal("-149"), Literal("1e20"), False, {}),
    "take_profit": ("156", Literal("0"), Literal("2000000000")),
    "max_hold_seconds": ("60", Literal("0"), Literal("-1"), Literal("10000001")),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_type_or_value_is_refused(name: str) -> None:
    kind = "close" if name == "qty" else "amend"
    for value in WRONG[name]:
        assert name in refusal(kind, **{name: value}).message, value
    null = encoded({key: value for key, value in good(kind).items() if key != name}).replace(
        b"}", f', "{name}": null}}'.encode()
    )
    assert isinstance(read_document(null), Refusal)


def test_an_amend_says_at_least_one_thing() -> None:
    said = refusal("amend", stop_loss=None).message
    assert said == "at least one of stop_loss, take_profit, max_hold_seconds is required"


def test_a_key_twice_and_a_number_that_is_none() -> None:
    twice = encoded(good("close")).replace(b"{", b'{"target_id": "x", ', 1)
    found = read_document(twice)
    assert isinstance(found, Refusal)
    assert found.code is Code.DUPLICATE_KEY
    found = read_document(encoded(good("amend", stop_loss=Literal("NaN"))))
    assert isinstance(found, Refusal)
    assert found.code is Code.NOT_FINITE


@pytest.mark.parametrize("kind", ["Cancel", "CLOSE", "order", "", 1, True, ["close"], {}])
def test_another_kind_is_refused_and_the_kinds_are_named(kind: Any) -> None:
    found = read_document(encoded(good("cancel") | {"kind": kind}))
    assert isinstance(found, Refusal)
    assert found.message.startswith("kind: must be 'intent' or 'cancel' or 'close' or 'amend', found ")


def test_a_document_without_a_kind_is_an_intent() -> None:
    members = {key: value for key, value in good("cancel").items() if key != "kind"}
    found = read_document(encoded(members))
    assert isinstance(found, Refusal)
    assert (found.kind, "target_id: is not a known key of kind 'intent'" in found.message) == ("intent", True)


# --- the schemas -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CHANGES)
def test_the_schema_of_a_kind_takes_what_is_read_and_nothing_else(kind: str) -> None:
    validator = Draft202012Validator(document_schema(kind))
    Draft202012Validator.check_schema(document_schema(kind))
    cases = [
        good(kind),
        good(kind, target_id=None),
        good(kind, asset="AAPL"),
        good(kind) | {"kind": "intent"},
    ]
    cases += [good(kind, **{name: value}) for name, (value, _, _) in OPTIONS.items()]
    cases += [
        good(kind, **{name: value}) for name, wrong in WRONG.items() for value in wrong if name != "timestamp"
    ]
    for members in cases:
        data = encoded(members)
        reads = isinstance(read_document(data), Change)
        assert validator.is_valid(json.loads(data)) is reads, members


def test_there_is_a_schema_for_every_kind() -> None:
    assert ("intent", *CHANGES) == KINDS
    assert document_schema("intent") == intent_schema()
    for kind in KINDS:
        schema = document_schema(kind)
        assert schema["title"] == f"Hands {kind}"
        assert schema["additionalProperties"] is False
        assert "null" not in json.dumps(schema)
    with pytest.raises(KeyError):
        document_schema("order")


def test_an_intent_is_read_as_before() -> None:
    assert isinstance(read_document(encoded(document())), Intent)
    assert isinstance(read_document(encoded(document(kind="intent"))), Intent)
