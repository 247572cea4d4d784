"""Asking what a document that changes an intent would do: the engine's own answer, and no consequence."""

from __future__ import annotations

from typing import Any

import pytest

from hands.core.risk import CHECKS
from hands.runtime.what_if import what_if
from tests.core.desk import Desk
from tests.core.test_changes import ALL_STATES, AMENDS, ask, build, members, opened
from tests.core.world import encoded, halt, intent_id

KINDS = ("cancel", "close", "amend")


def asked(desk: Desk, kind: str, **facts: Any) -> dict[str, Any]:
    more = AMENDS if kind == "amend" else {}
    return what_if(desk.state, encoded(members(kind, **more)), "default", desk.now_ns, **facts)


@pytest.mark.parametrize("reach", ALL_STATES, ids=lambda reach: reach.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_the_engine_then_says(kind: str, reach: Any) -> None:
    desk = build()
    reach(desk)
    before = {key: bytes(value) for key, value in desk.journal.items()}
    found = asked(desk, kind)
    assert not desk.state.changed
    assert intent_id(100) not in desk.state.seen
    assert {key: bytes(value) for key, value in desk.journal.items()} == before
    told = ask(desk, kind, **(AMENDS if kind == "amend" else {}))
    for name in ("verdict", "code", "kind", "target_id", "retry", "next"):
        assert found[name] == told[name], name
    assert found["message"].endswith(told["message"])
    assert found["state"] == ("DRAFT" if told["verdict"] == "ACCEPTED" else "REJECTED")
    assert asked(desk, kind)["code"] == "DUPLICATE_INTENT"


@pytest.mark.parametrize("kind", KINDS)
def test_halted_it_says_so(kind: str) -> None:
    desk = build()
    opened(desk)
    halt(desk.state)
    assert asked(desk, kind)["code"] == "HALTED"


@pytest.mark.parametrize("kind", KINDS)
def test_offline_it_is_only_read(kind: str) -> None:
    found = asked(build(), kind, asked=CHECKS[:3])
    assert (found["verdict"], found["state"], found["kind"]) == ("ACCEPTED", "DRAFT", kind)
    assert "--live" in found["message"]
    refused = what_if(build().state, encoded(members("cancel", qty="1")), "default", 0, CHECKS[:3])
    assert (refused["code"], refused["kind"]) == ("SCHEMA", "cancel")
