"""A result that decides how a run continues is an XCom all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup, task_group

from airflow_provider_linq._internal.version_compat import AirflowFailException
from airflow_provider_linq.operators.ask import LinqAskOperator
from airflow_provider_linq.operators.chats import LinqCheckCapabilityOperator
from tests.support.airflow import Run, context
from tests.support.emulator_process import Emulator

ANN, BOB = "+12125550110", "+12125550111"


@pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient` is deprecated")
@pytest.mark.parametrize(("address", "taken", "skipped"), [(ANN, "yes", "no"), (BOB, "no", "yes")])
def test_the_result_of_a_branch_is_in_xcom(
    emulator: Emulator, run_dag: Callable[..., Run], address: str, taken: str, skipped: str
) -> None:
    emulator.control("POST", "handles", {"handle": BOB, "services": ["SMS"]})
    run = run_dag("reachable", address=address)
    assert run.state == "success"
    assert (run.states(taken), run.states(skipped)) == (["success"], ["skipped"])
    assert run.xcom("check")["address"] == address
    assert run.xcom(taken) is (taken == "yes")


def test_a_branch_in_a_mapped_group_is_refused_when_the_dag_is_parsed() -> None:
    @task_group
    def each(who: str) -> None:
        LinqCheckCapabilityOperator(task_id="check", address=who, if_available="each.yes")

    with DAG("groups", schedule=None), pytest.raises(ValueError, match="each.check: a mapped task can't branch"):
        each.expand(who=[ANN, BOB])


def test_a_branch_of_a_mapped_task_asks_nothing(emulator: Emulator, connect: Callable[..., None]) -> None:
    check = LinqCheckCapabilityOperator(task_id="check", address=ANN, if_unavailable="no")
    with pytest.raises(AirflowFailException, match="a mapped task can't branch"):
        check.execute(context(map_index=0))
    assert not emulator.requests_served()
    LinqCheckCapabilityOperator(task_id="value", address=ANN).execute(context(map_index=0))


@pytest.mark.parametrize("branch", ["yess", "later", "group.inner", "yes no", ["yes", "check"]])
def test_a_branch_that_leads_nowhere_is_refused_before_anything_is_asked(
    emulator: Emulator, connect: Callable[..., None], branch: Any
) -> None:
    with DAG("branches", schedule=None):
        check = LinqCheckCapabilityOperator(task_id="check", address=ANN, if_available=branch)
        ask = LinqAskOperator(task_id="ask", to=ANN, message="Well?", answers={"yes": "yes"}, otherwise=branch)
        yes, later = EmptyOperator(task_id="yes"), EmptyOperator(task_id="later")
        with TaskGroup("group") as group:
            EmptyOperator(task_id="first") >> EmptyOperator(task_id="inner")
        for task in (check, ask):
            task >> [yes, group]
        yes >> later
    for task in (check, ask):
        with pytest.raises(AirflowFailException, match=f"{task.task_id}: must branch to tasks or groups directly"):
            task.execute(context())
    assert not emulator.requests_served()
    check.check_can_branch(context(), "yes", "group", ["yes", "group.first"], None)
