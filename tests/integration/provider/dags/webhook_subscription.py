"""Subscriptions whose secret goes into the Variable `linq_webhook_secret`."""

from airflow.sdk import DAG

from airflow_provider_linq.operators.webhooks import LinqWebhookSubscriptionOperator

URL = "http://127.0.0.1:9/linq"
EVENTS = ["message.received", "message.sent"]

with DAG("webhook_subscription", schedule=None, params={"events": EVENTS}, render_template_as_native_obj=True):
    LinqWebhookSubscriptionOperator(
        task_id="subscribe",
        target_url=URL,
        secret_variable="linq_{{ 'webhook' }}_secret",
        subscribed_events="{{ params.events }}",
    )

with DAG("webhook_subscription_replaced", schedule=None):
    LinqWebhookSubscriptionOperator(
        task_id="subscribe",
        target_url=URL,
        secret_variable="linq_webhook_secret",
        subscribed_events=EVENTS,
        replace_unknown=True,
    )

with DAG("webhook_subscription_deleted", schedule=None):
    LinqWebhookSubscriptionOperator(
        task_id="subscribe", target_url=URL, secret_variable="linq_webhook_secret", state="absent"
    )
