"""The scheme ``linq`` of `MessageQueueTrigger`, where the common-messaging provider is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from airflow_provider_linq._internal.version_compat import AirflowOptionalProviderFeatureException
from airflow_provider_linq.triggers.linq_inbound import LinqInboundMessageTrigger

try:
    from airflow.providers.common.messaging.providers.base_provider import BaseMessageQueueProvider
except ImportError as error:
    # Airflow looks at every class that the provider lists, and passes over one that says so.
    raise AirflowOptionalProviderFeatureException(
        "The message queue of Linq needs apache-airflow-providers-common-messaging"
    ) from error

if TYPE_CHECKING:
    from airflow.triggers.base import BaseEventTrigger

__all__ = ["LinqMessageQueueProvider"]


class LinqMessageQueueProvider(BaseMessageQueueProvider):
    """
    Messages that come in as a message queue.

    ``MessageQueueTrigger(scheme="linq", line="+12025550101")`` takes the arguments of
    :class:`~airflow_provider_linq.triggers.linq_inbound.LinqInboundMessageTrigger`. In the older form the queue is a
    URI that names connection and line, both optional: ``linq://linq_default/+12025550101``.
    """

    scheme = "linq"

    def queue_matches(self, queue: str) -> bool:
        return urlsplit(queue).scheme == self.scheme

    def trigger_class(self) -> type[BaseEventTrigger]:
        return LinqInboundMessageTrigger

    def trigger_kwargs(self, queue: str, **kwargs: Any) -> dict[str, Any]:
        uri = urlsplit(queue)
        named = {"linq_conn_id": uri.netloc, "line": unquote(uri.path.strip("/"))}
        return {name: value for name, value in named.items() if value and name not in kwargs}
