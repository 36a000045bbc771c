"""Handles, keys and texts that native rendering would turn into something else."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_linq.operators.messages import LinqCreateChatOperator, LinqSendMessageOperator

ANN, BOB, DAN = "+12125550110", "+12125550111", "+12125550113"

with DAG("native_arguments", schedule=None, params={"to": DAN}, render_template_as_native_obj=True):
    LinqSendMessageOperator(task_id="literal", to=ANN, message="123456", idempotency_key="20260301")
    LinqSendMessageOperator(task_id="param", to="{{ params.to }}", message="'Hello'")
    LinqSendMessageOperator(task_id="list", to="{{ [params.to] }}", message="{{ 20 + 3 }}")
    LinqCreateChatOperator(task_id="line", to=[BOB], from_="+12025550101", message="{'parts': ['injected']}")
