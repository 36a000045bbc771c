"""The Airflow provider for the Linq messaging platform.

`hooks`, `operators` and `sensors` hold what DAGs import, one module `linq` in each; `get_provider_info` is what
Airflow reads at start-up. The other modules are for these alone, one rule in each: `results` (what goes to XCom),
`failures` (what is worth a retry), `idempotency` (what makes a send happen once). Nothing is imported here: Airflow
reads the provider's metadata in every process.
"""
