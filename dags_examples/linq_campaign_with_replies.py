"""
### A small campaign, and who replied

Sends one message to each recipient, waits for each reply, and counts what kind of replies came.

* One mapped task group a recipient: a refused recipient (opted out, say) fails in its own group and stops no other.
* A retried `send` does not write twice: all its tries carry the same idempotency key.
* `wait_for_reply` starts from the `created_at` of the message that was sent, so no older message counts as a reply.
  Without a reply in time it is skipped.
* No text and no phone number is written to the logs.

It needs the connection `linq_default` with a default line. The waiting time suits a trial; a real campaign waits for
hours, with `mode="reschedule"` and a `poke_interval` of minutes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, task, task_group

from airflow_provider_linq.operators.linq import LinqCreateChatOperator
from airflow_provider_linq.sensors.linq import LinqMessageSensor

KINDS = {"yes": "confirmed", "no": "declined", "stop": "opted_out"}


@dag(
    schedule=None,
    catchup=False,
    tags=["example", "linq"],
    doc_md=__doc__,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5)},
    params={
        "recipients": Param(
            ["+12125550110", "+12125550111", "+12125550112"],
            type="array",
            items={"type": "string"},
            minItems=1,
            description="Handles to write to: E.164 numbers or e-mail addresses.",
        ),
        "text": Param(
            "Your table for Friday, 7 pm, is ready to be booked. Reply YES to keep it, NO to let it go.",
            type="string",
            minLength=1,
            description="The message; it may be the first one of a chat, so it must hold no link.",
        ),
    },
)
def linq_campaign_with_replies() -> None:
    @task
    def list_recipients(params: Mapping[str, Any] | None = None) -> list[str]:
        assert params is not None  # Airflow fills it in
        return list(params["recipients"])

    @task_group
    def conversation(recipient: str) -> Any:
        sent = LinqCreateChatOperator(task_id="send", to=recipient, message="{{ params.text }}").output
        return LinqMessageSensor(
            task_id="wait_for_reply",
            chat_id=sent["chat_id"],
            from_handle=recipient,
            since=sent["created_at"],
            poke_interval=1,
            timeout=60,
            soft_fail=True,
        ).output

    @task(trigger_rule="all_done")
    def summarize(recipients: list[str], replies: Iterable[Mapping[str, Any]]) -> dict[str, int]:
        counts = Counter(KINDS.get((reply["text"] or "").strip().lower(), "other") for reply in replies)
        summary = {"recipients": len(recipients), "replied": counts.total(), **counts}
        print(f"Campaign: {summary}")
        return summary

    recipients = list_recipients()
    summarize(recipients, conversation.expand(recipient=recipients))


campaign = linq_campaign_with_replies()
