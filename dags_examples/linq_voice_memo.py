"""
### A voice memo from a file

Sends a recording, from this machine or an object store, as a voice memo.

* `path` takes what Airflow's `ObjectStoragePath` takes: `/srv/greeting.m4a`, `s3://conn_id@bucket/greeting.m4a`.
* Params are data, which everybody who triggers the DAG sets: `files_under` says in which folder the file has to lie.
* The API has no idempotency key for voice memos, so one whose outcome is unknown is not sent again: the task fails,
  and says what to do.

It needs the connection `linq_default` with a default line.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, dag

from airflow_provider_linq.operators.chats import LinqSendVoiceMemoOperator
from airflow_provider_linq.operators.messages import LinqCreateChatOperator


@dag(
    schedule=None,
    catchup=False,
    tags=["example", "linq"],
    doc_md=__doc__,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    params={
        "to": Param("+12125550110", type="string", description="Handle to send to."),
        "path": Param("/tmp/greeting.m4a", type="string", description="The recording, 10 MB at most."),
    },
)
def linq_voice_memo() -> None:
    hello = LinqCreateChatOperator(task_id="hello", to="{{ params.to }}", message="A word from the kitchen:")
    LinqSendVoiceMemoOperator(
        task_id="memo", chat_id=hello.output["chat_id"], path="{{ params.path }}", files_under="/tmp"
    )


linq_voice_memo()
