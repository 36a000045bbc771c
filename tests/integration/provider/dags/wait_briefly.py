"""A deferrable sensor for which nobody writes: it ends by itself, also where Airflow runs the trigger in line."""

from airflow.sdk import DAG

from airflow_provider_linq.sensors.linq import LinqMessageSensor

with DAG("wait_briefly", schedule=None):
    LinqMessageSensor(
        task_id="wait", line="+12025550101", poke_interval=0.2, timeout=1, soft_fail=True, deferrable=True
    )
