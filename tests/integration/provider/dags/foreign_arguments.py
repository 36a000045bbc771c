"""Arguments that another task brings over those of the author, and rendering that a task has chosen for itself."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_linq.operators.messages import LinqCreateChatOperator

ANN, BOB, CAT, DAN = "+12125550110", "+12125550111", "+12125550112", "+12125550113"

with DAG("foreign_arguments", schedule=None, params={"text": "", "to": DAN}):

    @task
    def orders(params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        assert params is not None
        return [{"to": ANN, "message": params["text"]}]

    @task
    def people() -> list[dict[str, str]]:
        return [{"to": BOB}]

    @task
    def folders() -> list[dict[str, Any]]:
        return [{"to": CAT, "message": "Hi", "files_under": "/etc"}]

    LinqCreateChatOperator.partial(task_id="replaced", message="Hi from {{ dag.dag_id }}").expand_kwargs(
        orders(), strict=False
    )
    LinqCreateChatOperator.partial(task_id="kept", message="Hi from {{ dag.dag_id }}").expand_kwargs(
        people(), strict=False
    )
    LinqCreateChatOperator.partial(task_id="folder").expand_kwargs(folders())
    LinqCreateChatOperator(
        task_id="native", to="{{ [params.to] }}", message="123456", render_template_as_native_obj=True
    )
