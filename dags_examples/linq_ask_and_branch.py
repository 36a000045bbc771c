"""
### Ask, wait for the answer, and go on by what it says

Asks whether an appointment suits, waits for the answer without holding a worker, and confirms or cancels.

* `wait` counts from the `created_at` of the question, by the API's clock: nothing older is taken for an answer.
* Whoever has opted out makes no failure: `ask` is skipped for them, and the rest with it.
* No text is written to the logs.

It needs the connection `linq_default` with a default line, and a running triggerer. The waiting time suits a trial.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, dag, task

from airflow_provider_linq.operators.messages import LinqCreateChatOperator, LinqSendMessageOperator
from airflow_provider_linq.sensors.linq import LinqMessageSensor


@dag(
    schedule=None,
    catchup=False,
    tags=["example", "linq"],
    doc_md=__doc__,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    params={"to": Param("+12125550110", type="string", description="Handle to ask.")},
)
def linq_ask_and_branch() -> None:
    ask = LinqCreateChatOperator(
        task_id="ask",
        to="{{ params.to }}",
        message="Does Friday at seven suit you? Reply YES or NO.",
        on_opt_out="skip",
    )
    wait = LinqMessageSensor(
        task_id="wait",
        chat_id=ask.output["chat_id"],
        since=ask.output["created_at"],
        text_matches=r"(?i)^\s*(yes|no)\b",
        poke_interval=5,
        timeout=timedelta(minutes=2),
        deferrable=True,
    )

    @task.branch
    def choose(text: str) -> str:
        return "confirm" if text.strip().lower().startswith("yes") else "cancel"

    chat_id = ask.output["chat_id"]
    confirm = LinqSendMessageOperator(task_id="confirm", chat_id=chat_id, message="Wonderful, see you on Friday!")
    cancel = LinqSendMessageOperator(task_id="cancel", chat_id=chat_id, message="No problem, we'll find another day.")
    choose(wait.output["text"]) >> [confirm, cancel]


linq_ask_and_branch()
