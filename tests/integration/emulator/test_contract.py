"""The OpenAPI document, and every operation of it with random valid and invalid requests.

Requests go to the application in this process: the state behind it is compared before and after each refusal, which
HTTP cannot show as a whole.

Schemathesis is imported within the tests: it takes more than a second, which every process of `make test` would spend.
"""

from __future__ import annotations

import copy
import json
import os
import random
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from linq_emulator.server.openapi import document
from tests.support.emulator_world import HEADERS, ORIGIN, World

if TYPE_CHECKING:
    from schemathesis import Case, GenerationMode

FULL = os.environ.get("LINQ_DRILLS") == "full"
CASES = 300 if FULL else 2
"""Of each operation, as many valid as invalid ones. They are drawn anew in the long form only."""


def closed(schema: Any) -> Any:
    """A copy of a document in which responses have no other fields than those it names."""
    schema = copy.deepcopy(schema)
    components = schema["components"]["schemas"]
    seen: set[str] = set()
    bodies = [
        content["schema"]["$ref"]
        for path in schema["paths"].values()
        for operation in path.values()
        for response in operation["responses"].values()
        for content in response.get("content", {}).values()
    ]
    while bodies:
        name = bodies.pop().rpartition("/")[2]
        if name not in seen:
            seen.add(name)
            if "properties" in components[name]:
                components[name]["additionalProperties"] = False
            bodies += references(components[name])
    return schema


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [found for each in value.values() for found in references(each)]
    return [found for each in value for found in references(each)] if isinstance(value, list) else []


DOCUMENT = closed(document(ORIGIN))
LABELS = [f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods]


class Application:
    """Hands what it is asked to the emulator of the current test."""

    current: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.current(scope, receive, send)


APPLICATION = Application()


@cache
def operations() -> dict[str, Any]:
    """The operations of the document by their labels."""
    import schemathesis

    schema = schemathesis.openapi.from_dict(DOCUMENT)
    schema.app = APPLICATION
    return {found.ok().label: found.ok() for found in schema.get_all_operations()}


@pytest.fixture(scope="module")
def world() -> World:
    world = World()
    APPLICATION.current = world.app
    return world


def test_the_document_names_each_operation_once() -> None:
    identifiers = [operation["operationId"] for path in DOCUMENT["paths"].values() for operation in path.values()]
    assert len(identifiers) == len(set(identifiers)) == len(LABELS) == 56
    assert set(LABELS) == set(operations())
    json.dumps(DOCUMENT)


def is_wrong(case: Case, *places: str) -> bool:
    """Whether a request was made to break the schema in one of these places. Unknown parameters are passed over."""
    components = case.meta.components if case.meta else {}
    return any(info.mode.is_negative for place, info in components.items() if place.value in places)


def check(case: Case, world: World, before: bytes, wrong: bool) -> int:
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        negative_data_rejection,
        response_schema_conformance,
        status_code_conformance,
    )

    response = case.call(headers={**(case.headers or {}), **HEADERS})
    case.validate_response(
        response,
        checks=[
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
            *([negative_data_rejection] if wrong else []),
        ],
        additional_checks=[],
    )
    if response.status_code >= 400:
        error = response.json()["error"]
        documented = DOCUMENT["paths"][case.path][case.method.lower()]["responses"][str(response.status_code)]
        assert error["code"] in documented["x-codes"], (case.operation.label, error)
        assert error["code"] != 3006, "an operation failed"
        assert world.state() == before, f"{case.operation.label} was refused and has changed something: {error}"
    return response.status_code


@pytest.mark.parametrize("label", LABELS)
def test_random_requests(world: World, label: str) -> None:
    from schemathesis import GenerationMode

    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        _ask(world, label, mode)


def _ask(world: World, label: str, mode: GenerationMode) -> None:
    statuses: list[int] = []

    @given(case=operations()[label].as_strategy(generation_mode=mode), seed=st.integers(0, 2**32))
    @settings(
        max_examples=CASES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Case, seed: int) -> None:
        rng, wrong = random.Random(seed), is_wrong(case, "body", "path")
        if not is_wrong(case, "path"):
            case.path_parameters = world.name(case.path_parameters, rng)
        if mode.is_positive:
            case.query = world.name(case.query, rng)
            case.body = world.name(case.body, rng)
        statuses.append(check(case, world, world.state(), wrong))

    ask()
    assert statuses
