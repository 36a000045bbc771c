"""The operator that deletes what Linq still holds of one person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_linq._internal.arguments import flag_argument, is_nothing
from airflow_provider_linq._internal.fail_fast import fail_fast
from airflow_provider_linq._internal.operator import LinqOperator
from airflow_provider_linq._internal.version_compat import AirflowFailException
from airflow_provider_linq.results import ErasureResult
from linq_client import InvalidRequestError
from linq_client.erasure import erase_person

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["LinqEraseOperator"]

#: Refusals that the result has: an account without the right to delete is refused for every message there is.
_MAX_NOT_DELETED: Final = 1_000


class LinqEraseOperator(LinqOperator):
    """
    Delete the messages and files of one person that Linq still holds, and report what could not be deleted.

    Of a direct chat every message goes, and of a group the person's own. It takes no message off anybody's phone. A
    retry, or a task that is cleared, deletes what is left: nothing has to be remembered for that. The task fails where
    the API refuses to delete something for good; the result is there all the same.

    The result is an :class:`~airflow_provider_linq.results.ErasureResult`, without text and with the handle masked.
    The rendered templates of the task, which Airflow keeps with the run, have it in full. What is held elsewhere, in
    the warehouse, the archive of webhooks and the files of campaigns, is not touched: see
    ``docs/how-to/erase-a-person.md``.

    :param handle: phone number in E.164 form, or e-mail address (templated)
    :param chat_ids: further chats to look into, such as groups that the person has left; only if they were in them
        (templated)
    :param dry_run: find and count, and delete nothing (templated)
    :param linq_conn_id: connection of type ``linq`` (templated)
    """

    template_fields: Sequence[str] = ("handle", "chat_ids", "is_dry_run", "linq_conn_id")

    def __init__(
        self,
        *,
        handle: str,
        chat_ids: Sequence[str] = (),
        dry_run: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.handle = handle
        self.chat_ids = chat_ids
        self.is_dry_run = dry_run  # `dry_run` is a method of every operator
        self.note_given()

    def execute(self, context: Context) -> ErasureResult:
        with fail_fast():
            self.check_given()
            is_dry_run = flag_argument(self.is_dry_run, "dry_run")
            # Letters alone can be a sender: what a template renders to where it has no value would be found nowhere.
            if isinstance(self.handle, str) and is_nothing(self.handle):
                raise InvalidRequestError(f"handle: must be that of a person, got {self.handle!r}")
            if isinstance(self.chat_ids, str):
                raise InvalidRequestError("chat_ids: must be a list of ids, got str")
            report = erase_person(self.hook.client, self.handle, chat_ids=self.chat_ids, dry_run=is_dry_run)
        fields = asdict(report)
        fields["files_of_yours"] = len(report.files_of_yours)
        fields["not_deleted"] = fields["not_deleted"][:_MAX_NOT_DELETED]
        result: ErasureResult = ErasureResult(**fields)  # type: ignore[typeddict-item]
        self.log.info(
            "%s of %s: %d of %d messages and %d of %d files deleted, in %d direct chats and %d groups; left: %d "
            "reactions and %d mentions in groups, %d files of yours",
            "Dry run" if is_dry_run else "Erasure",
            report.person,
            report.messages_deleted,
            report.messages,
            report.attachments_deleted,
            report.attachments,
            len(report.direct_chats),
            len(report.group_chats),
            report.reactions_left,
            report.mentions_left,
            len(report.files_of_yours),
        )
        if report.not_deleted:
            context["ti"].xcom_push("return_value", result)
            first = report.not_deleted[0]
            raise AirflowFailException(
                f"{len(report.not_deleted)} could not be deleted, first of them {first.kind} {first.id}: {first.reason}"
            )
        return result
