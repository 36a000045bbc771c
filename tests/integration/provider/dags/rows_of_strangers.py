"""Rows with words of strangers, in every way by which they can come into a campaign; each has an area code."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_linq.operators.campaigns import LinqSendCampaignOperator

#: A template, the name of a file that Airflow would read, Python, and a code.
ANSWERS = ["{{ conn.linq_default.password }} {{ 7 * 7 }}", "see .sql", "[{'path': '/etc/hostname'}]", "7"]


def rows_of(area: int) -> list[dict[str, Any]]:
    return [{"to": f"+1{area}555010{index}", "answer": answer} for index, answer in enumerate(ANSWERS)]


for name, is_native in (("rows_of_strangers", False), ("rows_of_strangers_native", True)):
    with DAG(name, schedule=None, render_template_as_native_obj=is_native):

        @task
        def upstream(area: int) -> list[dict[str, Any]]:
            return rows_of(area)

        @task
        def one() -> str:
            return ANSWERS[0]

        @task
        def batches() -> list[dict[str, Any]]:
            return [{"rows": rows_of(203), "campaign_key": "batch"}]

        LinqSendCampaignOperator.partial(task_id="batch", message="{{ row.answer }}").expand_kwargs(batches())
        LinqSendCampaignOperator(task_id="xcom", message="{{ row.answer }}", rows=upstream(204))
        LinqSendCampaignOperator(
            task_id="literal",
            message="{{ row.answer }}",
            campaign_key="123",
            from_="+12025550101",
            rows=[*rows_of(205), {"to": "+12055550109", "answer": one()}],
        )
