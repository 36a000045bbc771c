"""The Airflow provider for the Linq messaging platform.

`hooks`, `operators`, `sensors`, `triggers`, `notifications`, `queues`, `retry_policies` and `campaigns` hold what DAGs
import, `results` the types of what goes to XCom; `get_provider_info` is what Airflow reads at start-up. `_internal` is
for these alone. Nothing is imported here: Airflow reads the provider's metadata in every process.
"""
