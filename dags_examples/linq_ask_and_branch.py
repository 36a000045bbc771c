"""
### Ask, wait for the answer, and go on by what it says

Asks whether an appointment suits, waits for the answer without holding a worker, and confirms or cancels.

* A retry asks no second time, and nothing older than the question is taken for an answer.
* Who does not answer in time, or has opted out, gets no further message.
* No text is written to the logs, nor to XCom.

It needs the connection `linq_default` with a default line, and a running triggerer. The waiting time suits a trial.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, dag, task

from airflow_provider_linq.operators.ask import LinqAskOperator
from airflow_provider_linq.operators.messages import LinqSendMessageOperator


@dag(
    schedule=None,
    catchup=False,
    tags=["example", "linq"],
    doc_md=__doc__,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    params={"to": Param("+12125550110", type="string", description="Handle to ask.")},
)
def linq_ask_and_branch() -> None:
    ask = LinqAskOperator(
        task_id="ask",
        to="{{ params.to }}",
        message="Does Friday at seven suit you? Reply YES or NO.",
        answers={"yes": "confirm", "no": "cancel"},
        otherwise="no_answer",
        timeout=timedelta(minutes=2),
        on_opt_out="return",
        poll_interval=5,
        deferrable=True,
    )

    @task
    def no_answer(refused: str | None = None) -> None:
        print("No answer came in time." if refused is None else f"Not asked: {refused}")

    chat_id = ask.output["chat_id"]
    confirm = LinqSendMessageOperator(task_id="confirm", chat_id=chat_id, message="Wonderful, see you on Friday!")
    cancel = LinqSendMessageOperator(task_id="cancel", chat_id=chat_id, message="No problem, we'll find another day.")
    ask >> [confirm, cancel, no_answer(ask.output["refused"])]


linq_ask_and_branch()
