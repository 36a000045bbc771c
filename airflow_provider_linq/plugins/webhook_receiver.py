"""The plugin that mounts the receiver of webhooks into Airflow's API server, where the configuration says so."""

from __future__ import annotations

from typing import Any, Final

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_linq._internal.version_compat import conf

__all__ = ["LinqWebhookReceiverPlugin"]

_PREFIX: Final = "/linq-webhooks"


def _apps() -> list[dict[str, Any]]:
    if not conf.getboolean("linq", "webhook_receiver", fallback=False):
        return []
    from airflow_provider_linq._internal.mounted_receiver import MountedReceiver

    return [{"app": MountedReceiver(), "url_prefix": _PREFIX, "name": "Linq webhooks"}]


class LinqWebhookReceiverPlugin(AirflowPlugin):
    """
    Takes deliveries at ``/linq-webhooks/deliveries`` of the API server; off unless ``[linq] webhook_receiver`` is true.

    That path takes requests of anybody, and stores those that are signed by the platform. Airflow's log-in does not
    protect it, and must not.
    """

    name = "linq_webhook_receiver"
    fastapi_apps = _apps()
