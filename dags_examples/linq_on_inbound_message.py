"""
### A DAG that runs when messages come in

The triggerer watches the account; messages that come in are an event of the asset `linq_inbound`, and start this DAG,
which marks the chat as read and answers everybody who asks for the opening hours.

* An event may hold several messages, and a run may have several events, so the DAG goes through all of them.
* Events carry ids and no text: the task reads the message itself.
* The answer carries an idempotency key made of the message that it answers. An event may come twice (at least once is
  what the watcher promises); the answer goes out once.

It needs the connection `linq_default`, Airflow 3.3 for a watch that misses nothing over restarts, and a triggerer.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, AssetWatcher, dag, task

from airflow_provider_linq.hooks.linq import LinqHook
from airflow_provider_linq.triggers.linq_inbound import LinqInboundMessageTrigger
from linq_client import BlockedError, NotFoundError, OptedOutError

inbound = Asset(
    "linq_inbound",
    watchers=[AssetWatcher(name="linq_inbound", trigger=LinqInboundMessageTrigger(poll_interval=5))],
)


@dag(
    schedule=[inbound],
    catchup=False,
    tags=["example", "linq"],
    doc_md=__doc__,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=10)},
)
def linq_on_inbound_message() -> None:
    @task
    def answer(triggering_asset_events: Any = None) -> int:
        client = LinqHook().client
        answered = 0
        events = triggering_asset_events[inbound]
        for found in [found for event in events for found in event.extra["payload"]["messages"]]:
            message_id, chat_id = found["message_id"], found["chat_id"]
            try:
                message = client.messages.get(message_id)
                client.chats.mark_read(chat_id)
                if any("open" in getattr(part, "value", "").lower() for part in message.parts):
                    reply = {"parts": ["We are open from 9 to 6."], "idempotency_key": f"answer-{message_id}"}
                    client.messages.send(chat_id, reply)
                    answered += 1
            except (NotFoundError, OptedOutError, BlockedError):
                continue  # expired by now, or they don't want to hear from us, or we from them
        return answered

    answer()


linq_on_inbound_message()
