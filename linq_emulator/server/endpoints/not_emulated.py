"""Operations that the API has and the emulator has not: linq-python 0.65.0 ``resources/``."""

from __future__ import annotations

from linq_emulator.errors import ApiError
from linq_emulator.server.gateway import Request, Response
from linq_emulator.server.route import Route

__all__ = ["ROUTES"]


def refuse(request: Request) -> Response:
    """A 404 as of an unknown path, in other words: the mistake is not the client's."""
    raise ApiError(1005, "linq-emulator lacks this endpoint, which the real API has; see its documentation", status=404)


ROUTES = (
    Route("GET", "/v3/payment_requests", refuse),
    Route("POST", "/v3/payment_requests", refuse),
    Route("GET", "/v3/payment_requests/{payment_request_id}", refuse),
    Route("POST", "/v3/payment_requests/{payment_request_id}/cancel", refuse),
    Route("POST", "/v3/payments", refuse),
    Route("GET", "/v3/payments/{payment_id}", refuse),
    Route("POST", "/v3/payments/{payment_id}/cancel", refuse),
    Route("GET", "/v3/payments/{payment_id}/credentials", refuse),
    Route("GET", "/v3/payments/providers/{provider}", refuse),
    Route("POST", "/v3/payments/providers/{provider}/connect", refuse),
    Route("POST", "/v3/payments/handles/{handle}/connect", refuse),
    Route("GET", "/v3/payments/handles/{handle}/connection", refuse),
    Route("DELETE", "/v3/payments/handles/{handle}/connection", refuse),
    Route("POST", "/v3/payments/handles/{handle}/verify", refuse),
)
