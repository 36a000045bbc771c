"""
### A group chat with a name

Opens a group chat with everybody who is on duty, gives it the name of the day, and writes into it.

* Run again with the same people, it finds their chat; a group that has a name is not found again, though, so each day
  gets a chat of its own.
* The name comes a little later than the task: the platform accepts the change and makes it.

It needs the connection `linq_default` with a default line.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, dag

from airflow_provider_linq.operators.chats import LinqUpdateChatOperator
from airflow_provider_linq.operators.messages import LinqCreateChatOperator, LinqSendMessageOperator


@dag(
    schedule=None,
    catchup=False,
    tags=["example", "linq"],
    doc_md=__doc__,
    render_template_as_native_obj=True,  # so that `to` below is a list
    default_args={"retries": 3, "retry_delay": timedelta(seconds=10)},
    params={
        "team": Param(
            ["+12125550110", "+12125550111", "+12125550112"],
            type="array",
            items={"type": "string"},
            minItems=2,
            description="Handles of those on duty.",
        ),
    },
)
def linq_group_chat() -> None:
    create = LinqCreateChatOperator(
        task_id="create",
        to="{{ params.team }}",
        message="Hello everybody, this is the chat for today's shift.",
    )
    name = LinqUpdateChatOperator(
        task_id="name",
        chat_id=create.output["chat_id"],
        display_name="Shift of {{ dag_run.run_after.strftime('%-d %B') }}",
    )
    brief = LinqSendMessageOperator(
        task_id="brief",
        chat_id=create.output["chat_id"],
        message=["The delivery comes at noon. Menu:", {"type": "media", "url": "https://cdn.example.com/menu.png"}],
    )
    name >> brief


linq_group_chat()
