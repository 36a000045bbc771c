"""Makes DAGs in which a stranger's text takes all the ways from one task to another."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, task, task_group

from airflow_provider_linq.operators.messages import LinqCreateChatOperator, LinqSendMessageOperator

ANN, BOB, CAT, DAN = "+12125550110", "+12125550111", "+12125550112", "+12125550113"


def made(dag_id: str, *, native: bool) -> DAG:
    """Return the DAG of this id."""
    with DAG(
        dag_id,
        schedule=None,
        params={"text": "", "to": ANN, "tos": [ANN]},
        render_template_as_native_obj=native,
    ) as dag:

        @task
        def said(params: dict[str, Any] | None = None) -> str:
            assert params is not None
            return str(params["text"])

        @task
        def orders(text: str) -> list[dict[str, str]]:
            return [{"to": BOB, "message": text}]

        @task
        def texts(text: str) -> list[str]:
            return [text]

        text = said()
        LinqSendMessageOperator.partial(task_id="by_kwargs").expand_kwargs(orders(text))
        LinqSendMessageOperator.partial(task_id="by_expand", to=CAT).expand(message=texts(text))
        LinqSendMessageOperator(task_id="by_xcom", to=ANN, message=text)
        by_template = LinqSendMessageOperator(
            task_id="by_template", to="{{ params.to }}", message="{{ ti.xcom_pull('said') }}"
        )
        by_params = LinqCreateChatOperator(task_id="by_params", to=DAN, message=["{{ params.text }}"])

        @task_group
        def each(message: str) -> None:
            LinqSendMessageOperator(task_id="in_group", to=ANN, message=message)

        each.expand(message=texts(text))
        written = LinqSendMessageOperator.partial(task_id="written").expand(
            to=[DAN], message=["{{ params.to }} was written to"]
        )
        text >> [by_template, by_params]  # type: ignore[list-item]
        by_params >> written
    return dag
