"""The venue's own OpenAPI documents as judges of what the simulator answers.

Owns finding the operation that a request belongs to and listing what its answer breaks; knows no endpoint by
name. The idea: a finding is (route, place, rule), so that an exception is a row that names exactly what it
excuses, and a row that excuses nothing can be found and struck out.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pytest
from jsonschema import FormatChecker
from openapi_schema_validator import OAS30Validator
from referencing import Registry
from referencing.jsonschema import DRAFT4

SPECS = Path(__file__).resolve().parents[3] / "shared" / "specs"
TRADING = "alpaca-trading-api.openapi.json"
MARKET_DATA = "alpaca-market-data-api.openapi.json"

_SPEC = "urn:spec"
_UNDOCUMENTED = "undocumented"
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")

Key = tuple[str, str, str]
"""(route with its status, place in the body, rule), as in ("GET /v2/assets 200", "[].exchange", "enum")."""


@dataclass(frozen=True)
class Finding:
    """One thing in an answer that the document does not allow."""

    route: str
    where: str
    rule: str
    message: str

    @property
    def key(self) -> Key:
        return self.route, self.where, self.rule


def load(name: str) -> OpenApi:
    """Return the document `name`, or skip the test where the specifications are not at hand."""
    path = SPECS / name
    if not path.is_file():
        pytest.skip(f"the official specification ({name}) is not here")
    return OpenApi(json.loads(path.read_text()))


class OpenApi:
    """One OpenAPI 3.0 document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._registry: Registry[Any] = Registry().with_resource(_SPEC, DRAFT4.create_resource(document))
        # A template with fewer holes is the better match: /assets/fixed_income before /assets/{symbol}.
        templates = sorted(document["paths"], key=lambda template: template.count("{"))
        self._templates = [(_pattern(template), template) for template in templates]

    def template(self, path: str) -> str | None:
        """Return the path as the document writes it ("/v2/orders/{order_id}"), or None. `path` is not decoded."""
        bare = path.partition("?")[0]
        return next((template for pattern, template in self._templates if pattern.fullmatch(bare)), None)

    def route(self, method: str, path: str, status: int) -> str:
        """Return what findings call this answer."""
        return f"{method} {self.template(path) or path} {status}"

    def findings(self, method: str, path: str, status: int, body: Any) -> list[Finding]:
        """Return what is wrong with an answer; `body` is parsed JSON, None where there is none.

        The documents give most refusals no schema: those must be objects with a `message`, and an integer
        `code` if they have a code at all.
        """
        route = self.route(method, path, status)
        template = self.template(path)
        operation = self._document["paths"].get(template, {}).get(method.lower()) if template else None
        if operation is None:
            return [Finding(route, "", _UNDOCUMENTED, "no such operation in the document")]
        schema = self._schema(template, method.lower(), str(status))
        if schema is None and status >= 400:
            schema = _REFUSAL
        elif str(status) not in operation["responses"]:
            return [Finding(route, "", _UNDOCUMENTED, f"status {status} is not in the document")]
        if schema is None:
            return [] if body is None else [Finding(route, "", _UNDOCUMENTED, "a body where there is none")]
        return self._broken(route, schema, body)

    def operations(self) -> list[tuple[str, str]]:
        """Return every operation as (method, path template)."""
        verbs = ("get", "post", "put", "patch", "delete")
        paths = self._document["paths"].items()
        return [(verb.upper(), path) for path, operations in paths for verb in verbs if verb in operations]

    def properties(self, name: str) -> dict[str, Any]:
        """Return the properties of component schema `name`."""
        properties: dict[str, Any] = self._document["components"]["schemas"][name]["properties"]
        return properties

    def _schema(self, template: str | None, method: str, status: str) -> dict[str, Any] | None:
        """Return a reference to the schema of an answer, None where the document has none."""
        response = self._document["paths"][template][method]["responses"].get(status)
        pointer = f"/paths/{_escaped(template or '')}/{method}/responses/{status}"
        while response is not None and "$ref" in response:
            pointer = response["$ref"].removeprefix("#")
            response = self._document
            for word in pointer.split("/")[1:]:
                response = response[word.replace("~1", "/").replace("~0", "~")]
        if response is None or "schema" not in response.get("content", {}).get("application/json", {}):
            return None
        return {"$ref": f"{_SPEC}#{pointer}/content/application~1json/schema"}

    def _broken(self, route: str, schema: dict[str, Any], body: Any) -> list[Finding]:
        validator = OAS30Validator(schema, registry=self._registry, format_checker=_FORMATS)
        return [
            Finding(route, _place(error.absolute_path), str(error.validator), error.message[:300])
            for error in validator.iter_errors(body)
        ]


def unexcused(findings: Iterable[Finding], exceptions: Mapping[Key, str]) -> list[Finding]:
    """Return the findings that no exception covers."""
    return [finding for finding in findings if finding.key not in exceptions]


def needless(findings: Iterable[Finding], exceptions: Mapping[Key, str]) -> list[Key]:
    """Return the exceptions that excuse nothing that was found."""
    found = {finding.key for finding in findings}
    return [key for key in exceptions if key not in found]


def objects(body: Any, where: str = "") -> Iterator[tuple[str, set[str]]]:
    """Yield every object in a body as its place ("", "[]", "[].legs[]") and its keys."""
    if isinstance(body, dict):
        yield where, set(body)
        for key, value in body.items():
            yield from objects(value, f"{where}.{key}".lstrip("."))
    elif isinstance(body, list):
        for value in body:
            yield from objects(value, f"{where}[]")


def _place(path: Iterable[str | int]) -> str:
    return "".join("[]" if isinstance(word, int) else f".{word}" for word in path).lstrip(".")


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{[^/]*?\\\}", "[^/]+", re.escape(template)))


def _escaped(template: str) -> str:
    """Return a path as a JSON pointer inside a URI fragment."""
    return template.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")


_REFUSAL = {
    "type": "object",
    "required": ["message"],
    "properties": {"code": {"type": "integer"}, "message": {"type": "string", "minLength": 1}},
}

_FORMATS = FormatChecker(formats=())


@_FORMATS.checks("date-time", raises=ValueError)
def _is_time(value: object) -> bool:
    if not isinstance(value, str):
        return True
    dt.datetime.fromisoformat(re.sub(r"\.\d+", "", value))
    return _RFC3339.fullmatch(value) is not None


@_FORMATS.checks("date", raises=ValueError)
def _is_date(value: object) -> bool:
    return not isinstance(value, str) or dt.date.fromisoformat(value).isoformat() == value


@_FORMATS.checks("uuid", raises=ValueError)
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or str(uuid.UUID(value)) == value


@_FORMATS.checks("decimal", raises=InvalidOperation)
def _is_decimal(value: object) -> bool:
    return not isinstance(value, str) or Decimal(value).is_finite()
