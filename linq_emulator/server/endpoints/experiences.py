"""The experiences that can be sent as messages."""

from __future__ import annotations

from typing import Any

from linq_emulator.domain.experiences import EXPERIENCES, Experience, Field
from linq_emulator.errors import ApiError
from linq_emulator.schemas import responses
from linq_emulator.server.gateway import Request, Response, json_response
from linq_emulator.server.route import Refusal, Route

__all__ = ["ROUTES"]


def list_experiences(request: Request) -> Response:
    """GET /v3/experiences."""
    return json_response(200, {"experiences": [_fields(experience) for experience in EXPERIENCES.values()]})


def get_experience(request: Request) -> Response:
    """GET /v3/experiences/{experience}."""
    experience = EXPERIENCES.get(request.path["experience"])
    if experience is None:
        raise ApiError(2011, "there is no such experience", status=404)
    return json_response(200, _fields(experience))


def _fields(experience: Experience) -> dict[str, Any]:
    return {
        "experience": experience.name,
        "display_name": experience.display_name,
        "actions": [
            {
                "name": action.name,
                "summary": action.summary,
                "fields": {name: _field(field) for name, field in action.fields.items()},
            }
            for action in experience.actions
        ],
    }


def _field(field: Field) -> dict[str, Any]:
    fields: dict[str, Any] = {"type": field.type, "required": field.required}
    if field.max is not None:
        fields["max"] = field.max
    return fields


ROUTES = (
    Route("GET", "/v3/experiences", list_experiences, response=responses.ExperienceList),
    Route(
        "GET",
        "/v3/experiences/{experience}",
        get_experience,
        response=responses.Experience,
        refusals=(Refusal(2011, 404),),
    ),
)
