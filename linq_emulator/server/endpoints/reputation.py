"""Reputation audits of lines: start one, read one."""

from __future__ import annotations

from linq_emulator.domain import reputation, validate
from linq_emulator.domain.models import Line
from linq_emulator.errors import ApiError
from linq_emulator.schemas import responses
from linq_emulator.server.gateway import Request, Response, json_response
from linq_emulator.server.route import Route

__all__ = ["ROUTES"]


def start_audit(request: Request) -> Response:
    """POST /v3/phone_numbers/{phone_number}/reputation_audit. An audit that runs is not started twice."""
    audit = reputation.start(request.backend, _line(request))
    return json_response(202, {"audit_id": audit.id, "status": reputation.audit_fields(audit)["status"]})


def get_audit(request: Request) -> Response:
    """GET /v3/phone_numbers/{phone_number}/reputation_audit/{audit_id}."""
    line = _line(request)
    audit_id = validate.identifier(request.path["audit_id"], "audit_id")
    return json_response(200, reputation.audit_fields(reputation.find(request.backend, line, audit_id)))


def _line(request: Request) -> Line:
    line = request.backend.store.lines.get(validate.phone(request.path["phone_number"], "phone_number"))
    if line is None:
        raise ApiError(2019)
    return line


ROUTES = (
    Route(
        "POST",
        "/v3/phone_numbers/{phone_number}/reputation_audit",
        start_audit,
        response=responses.ReputationAuditStarted,
        status=202,
        refusals=(1002, 1007, 2019),
    ),
    Route(
        "GET",
        "/v3/phone_numbers/{phone_number}/reputation_audit/{audit_id}",
        get_audit,
        response=responses.ReputationAudit,
        refusals=(1002, 2019),
    ),
)
