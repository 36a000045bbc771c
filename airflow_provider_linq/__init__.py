"""The Airflow provider for the Linq messaging platform.

`hooks`, `operators`, `sensors`, `triggers`, `notifications`, `queues`, `retry_policies` and `campaigns` hold what DAGs
import, `results` the types of what goes to XCom; `get_provider_info` is what Airflow reads at start-up. `_internal` is
for these alone. None of it is imported here: Airflow reads the provider's metadata in every process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__: str

if not TYPE_CHECKING:  # or every name that is misspelled would pass for one of this package

    def __getattr__(name: str) -> Any:
        if name == "__version__":  # when it is asked for: the look-up reads files
            from importlib.metadata import version

            globals()[name] = version("linq-connectors")  # from now on it is found without this function
            return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
