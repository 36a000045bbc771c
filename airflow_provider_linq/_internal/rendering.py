"""Templates are what the DAG's author wrote. What tasks, people and files bring is data: it is never rendered."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from operator import is_
from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow.sdk import BaseOperator, XComArg
from airflow.sdk.definitions._internal.expandinput import MappedArgument
from airflow.sdk.definitions._internal.mixins import ResolveMixin
from airflow.sdk.definitions.mappedoperator import MappedOperator
from jinja2.nativetypes import NativeEnvironment
from pydantic import BaseModel

from airflow_provider_linq._internal.version_compat import AirflowFailException

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

    Templater = Any
else:
    Templater = object

__all__ = ["ResolveMixin", "SafeRendering", "arguments_from_data", "is_template", "resolved"]

#: What begins something in a Jinja template with Airflow's delimiters.
_TEMPLATE_MARKS = ("{{", "{%", "{#")


#: Fields that can't bear the name of their argument: `dry_run` is a method of every operator.
_ARGUMENTS: Final = {"is_dry_run": "dry_run"}


def is_template(text: str) -> bool:
    """Whether Jinja finds anything in a string that it does not copy as it is."""
    return any(mark in text for mark in _TEMPLATE_MARKS)


class SafeRendering(Templater):  # type: ignore[misc]
    """
    How the templated arguments of operators, sensors and notifiers are rendered; put it before Airflow's base class.

    - An argument of a mapped task that another task has brought is not rendered. Airflow itself renders what comes by
      ``expand_kwargs`` (apache/airflow#38745), so that a template in a person's message would be run with all that
      templates can see, connections included.
    - An argument that says what data may do, such as ``files_under``, can't be data itself.
    - What a string makes stays text with ``render_template_as_native_obj``, of the DAG or of the task: ``+12025550150``
      is no number, and a text that looks like a list is no list. One expression alone may also be a list, a mapping or
      None.
    """

    #: Arguments without templates that only the DAG's author may give.
    author_only: ClassVar[Sequence[str]] = ()

    @cached_property
    def data_arguments(self) -> frozenset[str]:
        """The names of the arguments that other tasks have brought, as found before the templates are rendered."""
        return arguments_from_data(self)

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        if parent is self:
            data = self.data_arguments
            if taken := sorted(data.intersection(self.author_only)):
                raise AirflowFailException(f"{taken[0]}: must be written in the DAG file, got it from another task")
            template_fields = [name for name in template_fields if name not in data]
            for name in template_fields:
                setattr(self, name, _in_plain_form(getattr(self, name)))
            if getattr(self, "render_template_as_native_obj", None) is not None:
                jinja_env = self.get_template_env()  # of the task; Airflow hands over that of the DAG
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)

    def _render(self, template: jinja2.Template, context: Mapping[str, Any], *more: Any, **options: Any) -> Any:
        if not isinstance(template.environment, NativeEnvironment):
            return super()._render(template, context, *more, **options)
        # Airflow's context is a mapping that makes its values when they are asked for: it must not become a dict.
        names: Any = ChainMap(context, template.globals)  # type: ignore[arg-type]
        made = list(template.root_render_func(template.new_context(names, shared=True)))
        if len(made) == 1 and (made[0] is None or isinstance(made[0], list | tuple | Mapping)):
            return made[0]
        return "".join(map(str, made))


def _in_plain_form(value: Any) -> Any:
    """Return a message or a part that is built already as what it is made of, which Airflow renders; else the value."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, list | tuple):
        items: Any = [_in_plain_form(item) for item in value]
    elif isinstance(value, dict):
        items = {name: _in_plain_form(item) for name, item in value.items()}
    else:
        return value
    # What has none of them stays the object that it is: Airflow knows by it what it must not render.
    found, given = (items.values(), value.values()) if isinstance(value, dict) else (items, value)
    return value if all(map(is_, found, given)) else items


def resolved(value: Any, context: Context) -> Any:
    """Put the values of XComs in their places, at any depth of a list, and leave all text as it is."""
    if isinstance(value, list | tuple):
        return [resolved(item, context) for item in value]
    if isinstance(value, dict):
        return {name: resolved(item, context) for name, item in value.items()}
    return value.resolve(context) if isinstance(value, ResolveMixin) else value


def arguments_from_data(task: object) -> frozenset[str]:
    """
    Return the names of those arguments of a mapped task whose values come from other tasks.

    :param task: a task as it runs, not rendered yet; of one that is not mapped, none.
    """
    if not isinstance(task, BaseOperator) or (dag := task.get_dag()) is None:
        return frozenset()
    mapped = dag.task_dict.get(task.task_id)
    if not isinstance(mapped, MappedOperator):
        return frozenset()
    given = mapped.expand_input.value
    if isinstance(given, Mapping):  # of expand(): a list for each argument
        return frozenset(name for name, values in given.items() if isinstance(values, XComArg | MappedArgument))
    if not isinstance(given, XComArg) and not any(isinstance(one, XComArg) for one in given):
        return frozenset()
    # Of expand_kwargs(), whose mappings may replace arguments of partial() with strict=False. A campaign renders its
    # message itself.
    names = {"message", *mapped.operator_class.template_fields, *getattr(mapped.operator_class, "author_only", ())}
    written = mapped.partial_kwargs
    return frozenset(
        name
        for name in names
        if (value := getattr(task, name, None)) is not None and written.get(_ARGUMENTS.get(name, name)) is not value
    )
