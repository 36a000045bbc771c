"""The Airflow provider for the Linq messaging platform.

`hooks`, `operators`, `sensors`, `triggers`, `notifications`, `queues` and `retry_policies` hold what DAGs import;
`get_provider_info` is what Airflow reads at start-up. The other modules are for these alone, one rule in each:
`results` (what goes to XCom), `failures` (what is worth a retry), `idempotency` (what makes a send happen once),
`unrepeatable` (what is done where the API has no key), `uploads` (files in a message), `delivery` (how far a message
has come), `inbound` (which messages are waited for, and how they are read), `polling` (how triggers ask). Nothing is
imported here: Airflow reads the provider's metadata in every process.
"""
