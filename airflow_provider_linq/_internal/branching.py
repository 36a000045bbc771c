"""Operators whose result decides how the run continues, and is an XCom too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_linq._internal.operator import LinqOperator
from airflow_provider_linq._internal.version_compat import AirflowFailException, BranchMixIn

if TYPE_CHECKING:
    from airflow.sdk import Context

_SKIPS_NOTHING = (
    "a mapped task can't branch, since Airflow skips nothing downstream of it (apache/airflow#67265): let each task "
    "downstream decide by the result, or start a DAG run for each item"
)


class BranchingOperator(LinqOperator, BranchMixIn):
    """Base of the operators that may branch; see Airflow's `BaseBranchOperator`."""

    inherits_from_skipmixin = True

    def check_branching(self) -> None:
        """
        Refuse a branch in a mapped task group, when the DAG is parsed.

        :raises ValueError: the task is in one.
        """
        if self.get_closest_mapped_task_group() is not None:
            raise ValueError(f"{self.task_id}: {_SKIPS_NOTHING}")

    def check_can_branch(self, context: Context, *branches: str | Iterable[str] | None) -> None:
        """
        Refuse what can be no branch, before anything is sent or asked.

        :param branches: tasks, or task groups, to continue with.
        :raises AirflowFailException: the task is mapped, or one that is named is not directly downstream.
        """
        if context["ti"].map_index not in (None, -1):
            raise AirflowFailException(f"{self.task_id}: {_SKIPS_NOTHING}")
        if (dag := self.get_dag()) is None:
            return
        for task_ids in branches:
            for name in [task_ids] if isinstance(task_ids, str) else task_ids or ():
                group = dag.task_group_dict.get(name)
                roots = {name} if group is None else {root.task_id for root in group.roots}
                if not roots <= self.downstream_task_ids:
                    raise AirflowFailException(
                        f"{self.task_id}: must branch to tasks or groups directly downstream, which are "
                        f"{sorted(self.downstream_task_ids)}, got {name!r}. In a task group, ids have its prefix"
                    )

    def branch(self, context: Context, result: Mapping[str, Any], task_ids: str | Iterable[str] | None) -> None:
        """
        Continue with some of the tasks directly downstream; Airflow skips the others by an exception.

        :param result: of the task; goes to XCom first, since a task that ends with an exception returns nothing.
        :param task_ids: None skips all of them.
        """
        if self.do_xcom_push:
            for key, value in result.items() if self.multiple_outputs else ():
                context["ti"].xcom_push(key, value)
            context["ti"].xcom_push("return_value", dict(result))
        self.do_branch(context, task_ids)
