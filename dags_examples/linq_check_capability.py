"""
### iMessage where it works, SMS elsewhere

Checks whether somebody can be reached by iMessage, and sends the longer message or the short one.

* The platform allows one check in 10 seconds for the account: check a few, not a mailing list. To leave the choice to
  the platform, send without checking.

It needs the connection `linq_default` with a default line.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, dag

from airflow_provider_linq.operators.chats import LinqCheckCapabilityOperator
from airflow_provider_linq.operators.messages import LinqCreateChatOperator


@dag(
    schedule=None,
    catchup=False,
    tags=["example", "linq"],
    doc_md=__doc__,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    params={"to": Param("+12125550110", type="string", description="Handle to write to.")},
)
def linq_check_capability() -> None:
    check = LinqCheckCapabilityOperator(
        task_id="check", address="{{ params.to }}", if_available="by_imessage", if_unavailable="by_sms"
    )
    by_imessage = LinqCreateChatOperator(
        task_id="by_imessage",
        to="{{ params.to }}",
        message={
            "parts": ["Your table is ready. Reply here if you would like the window seat."],
            "preferred_service": "iMessage",
        },
    )
    by_sms = LinqCreateChatOperator(
        task_id="by_sms",
        to="{{ params.to }}",
        message={"parts": ["Your table is ready."], "preferred_service": "SMS"},
    )
    check >> [by_imessage, by_sms]


linq_check_capability()
