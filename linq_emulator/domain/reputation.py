"""Reputation audits: when one may run, and the report on what a line has done.

Rules and shapes: linq-python 0.65.0 ``resources/phone_numbers.py`` and ``types/reputation_*.py``. The numbers above
which a driver is named are those of the vendor's best practices, and otherwise ours.
"""

from __future__ import annotations

from typing import Any

from linq_emulator.backend import Backend
from linq_emulator.clock import DAY, SECOND, iso
from linq_emulator.domain.models import Audit, Chat, Line
from linq_emulator.errors import ApiError

__all__ = ["DRIVERS", "READABLE_FOR", "audit_fields", "find", "start"]

READABLE_FOR = DAY

_NEW_CHATS_A_DAY = 50
_MESSAGES_A_DAY = 7000
_UNHEALTHY_SHARE = 0.2
_ONE_SIDED = 3
_MAX_UNHEALTHY = 15
_RANK = {"OPTED_OUT": 0, "CRITICAL": 1, "AT_RISK": 2}

# Key -> (what to do, its impact).
DRIVERS = {
    "flagged": ("Move the traffic of this line to a healthy one until it recovers", "high"),
    "opt_out_handling": ("Send nothing more to the people who asked to stop", "high"),
    "overall_conversation_health": ("Rework the conversations that are unhealthy", "high"),
    "new_conversation_rate": ("Spread new conversations over several days", "medium"),
    "volume_spike": ("Send less from this line, or use more lines", "medium"),
}


def start(backend: Backend, line: Line) -> Audit:
    """Start an audit of a line, or return the one that is running.

    Raises:
        ApiError: 1007 while the last audit is too recent.
    """
    switches, now = backend.switches, backend.now()
    last = max((audit for audit in backend.store.audits.values() if audit.line is line), key=_started, default=None)
    if last is not None and last.finished_at is None:
        return last
    cooldown = round(switches.audit_cooldown_seconds * SECOND)
    if last is not None and last.finished_at is not None and now < last.finished_at + cooldown:
        wait = -(-(last.finished_at + cooldown - now) // SECOND)
        raise ApiError(1007, "the last audit of this line is too recent", retry_after=wait)
    audit = Audit(backend.store.new_id(), line, now)
    backend.store.audits[audit.id] = audit
    backend.run_after(switches.audit_seconds, lambda: _finish(backend, audit))
    return audit


def _started(audit: Audit) -> int:
    return audit.started_at


def _finish(backend: Backend, audit: Audit) -> None:
    audit.finished_at = backend.now()
    if backend.switches.audit_outcome == "complete":
        audit.report = _report(backend, audit.line)


def find(backend: Backend, line: Line, audit_id: str) -> Audit:
    """An audit of a line that can still be read.

    Raises:
        ApiError: 2019 if there is none.
    """
    audit = backend.store.audits.get(audit_id)
    if audit is None or audit.line is not line or backend.now() >= audit.started_at + READABLE_FOR:
        raise ApiError(2019, "this phone number has no such audit")
    return audit


def audit_fields(audit: Audit) -> dict[str, Any]:
    """A ReputationAudit."""
    fields: dict[str, Any] = {"audit_id": audit.id, "phone": audit.line.phone_number, "status": "pending"}
    if audit.finished_at is None:
        return fields
    fields["generated_at"] = iso(audit.finished_at)
    if audit.report is None:
        return fields | {"status": "error", "error": "The report could not be made"}
    return fields | {"status": "complete", "report": audit.report}


def _report(backend: Backend, line: Line) -> dict[str, Any]:
    chats = [chat for chat in backend.store.chats.values() if chat.line is line]
    since = backend.now() - DAY
    unhealthy = sorted((chat for chat in chats if chat.health in _RANK), key=lambda chat: _RANK[chat.health])
    ignored_stops = [(chat, count) for chat in unhealthy if (count := _sent_after_stop(chat))]
    new_chats = sum(chat.created_at >= since for chat in chats)
    sent = sum(_sent_since(chat, since) for chat in chats)
    metrics = {
        "flagged": "restricted" if line.ineligible else None,
        "opt_out_handling": f"{len(ignored_stops)} conversations" if ignored_stops else None,
        "overall_conversation_health": f"{len(unhealthy)} of {len(chats)} conversations"
        if len(unhealthy) > _UNHEALTHY_SHARE * len(chats)
        else None,
        "new_conversation_rate": f"{new_chats} new conversations in a day" if new_chats > _NEW_CHATS_A_DAY else None,
        "volume_spike": f"{sent} messages in a day" if sent > _MESSAGES_A_DAY else None,
    }
    found = {key: metric for key, metric in metrics.items() if metric is not None}
    items = _action_items(list(found))
    return {
        "severity": line.reputation,
        "primary_driver": next(iter(found), ""),
        "drivers": [{"key": key, "metric": metric, "summary": f"{DRIVERS[key][0]}."} for key, metric in found.items()],
        "action_items": items,
        "evidence": {
            "unhealthy_chats": [_unhealthy_chat(chat) for chat in unhealthy[:_MAX_UNHEALTHY]],
            "opt_out_chats": [
                {"chat_id": chat.id, "messages_after_stop": count}
                for chat, count in sorted(ignored_stops, key=lambda pair: -pair[1])
            ],
        },
        "summary_markdown": "\n".join([f"# {line.reputation}", *(f"- {item['title']}" for item in items)]),
    }


def _action_items(keys: list[str]) -> list[dict[str, Any]]:
    if not keys:
        return [_action_item(1, "Nothing to do", "The line has no signals to act on.", "low")]
    return [
        _action_item(priority, DRIVERS[key][0], f"{DRIVERS[key][0]}.", DRIVERS[key][1])
        for priority, key in enumerate(keys, start=1)
    ]


def _action_item(priority: int, title: str, detail: str, impact: str) -> dict[str, Any]:
    return {"priority": priority, "title": title, "detail": detail, "expected_impact": impact}


def _unhealthy_chat(chat: Chat) -> dict[str, Any]:
    keys = ["opt_out_handling"] if chat.health == "OPTED_OUT" else []
    if _is_one_sided(chat):
        keys.append("low_engagement")
    return {"chat_id": chat.id, "status": chat.health, "driver_keys": keys or ["other"]}


def _is_one_sided(chat: Chat) -> bool:
    sent = sum(message.outbound for message in chat.messages)
    return sent >= _ONE_SIDED and all(message.outbound for message in chat.messages)


def _sent_after_stop(chat: Chat) -> int:
    return _sent_since(chat, chat.health_at + 1) if chat.health == "OPTED_OUT" else 0


def _sent_since(chat: Chat, since: int) -> int:
    count = 0
    for message in reversed(chat.messages):
        if message.created_at < since:
            break
        count += message.outbound and not message.is_system_event
    return count
