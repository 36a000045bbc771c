"""What the operators share: the connection, the arguments that they were given, and whether they were stopped."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from airflow.sdk import BaseOperator

from airflow_provider_linq._internal.arguments import GivenArguments
from airflow_provider_linq._internal.rendering import SafeRendering
from airflow_provider_linq._internal.uploads import FileRules
from airflow_provider_linq.hooks.linq import LinqHook


class LinqOperator(SafeRendering, BaseOperator):
    """
    Base of the operators, but for campaigns.

    A subclass calls :meth:`note_given` when it has set all of its arguments, and :meth:`check_given` when they are
    rendered.

    :param linq_conn_id: connection of type ``linq``.
    """

    author_only: ClassVar[Sequence[str]] = ("files_under",)

    def __init__(
        self,
        *,
        linq_conn_id: str = LinqHook.default_conn_name,
        multiple_outputs: bool = True,  # so that other tasks can take send.output["chat_id"]
        **kwargs: Any,
    ) -> None:
        super().__init__(multiple_outputs=multiple_outputs, **kwargs)
        self.linq_conn_id = linq_conn_id
        self._is_stopped = False

    @cached_property
    def hook(self) -> LinqHook:
        return LinqHook(self.linq_conn_id)

    def note_given(self) -> None:
        """Note which of the templated arguments the task was given."""
        self._given = GivenArguments(self, self.template_fields)

    def check_given(self) -> None:
        """
        Refuse an argument that was given and has rendered to None.

        :raises InvalidRequestError: there is one.
        """
        self._given.check(self)

    def file_rules(self, argument: str, written: FileRules) -> FileRules:
        """
        Return which files a templated argument may name, once it is rendered.

        :param argument: its name.
        :param written: what the operator was made with.
        """
        return written.as_data() if argument in self.data_arguments else written

    def on_kill(self) -> None:
        """Note that Airflow has stopped the task: what this try still comes to is not its end."""
        self._is_stopped = True
