"""A plain tap for the same API, as the SDK's cookiecutter starts it: chats, and messages as their child stream.

All settings of the SDK are left at their defaults. Nothing is made slower on purpose: pages are as long as the API
allows, and the connection is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import BearerTokenAuthenticator
from typing_extensions import override

PAGE_SIZE = 100

HANDLE = th.ObjectType(
    th.Property("id", th.StringType),
    th.Property("handle", th.StringType),
    th.Property("joined_at", th.DateTimeType),
    th.Property("left_at", th.DateTimeType),
    th.Property("service", th.StringType),
    th.Property("is_me", th.BooleanType),
    th.Property("status", th.StringType),
    th.Property("line_type", th.StringType),
)
HEALTH = th.ObjectType(
    th.Property("status", th.StringType),
    th.Property("doc_url", th.StringType),
    th.Property("updated_at", th.DateTimeType),
)
REACTION = th.ObjectType(
    th.Property("id", th.StringType),
    th.Property("is_me", th.BooleanType),
    th.Property("handle", HANDLE),
    th.Property("type", th.StringType),
    th.Property("custom_emoji", th.StringType),
)
PART = th.ObjectType(
    th.Property("type", th.StringType),
    th.Property("value", th.StringType),
    th.Property("id", th.StringType),
    th.Property("url", th.StringType),
    th.Property("filename", th.StringType),
    th.Property("mime_type", th.StringType),
    th.Property("size_bytes", th.IntegerType),
    th.Property("reactions", th.ArrayType(REACTION)),
)


class LinqStream(RESTStream[str]):
    """A list of the API, paged by cursor."""

    next_page_token_jsonpath = "$.next_cursor"
    primary_keys = ("id",)

    @property
    @override
    def url_base(self) -> str:
        return str(self.config["base_url"])

    @property
    @override
    def authenticator(self) -> BearerTokenAuthenticator:
        return BearerTokenAuthenticator(token=self.config["api_key"])

    @override
    def get_url_params(self, context: Mapping[str, Any] | None, next_page_token: str | None) -> dict[str, Any]:
        params: dict[str, Any] = {"limit": PAGE_SIZE}
        if next_page_token:
            params["cursor"] = next_page_token
        return params


class ChatsStream(LinqStream):
    """The chats of the account."""

    name = "chats"
    path = "/v3/chats"
    records_jsonpath = "$.chats[*]"
    replication_key = "updated_at"
    schema = th.PropertiesList(
        th.Property("id", th.StringType),
        th.Property("display_name", th.StringType),
        th.Property("service", th.StringType),
        th.Property("is_group", th.BooleanType),
        th.Property("is_archived", th.BooleanType),
        th.Property("group_chat_icon", th.StringType),
        th.Property("handles", th.ArrayType(HANDLE)),
        th.Property("health_status", HEALTH),
        th.Property("created_at", th.DateTimeType),
        th.Property("updated_at", th.DateTimeType),
    ).to_dict()

    @override
    def get_child_context(self, record: dict[str, Any], context: Mapping[str, Any] | None) -> dict[str, Any]:
        return {"chat_id": record["id"]}


class MessagesStream(LinqStream):
    """The messages of each chat."""

    name = "messages"
    path = "/v3/chats/{chat_id}/messages"
    records_jsonpath = "$.messages[*]"
    replication_key = "updated_at"
    parent_stream_type = ChatsStream
    schema = th.PropertiesList(
        th.Property("id", th.StringType),
        th.Property("chat_id", th.StringType),
        th.Property("parts", th.ArrayType(PART)),
        th.Property("from", th.StringType),
        th.Property("from_handle", HANDLE),
        th.Property("is_from_me", th.BooleanType),
        th.Property("delivery_status", th.StringType),
        th.Property("is_delivered", th.BooleanType),
        th.Property("is_read", th.BooleanType),
        th.Property("service", th.StringType),
        th.Property("preferred_service", th.StringType),
        th.Property("effect", th.ObjectType(th.Property("type", th.StringType), th.Property("name", th.StringType))),
        th.Property(
            "reply_to",
            th.ObjectType(th.Property("message_id", th.StringType), th.Property("part_index", th.IntegerType)),
        ),
        th.Property("created_at", th.DateTimeType),
        th.Property("updated_at", th.DateTimeType),
        th.Property("sent_at", th.DateTimeType),
        th.Property("delivered_at", th.DateTimeType),
        th.Property("read_at", th.DateTimeType),
        th.Property("reconciled_at", th.DateTimeType),
    ).to_dict()


class PlainTap(Tap):
    """Chats and messages."""

    name = "tap-plain"
    config_jsonschema = th.PropertiesList(
        th.Property("api_key", th.StringType, required=True, secret=True, description="API key."),
        th.Property("base_url", th.StringType, required=True, description="Root of the API."),
    ).to_dict()

    @override
    def discover_streams(self) -> list[LinqStream]:
        return [ChatsStream(self), MessagesStream(self)]


if __name__ == "__main__":
    PlainTap.cli()
