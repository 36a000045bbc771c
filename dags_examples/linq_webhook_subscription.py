"""
### See to it that the platform delivers webhooks

Makes the subscription for the receiver's URL what it should be, every hour: the platform disables one whose deliveries
have failed for long, and this enables it again.

* The signing secret of a new subscription goes into the Variable `linq_webhook_secret`, from where the receiver can get
  it, and into no log and no XCom.
* A retry makes no second subscription.

It needs the connection `linq_default`, and an https URL at which `linq-webhooks serve` can be reached.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import Param, dag

from airflow_provider_linq.operators.webhooks import LinqWebhookSubscriptionOperator


@dag(
    schedule="@hourly",
    start_date=pendulum.datetime(2026, 3, 1),
    catchup=False,
    max_active_runs=1,
    tags=["example", "linq"],
    doc_md=__doc__,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    params={"url": Param("https://hooks.example.com/webhooks/linq", type="string", description="Of the receiver.")},
)
def linq_webhook_subscription() -> None:
    LinqWebhookSubscriptionOperator(
        task_id="subscribe", target_url="{{ params.url }}", secret_variable="linq_webhook_secret"
    )


linq_webhook_subscription()
