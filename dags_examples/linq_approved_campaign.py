"""
### A campaign that somebody approves before it is sent

Checks a campaign without sending it, shows in Airflow whom it would write to and what, waits until somebody approves,
and sends.

* `check` is a dry run: it finds every row that can't be sent to, and sends nothing.
* `approve` is a required action in the UI, with the first messages and the rows that are left out. The approver gets a
  message that it is there.
* Rejected, or not answered within an hour: nothing is sent.
* `send` has the same arguments as `check`, and `not_after`: an approval that comes too late sends nothing.

It needs the connection `linq_default` with a default line, and a CSV file with the columns `phone` and `first_name`.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import ObjectStoragePath, Param, dag, task

from airflow_provider_linq.notifications.linq import LinqNotifier
from airflow_provider_linq.operators.campaigns import LinqSendCampaignOperator

CAMPAIGN: dict[str, Any] = {
    "rows_path": "{{ params.customers }}",
    "to_field": "phone",
    "message": "Hello {{ row.first_name | default('there') }}, we open on Sunday, too. Shall we keep you a table?",
    "on_invalid": "skip",
}
SHOWN = 5


@dag(
    schedule=None,
    catchup=False,
    tags=["example", "linq"],
    doc_md=__doc__,
    params={
        "customers": Param("/tmp/linq/customers.csv", type="string", description="Whom to write to."),
        "folder": Param("/tmp/linq", type="string", description="Where outcomes are written."),
        "approver": Param("+12125550110", type="string", description="Handle of who is asked to approve."),
    },
)
def linq_approved_campaign() -> None:
    check = LinqSendCampaignOperator(
        task_id="check",
        dry_run=True,
        outcomes_path="{{ params.folder }}/{{ run_id }}-planned.jsonl",
        **CAMPAIGN,
    )

    @task
    def preview(counts: dict[str, Any]) -> str:
        rows = [json.loads(line) for line in ObjectStoragePath(counts["outcomes_path"]).read_text().splitlines()]
        planned = [row for row in rows if row["status"] == "pending"]
        excluded = [row for row in rows if row["status"] == "skipped"]
        lines = [f"**{len(planned)}** people get a message, {len(excluded)} rows are left out.", ""]
        lines += ["| to | message |", "| --- | --- |"]
        lines += [f"| …{row['to'][0][-4:]} | {cell(row['message'])} |" for row in planned[:SHOWN]]
        lines += ["", *(f"* row {row['row']}: {cell(row['detail'])}" for row in excluded[:SHOWN])]
        return "\n".join(lines)

    approve = ApprovalOperator(
        task_id="approve",
        subject="Send this campaign?",
        body="{{ ti.xcom_pull('preview') }}",
        notifiers=[LinqNotifier(to="{{ params.approver }}", message="{{ dag.dag_id }} waits for your approval.")],
        response_timeout=timedelta(hours=1),
    )
    send = LinqSendCampaignOperator(
        task_id="send",
        outcomes_path="{{ params.folder }}/{{ run_id }}.jsonl",
        not_after=timedelta(hours=2),
        retries=2,
        retry_delay=timedelta(minutes=6),
        **CAMPAIGN,
    )
    preview(check.output) >> approve >> send


def cell(value: object) -> str:
    """A value for a table in Markdown; what people wrote must not become a part of it."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(f"\\{one}" if one in "\\`*_[]<>|#!&" else one for one in " ".join(text.split()))


linq_approved_campaign()
