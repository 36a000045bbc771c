"""Whether each shard of a campaign has an instance that sends to it: recipients of one without are lost in silence."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from airflow_provider_linq._internal.idempotency import instance_hash
from airflow_provider_linq._internal.once import is_mapped
from airflow_provider_linq._internal.version_compat import AirflowFailException
from airflow_provider_linq.campaigns._owner import Owner, Taker
from airflow_provider_linq.campaigns._shards import Shard

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

log = logging.getLogger(__name__)

#: States of an instance that has ended well, so that nothing else would say that somebody was left out.
_ENDED: Final = frozenset({"success", "skipped"})
#: How many shards an error names.
_NAMED: Final = 10


@dataclass(frozen=True)
class Takers:
    """
    Who has taken which shard of the division in force, at one moment.

    :param shard: of the instance that asks.
    :param owners: of the shards that were taken, by number.
    :param states: Airflow's, of the other instances of the task in this run, by their hash; None if there can't be any,
        they can't be read, or each may have a campaign of its own, and tasks with the same campaign key may send to the
        other shards.
    """

    shard: Shard
    owners: Mapping[int, Taker]
    states: Mapping[str, str | None] | None

    @classmethod
    def look(cls, owner: Owner, shard: Shard, context: Context, now: datetime, *, has_key: bool) -> Takers:
        """
        Ask the owners' files, and Airflow.

        :param now: by the API's clock.
        :param has_key: whether a campaign key was given; without one, all instances of a task have the same.
        """
        owners, ti = owner.takers(now), context["ti"]
        states = None
        if is_mapped(ti) and not (has_key and _is_mapped_over_keys(context)):
            try:
                states = _other_instances(ti)
            except Exception as error:  # all that can be sent is sent: that is to be reported, whatever Airflow says
                log.warning("The states of the other instances can't be read: %s", type(error).__name__)
        return cls(shard, owners, states)

    def check(self, left: Mapping[int, int]) -> None:
        """
        See that somebody sends to those who are left in other shards, and say who they are.

        :param left: how many recipients of each shard are neither sent to nor refused, counted after the look: whoever
            had not taken a shard by then and is not going to has not sent to them.
        :raises AirflowFailException: nobody does, as where the task is mapped over shards of two divisions.
        """
        states = self.states or {}
        nobodys, ended = {}, {}
        for number, people in left.items():
            taker = self.owners.get(number)
            if number == self.shard.number or (taker is not None and taker.is_alive):
                continue
            if taker is None or taker.task not in states:
                nobodys[number] = people
            elif states[taker.task] in _ENDED:
                ended[number] = people
        if ended:
            log.warning(
                "%s are pending, and their instances have ended: the rows came later, or max_failures allows it. To "
                "send to them, clear these instances",
                self._in_words(ended),
            )
        if not nobodys:
            return
        # An instance that has failed is seen to have, and takes its shard when it is cleared.
        busy = {taker.task for taker in self.owners.values()}
        if any(task not in busy and state not in _ENDED for task, state in states.items()):
            log.info("%s are left to instances that have taken no shard yet", self._in_words(nobodys))
        elif self.states is None:
            log.warning(
                "%s are pending until other tasks send to them, with this campaign_key and outcomes_path",
                self._in_words(nobodys),
            )
        else:
            raise AirflowFailException(
                f"shard: the list must name all {self.shard.of} shards of one division, got '{self.shard}' and no "
                f"instance that sends to {self._in_words(nobodys)}"
            )

    def _in_words(self, people: Mapping[int, int]) -> str:
        return f"{sum(people.values()):,} recipients in {_names(sorted(people), self.shard.of)}"


def _is_mapped_over_keys(context: Context) -> bool:
    """
    Whether the task, or its group, is mapped over the campaign key, and not over shards alone.

    Then the DAG has no text for the key: `expand` is given it, or an argument of the group stands in its place.
    """
    dag = context.get("dag")
    written: object = None if dag is None else dag.task_dict.get(context["ti"].task_id)
    if written is None:
        return False
    arguments = getattr(written, "partial_kwargs", None)  # of a mapped operator; another one has them as attributes
    return not isinstance((vars(written) if arguments is None else arguments).get("campaign_key"), str)


def _other_instances(ti: RuntimeTaskInstanceProtocol) -> dict[str, str | None]:
    """Return the states of the task's other instances in this run; those that are no more in its list are left out."""
    prefix = f"{ti.task_id}_"
    found = ti.get_task_states(dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id])[ti.run_id]
    return {
        instance_hash(ti, int(name.removeprefix(prefix))): state
        for name, state in found.items()
        if name.startswith(prefix) and name != f"{prefix}{ti.map_index}" and state != "removed"
    }


def _names(numbers: Collection[int], of: int) -> str:
    named = [f"{number}/{of}" for number in [*numbers][:_NAMED]]
    return ", ".join(named) + (f" and {len(numbers) - _NAMED} more" if len(numbers) > _NAMED else "")
