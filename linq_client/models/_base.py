"""What all models share: how leniently they are read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from linq_client.times import to_utc

_T = TypeVar("_T")

UTCDatetime: TypeAlias = Annotated[datetime, AfterValidator(to_utc)]


def or_default(default: Callable[[], Any]) -> WrapValidator:
    """Let a default stand for a value that does not fit."""

    def read(value: Any, fits: ValidatorFunctionWrapHandler) -> Any:
        try:
            return fits(value)
        except ValidationError:
            return default()

    return WrapValidator(read)


def _or_server_time(value: Any, fits: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    """Let the server's time, where it is known, stand for one that can't be read: that is when a send was accepted."""
    try:
        return fits(value)
    except ValidationError:
        if isinstance(info.context, datetime):
            return info.context
        raise


#: A value that only informs: one that does not fit is None.
Informative: TypeAlias = Annotated[_T | None, or_default(lambda: None)]
InformativeList: TypeAlias = Annotated[list[_T], or_default(list)]
AcceptedAt: TypeAlias = Annotated[UTCDatetime, WrapValidator(_or_server_time)]


class APIModel(BaseModel):
    """Base of all models: unknown fields are kept, none can be changed."""

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        """Let a null stand for the default where that is something else, an empty list for example."""
        if not isinstance(value, dict):
            return value
        nulls = {
            name
            for name, field in cls.model_fields.items()
            if name in value
            and value[name] is None
            and field.get_default(call_default_factory=True) is not None
            and not field.is_required()
        }
        return {name: item for name, item in value.items() if name not in nulls} if nulls else value
