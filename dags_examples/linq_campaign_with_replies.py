"""
### A small campaign, and who replied

Sends one message to each recipient, waits for the replies, and counts what kind they are.

* `send` is mapped over the recipients. One who can't be written to (opted out, say) fails alone, without a retry.
* A retried `send` does not write twice: all its tries carry the same idempotency key.
* `wait_for_reply` is mapped over what was sent. It counts from the `created_at` of that message, so nothing older is
  taken for a reply, and is skipped where none comes in time.
* No text and no phone number is written to the logs.

It needs the connection `linq_default` with a default line. The waiting time suits a trial; a real campaign waits for
hours, with `mode="reschedule"` and a `poke_interval` of minutes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, task

from airflow_provider_linq.operators.messages import LinqCreateChatOperator
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
    @task(show_return_value_in_logs=False)
    def list_recipients(params: Mapping[str, Any] | None = None) -> list[str]:
        assert params is not None  # Airflow fills it in
        return list(params["recipients"])

    def reply_to(sent: Mapping[str, Any]) -> dict[str, Any]:
        return {"chat_id": sent["chat_id"], "since": sent["created_at"]}

    @task(trigger_rule="all_done")
    def summarize(sent: Sequence[Any], replies: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        kinds = Counter(KINDS.get((reply["text"] or "").strip().lower(), "other") for reply in replies)
        summary = {"sent": len(sent), "replied": len(replies), **kinds}
        print(f"Campaign: {summary}")
        return summary

    send = LinqCreateChatOperator.partial(task_id="send", message="{{ params.text }}").expand(to=list_recipients())
    wait_for_reply = LinqMessageSensor.partial(
        task_id="wait_for_reply",
        poke_interval=1,
        timeout=30,
        soft_fail=True,
        trigger_rule="all_done",  # also when some recipients could not be written to
    ).expand_kwargs(send.output.map(reply_to))
    summarize(send.output, wait_for_reply.output)


campaign = linq_campaign_with_replies()
