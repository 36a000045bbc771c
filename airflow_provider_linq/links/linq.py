"""Links from tasks to the Linq page of Airflow's UI."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

from airflow.sdk import BaseOperatorLink

from airflow_provider_linq._internal.version_compat import HAS_STATE_STORES, conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey

log = logging.getLogger(__name__)

__all__ = ["LinqCampaignLink", "LinqTaskLink"]


class LinqTaskLink(BaseOperatorLink):
    """
    Leads to the page of a task: what it has sent, or what it waits for. There is one from Airflow 3.3 on.

    The task pushes it when it starts, since Airflow itself does so only when the task has ended.
    """

    name = "Linq"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the path of the page, which is on the server that shows the link."""
        return _page(ti_key.dag_id, ti_key.run_id, ti_key.task_id, ti_key.map_index)

    def push(self, context: Context) -> None:
        """
        Show the link from now on; a failure is only logged.

        :param context: of the running task.
        """
        ti: Any = context["ti"]
        try:
            ti.xcom_push(key=self.xcom_key, value=_page(ti.dag_id, ti.run_id, ti.task_id, ti.map_index))
        except Exception as error:  # no task fails for a link
            log.warning("The link to the page of the task could not be shown: %s", type(error).__name__)


class LinqCampaignLink(LinqTaskLink):
    """Leads to the page of a campaign, which shows how far it is."""

    name = "Campaign"


#: The links of tasks that send or wait.
TASK_LINKS: Final = (LinqTaskLink(),) if HAS_STATE_STORES else ()


def show_links(operator: BaseOperator, context: Context) -> None:
    """
    Show the links of a task that lead to our page; those that a subclass has added are Airflow's to show.

    :param operator: of the task.
    :param context: of the running task.
    """
    for link in operator.operator_extra_links:
        if isinstance(link, LinqTaskLink):
            link.push(context)


def _page(dag_id: str, run_id: str, task_id: str, map_index: int | None) -> str:
    root = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
    index = -1 if map_index is None else map_index
    return f"{root}/plugin/linq?" + urlencode(
        {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": index}
    )
