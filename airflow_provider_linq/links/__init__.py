"""Extra links of the Linq provider."""

import airflow_provider_linq._internal.version_compat  # noqa: F401 - refuses an Airflow that is too old
