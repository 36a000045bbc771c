"""Opens a chat, writes a second message into it by its id, and waits for an answer since the start of the run."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_linq.operators.messages import LinqCreateChatOperator, LinqSendMessageOperator
from airflow_provider_linq.sensors.linq import LinqMessageSensor

with DAG("answer_in_chat", schedule=None, params={"to": "", "text": ""}) as dag:
    opened = LinqCreateChatOperator(task_id="open", to="{{ params.to }}", message="Hello")
    sent = LinqSendMessageOperator(
        task_id="send",
        chat_id=opened.output["chat_id"],
        message={"parts": ["{{ params.text }}"], "effect": {"type": "screen", "name": "confetti"}},
    )
    answered = LinqMessageSensor(
        task_id="wait",
        chat_id=sent.output["chat_id"],
        mode="reschedule",
        poke_interval=timedelta(seconds=1),
        timeout=600,
    )
    sent >> answered
