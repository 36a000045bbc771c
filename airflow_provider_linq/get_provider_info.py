"""What Airflow reads about this provider when it starts: plain data, and cheap to import."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

#: What every Airflow may know. It loads no provider at all where the first differs from the name of the distribution.
_IDENTITY: Final = {
    "package-name": "linq-connectors",
    "name": "Linq",
    "description": "Send and receive iMessage, RCS and SMS messages through `Linq <https://linqapp.com/>`__.",
}


def get_provider_info() -> dict[str, Any]:
    """
    Return the metadata of the provider, in the form of Airflow's `provider_info.schema.json`.

    The distribution may have been installed for its client or its tap, into the environment of an Airflow that the
    provider does not support. That one is not given the names of classes that it could not import.
    """
    if not _airflow_is_supported():
        return {**_IDENTITY, "description": f"{_IDENTITY['description']} Needs Airflow 3.1 or later."}
    return {
        **_IDENTITY,
        "integrations": [
            {
                "integration-name": "Linq",
                "external-doc-url": "https://docs.linqapp.com/",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": "Linq", "python-modules": ["airflow_provider_linq.hooks.linq"]}],
        "operators": [
            {
                "integration-name": "Linq",
                "python-modules": [
                    "airflow_provider_linq.operators.ask",
                    "airflow_provider_linq.operators.campaigns",
                    "airflow_provider_linq.operators.erase",
                    "airflow_provider_linq.operators.chats",
                    "airflow_provider_linq.operators.extract",
                    "airflow_provider_linq.operators.messages",
                    "airflow_provider_linq.operators.webhooks",
                ],
            }
        ],
        "sensors": [{"integration-name": "Linq", "python-modules": ["airflow_provider_linq.sensors.linq"]}],
        "triggers": [
            {
                "integration-name": "Linq",
                "python-modules": [
                    "airflow_provider_linq.triggers.linq",
                    "airflow_provider_linq.triggers.linq_inbound",
                ],
            }
        ],
        "notifications": ["airflow_provider_linq.notifications.linq.LinqNotifier"],
        # Passed over by Airflow where the common-messaging provider is not installed.
        "queues": ["airflow_provider_linq.queues.linq.LinqMessageQueueProvider"],
        "plugins": [
            {
                "name": "linq_webhook_receiver",
                "plugin-class": "airflow_provider_linq.plugins.webhook_receiver.LinqWebhookReceiverPlugin",
            }
        ],
        "extra-links": [
            "airflow_provider_linq.links.linq.LinqCampaignLink",
            "airflow_provider_linq.links.linq.LinqTaskLink",
        ],
        "connection-types": [connection_type()],
        "config": {
            "linq": {
                "description": "Limits of the Linq provider, and its receiver of webhooks in the API server.",
                "options": {
                    "webhook_receiver": {
                        "description": "Whether the API server takes deliveries at /linq-webhooks/deliveries.",
                        "version_added": "0.2.0",
                        "type": "boolean",
                        "example": None,
                        "default": "False",
                    },
                    "webhook_archive": {
                        "description": "Where it stores them: a folder, or a URL of files or of a database.",
                        "version_added": "0.2.0",
                        "type": "string",
                        "sensitive": True,
                        "example": "s3://bucket/linq-webhooks",
                        "default": "",
                    },
                    "webhook_archive_secret": {
                        "description": "Key that encrypts the bodies; they are stored as they are if it is empty.",
                        "version_added": "0.2.0",
                        "type": "string",
                        "sensitive": True,
                        "example": None,
                        "default": "",
                    },
                    "webhook_secret_variable": {
                        "description": "Variables with the signing secrets (LinqWebhookSubscriptionOperator).",
                        "version_added": "0.2.0",
                        "type": "string",
                        "example": None,
                        "default": "linq_webhook_secret",
                    },
                    "outcomes_under": {
                        "description": "Folder whose outcomes of campaigns the UI shows, those of a DAG in its folder.",
                        "version_added": "0.2.0",
                        "type": "string",
                        "example": "/shared/outcomes",
                        "default": "",
                    },
                    "max_rows_file_mb": {
                        "description": "Largest file of rows that a campaign reads, in megabytes (1,000,000 bytes).",
                        "version_added": "0.2.0",
                        "type": "integer",
                        "example": None,
                        "default": "1000",
                    },
                },
            }
        },
    }


def _airflow_is_supported() -> bool:
    """Whether Airflow is 3.1 or later, which `_internal.version_compat` would say only after Airflow was imported."""
    try:
        major, minor = version("apache-airflow-core").split(".")[:2]
    except PackageNotFoundError:  # as it is up to 2.11
        return False
    return (int(major), int(minor)) >= (3, 1)


def connection_type() -> dict[str, Any]:
    """The connection form. `LinqHook` reads what is filled in; the names of `conn-fields` are its extra fields."""
    return {
        "connection-type": "linq",
        "hook-class-name": "airflow_provider_linq.hooks.linq.LinqHook",
        "hook-name": "Linq",
        "ui-field-behaviour": {
            "hidden-fields": ["login", "port", "schema", "extra"],
            "relabeling": {"password": "API key", "host": "Base URL"},
            "placeholders": {"host": "https://api.linqapp.com/api/partner"},
        },
        "conn-fields": {
            "default_line": {
                "label": "Default line",
                "description": "Own phone number to send from where a task names none, in E.164 form (+12025550100).",
                "schema": {"type": ["string", "null"]},
            },
            "retention_window_hours": {
                "label": "Retention window (hours)",
                "description": "After how many hours the platform deletes messages; empty if it keeps them.",
                "schema": {"type": ["number", "null"], "minimum": 1, "maximum": 24},
            },
            "connect_timeout": {
                "label": "Connect timeout (seconds)",
                "description": "How long to wait for a connection; 5 if empty.",
                "schema": {"type": ["number", "null"]},
            },
            "read_timeout": {
                "label": "Read timeout (seconds)",
                "description": "How long to wait for each response; 90 if empty.",
                "schema": {"type": ["number", "null"]},
            },
            "max_retries": {
                "label": "Retries",
                "description": "Tries of a request after the first one, where it may be repeated; 4 if empty.",
                "schema": {"type": ["integer", "null"], "minimum": 0},
            },
            "proxy": {
                "label": "Proxy",
                "description": "URL of a proxy for all requests; that of the environment if empty.",
                "schema": {"type": ["string", "null"], "format": "password"},
            },
            "verify": {
                "label": "CA bundle",
                "description": "File on the workers with the certificates to trust; those of the environment if empty.",
                "schema": {"type": ["string", "null"]},
            },
            "allow_http": {
                "label": "Allow http://",
                "description": "Let the API key leave the machine unencrypted, if the base URL begins with http://.",
                "schema": {"type": ["boolean", "null"]},
            },
            "webhook_archive_secret": {
                "label": "Webhook archive key",
                "description": "Key that decrypts the webhook archive; empty if it is not encrypted.",
                "schema": {"type": ["string", "null"], "format": "password"},
            },
        },
    }
