"""What the sensors share: how they wait, on the worker or in the triggerer, and what the end of a wait means."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_provider_linq._internal.arguments import GivenArguments, as_timedelta, check_flag
from airflow_provider_linq._internal.fail_fast import fail_fast
from airflow_provider_linq._internal.rendering import SafeRendering
from airflow_provider_linq._internal.version_compat import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferralTimeout,
    conf,
)
from airflow_provider_linq.hooks.linq import LinqHook
from airflow_provider_linq.links.linq import TASK_LINKS, show_links
from airflow_provider_linq.triggers.linq import MAX_CONSECUTIVE_FAILURES
from linq_client.times import format_datetime

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger

#: What says that the time is over, and nothing else.
_TIME_IS_OVER: Final = (AirflowSensorTimeout, AirflowTaskTimeout)


class LinqSensor(SafeRendering, BaseSensorOperator, ABC):
    """
    Base of the sensors: poke once, then defer if deferrable.

    With ``soft_fail`` a wait that is over without a result is skipped, and nothing else is: an error is no answer.
    With ``never_fail`` everything is skipped that is no result. Both are the same on the worker and in the triggerer.
    """

    operator_extra_links = TASK_LINKS

    def __init__(
        self,
        *,
        linq_conn_id: str = LinqHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        multiple_outputs: bool = True,  # so that other tasks can take wait.output["text"]
        **kwargs: Any,
    ) -> None:
        super().__init__(multiple_outputs=multiple_outputs, **kwargs)
        check_flag("deferrable", deferrable)
        for name in ("timeout", "poke_interval"):
            as_timedelta(getattr(self, name), name)
        self.linq_conn_id = linq_conn_id
        self.deferrable = deferrable
        self._given = GivenArguments(self, ())
        #: Whether a deferral has ended, and no trigger looks after this task does.
        self._is_resumed = False
        self._polls = 0
        self._began = time.monotonic()

    @cached_property
    def hook(self) -> LinqHook:
        return LinqHook(self.linq_conn_id)

    @abstractmethod
    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once."""

    @abstractmethod
    def trigger(self, context: Context) -> BaseTrigger:
        """Return what waits after the first poke."""

    @abstractmethod
    def waiting_for(self, context: Context) -> str:
        """Say what is waited for, for the log."""

    def execute(self, context: Context) -> Any:
        with self._only_time_skips():
            with fail_fast():
                self._given.check(self)
            show_links(self, context)
            self._began = time.monotonic()
            if not self.deferrable:
                return super().execute(context)
            found = self._poke_once(context)
            if found:
                return found.xcom_value
            return self.defer(
                trigger=self.trigger(context), method_name="execute_complete", timeout=timedelta(seconds=self.timeout)
            )

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        self._is_resumed = True
        with self._only_time_skips():
            try:
                return super().resume_execution(next_method, next_kwargs, context)
            except Exception as error:
                if not _came_of(error, TaskDeferralTimeout):
                    raise
                # No trigger ran until its deadline, so nobody has looked at the end.
                found = self._poke_once(context)
                if not found:
                    raise
                return found.xcom_value

    def _poke_once(self, context: Context) -> PokeReturnValue:
        try:
            return self.poke(context)
        except (AirflowFailException, AirflowSkipException):
            raise
        except Exception:
            if not self.silent_fail:
                raise
            self.log.exception("Sensor poke failed")
            return PokeReturnValue(False)

    @contextmanager
    def _only_time_skips(self) -> Iterator[None]:
        """
        Let ``soft_fail`` skip where the time is over, and ``never_fail`` wherever there is no result.

        Airflow's ``soft_fail`` also skips on a wrong key or a chat that does not exist, and not on the same errors on
        the worker as after a deferral; before 3.1.8 it fails a task whose time was over while it was deferred.
        """
        try:
            yield
            return
        except AirflowRescheduleException:
            raise
        except AirflowSkipException as skip:
            error: BaseException = skip if skip.__cause__ is None else skip.__cause__
            is_skipped = self.never_fail or error is skip or isinstance(error, _TIME_IS_OVER)
        except Exception as failed:
            error, is_skipped = failed, self.never_fail or (self.soft_fail and isinstance(failed, _TIME_IS_OVER))
        if not is_skipped:
            raise error
        reason = "soft_fail" if self.soft_fail else "never_fail"
        self.log.info("Skipped, since %s is set: %s", reason, error)
        raise AirflowSkipException(f"Skipped, since {reason} is set: {error}") from error

    def note_poke(self, context: Context) -> None:
        """Count a poke; before the first one, say what is waited for."""
        if self._polls == 0:
            over = datetime.now(timezone.utc) + timedelta(seconds=self.timeout)
            until = f"until {format_datetime(over.replace(microsecond=0))} at the latest"
            self.log.info("Waiting for %s, every %g s, %s", self.waiting_for(context), self.poke_interval, until)
        self._polls += 1

    def log_found(self, what: str, event: Mapping[str, Any] | None = None) -> None:
        """Say what was found, and after how long: by this process or, as its event says, by a trigger."""
        waited = time.monotonic() - self._began if event is None else event.get("waited", 0.0)
        polls = self._polls if event is None else event.get("polls", 0)
        self.log.info("%s; found after %.0f s and %d polls", what, waited, polls)

    def waiting_arguments(self) -> dict[str, Any]:
        """Return the arguments of a trigger that say how to wait."""
        now = datetime.now(timezone.utc)
        return {
            "linq_conn_id": self.linq_conn_id,
            "poll_interval": self.poke_interval,
            "started": format_datetime(now),
            "deadline": format_datetime(now + timedelta(seconds=self.timeout)),
            "max_consecutive_failures": None if self.silent_fail else MAX_CONSECUTIVE_FAILURES,
        }


def _came_of(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None and not isinstance(error, kind):
        error = error.__cause__
    return error is not None
