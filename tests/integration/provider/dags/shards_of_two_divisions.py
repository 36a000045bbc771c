"""A campaign over the shards of two divisions, which some recipients are in none of."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_linq.operators.campaigns import LinqSendCampaignOperator

PEOPLE = [{"to": f"person{index}@example.com", "name": f"Person {index}"} for index in range(30)]

with DAG("shards_of_two_divisions", schedule=None, params={"folder": ""}) as dag:
    LinqSendCampaignOperator.partial(
        task_id="send",
        message="Hello {{ row.name }}",
        rows=PEOPLE,
        outcomes_path="{{ params.folder }}/outcomes.jsonl",
    ).expand(shard=["1/2", "2/3"])
