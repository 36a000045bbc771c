"""
### Answer within seconds, by webhook

A receiver of webhooks (`linq-webhooks serve`) stores what the platform delivers in an archive; the triggerer reads the
archive, and starts this DAG seconds after a message came in, without a request to the API. Whoever asks for the opening
hours gets them.

* What comes in while neither triggerer nor API can be reached is in the archive, and is answered later.
* The answer carries an idempotency key made of the message that it answers. An event may come twice; the answer goes
  out once.
* Who asks gets one answer, and nobody is written to who did not write.

It needs the connection `linq_default`, a triggerer, and an archive that it can read: the environment variable
`LINQ_WEBHOOK_ARCHIVE` has its URL, for DAG processor and triggerer. linq_webhook_subscription.py sees to deliveries.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, AssetWatcher, dag, task

from airflow_provider_linq.hooks.linq import LinqHook
from airflow_provider_linq.triggers.linq_inbound import LinqInboundMessageTrigger
from linq_client import BlockedError, NotFoundError, OptedOutError

trigger = LinqInboundMessageTrigger(
    webhook_archive=os.environ.get("LINQ_WEBHOOK_ARCHIVE", "/srv/linq-webhooks"),
    text_matches=r"(?i)\bopen\b",
    poll_interval=1,
)
asked = Asset("linq_asked_for_hours", watchers=[AssetWatcher(name="linq_asked_for_hours", trigger=trigger)])


@dag(
    schedule=[asked],
    catchup=False,
    tags=["example", "linq"],
    doc_md=__doc__,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=5)},
)
def linq_answer_within_seconds() -> None:
    @task
    def answer(triggering_asset_events: Any = None) -> int:
        client = LinqHook().client
        answered = 0
        for event in triggering_asset_events[asked]:
            for message in event.extra["payload"]["messages"]:
                reply = {
                    "parts": ["We are open from 9 to 6."],
                    "idempotency_key": f"hours-{message['message_id']}",
                }
                try:
                    client.messages.send(message["chat_id"], reply)
                    answered += 1
                except (NotFoundError, OptedOutError, BlockedError):
                    continue  # the chat is gone, or they don't want to hear from us, or we from them
        return answered

    answer()


linq_answer_within_seconds()
