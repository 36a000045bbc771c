"""What the template of a campaign's message may do: read plain data, make text of it, and end soon.

Who writes a campaign's message need not be the author of the DAG. So the template sees no module, class, connection or
variable, calls nothing but the methods that are listed here, and can't use up time or memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from datetime import date, time, timedelta
from decimal import Decimal
from functools import wraps
from types import ModuleType
from typing import Any, Final, cast

import jinja2
from airflow.sdk import DAG
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.filters import make_attrgetter
from jinja2.runtime import LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter
from jinja2.utils import Namespace

#: How many turns of loops, calls and expressions a rendering may take.
STEPS: Final = 10_000
#: How long a text or a list in the making may be, and how many bits a number has: twice what a message can hold.
SIZE: Final = 20_000
#: The widest that anything is padded to.
_WIDTH: Final = 1_000

#: The filters of Jinja that make something of their values alone, and whose results have a bounded size.
_FILTERS: Final = frozenset(
    """abs batch capitalize count d default dictsort first float format groupby int items join last length list lower
    map max min reject rejectattr replace reverse round select selectattr slice sort string sum title trim truncate
    unique upper urlencode wordcount wordwrap""".split()  # noqa: SIM905 - as a list, it would be a page
)
#: The keywords of Jinja that a DAG may set for its templates, and that change only how they are written.
_SYNTAX: Final = frozenset(
    """block_start_string block_end_string variable_start_string variable_end_string comment_start_string
    comment_end_string line_statement_prefix line_comment_prefix trim_blocks lstrip_blocks newline_sequence
    keep_trailing_newline""".split()  # noqa: SIM905
)
#: The methods that a template may call. Dates may be pendulum's, which has some more than Python's.
_METHODS: Final[Mapping[type, frozenset[str]]] = {
    str: frozenset(
        """capitalize casefold count endswith find index isalnum isalpha isdecimal isdigit islower isnumeric isspace
        istitle isupper join lower lstrip partition removeprefix removesuffix replace rfind rindex rpartition rsplit
        rstrip split splitlines startswith strip swapcase title upper zfill""".split()  # noqa: SIM905
    ),
    dict: frozenset(("get", "items", "keys", "values")),
    list: frozenset(("count", "index")),
    tuple: frozenset(("count", "index")),
    date: frozenset(
        """add date end_of format in_timezone isocalendar isoformat isoweekday start_of strftime subtract time
        timestamp weekday""".split()  # noqa: SIM905
    ),
    time: frozenset(("isoformat", "strftime")),
    timedelta: frozenset(("total_seconds", "total_days", "total_hours", "total_minutes")),
}

#: What Python shows as programmers write it.
_NO_TEXT: Final = (bytes, bytearray, memoryview, list, tuple, set, frozenset, range, Mapping, Iterator)
#: The filters that make text of one value.
_TEXT_FILTERS: Final = frozenset(("capitalize", "format", "lower", "replace", "string", "title", "trim", "upper"))

_WIDE: Final = re.compile(r"\d{4}|\*|\{[^{}]*\{")

_steps: ContextVar[list[int] | None] = ContextVar("linq_template_steps", default=None)


class MessageEnvironment(ImmutableSandboxedEnvironment):
    """
    The environment of a campaign's message.

    Of the DAG's it has the syntax, and the filters and functions that its author has added.
    """

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self, dag: DAG | None) -> None:
        given = (dag.jinja_environment_kwargs or {}) if dag is not None else {}
        super().__init__(
            undefined=jinja2.StrictUndefined,
            finalize=_finalized,
            cache_size=0,
            **{name: value for name, value in given.items() if name in _SYNTAX},
        )
        airflows = (dag or DAG("campaign")).get_template_env(force_sandboxed=True).filters
        own = (dag.user_defined_filters or {}) if dag is not None else {}
        self.filters = {
            name: made if name in own else _guarded(name, made)
            for name, made in airflows.items()
            if name in _FILTERS or name in own or name not in jinja2.filters.FILTERS
        }
        self.filters.update(_counted=_counted, _sized=_sized, _text_of=_text_of)
        macros = (dag.user_defined_macros or {}) if dag is not None else {}
        functions = {name: made for name, made in macros.items() if callable(made) and not isinstance(made, type)}
        data = {name: found for name, made in macros.items() if (found := plain(made)) is not None}
        self._functions = frozenset(map(id, functions.values()))
        self.globals = {"range": _range, "namespace": Namespace, **functions, **data}

    def template_of(self, tree: nodes.Template) -> jinja2.Template:
        """
        Compile what `parse` made, so that each turn of a loop counts.

        :raises jinja2.TemplateSyntaxError: it has what a message may not have.
        """
        for node in tree.find_all((nodes.For, nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
            if not isinstance(node, nodes.For) or node.recursive:
                what = "a recursive loop" if isinstance(node, nodes.For) else type(node).__name__.lower()
                raise jinja2.TemplateSyntaxError(f"the message of a campaign can't have {what}", node.lineno)
            node.iter = _filter("_counted", node.iter)
        _wrap_concatenations(tree)
        return self.from_string(tree)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if not super().is_safe_attribute(obj, attr, value) or isinstance(obj, ModuleType | type):
            return False
        if isinstance(obj, LoopContext | Namespace):
            return True
        if callable(value):
            return any(isinstance(obj, base) and attr in names for base, names in _METHODS.items())
        return not isinstance(value, ModuleType)

    def is_safe_callable(self, obj: Any) -> bool:
        if isinstance(obj, Macro) or obj is Namespace or obj is _range or id(obj) in self._functions:
            return True
        if getattr(obj, "__name__", None) in ("format", "format_map") and hasattr(obj, "is_guarded"):
            return True
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if isinstance(owner, LoopContext):
            return name in ("cycle", "changed")
        return any(isinstance(owner, base) and name in names for base, names in _METHODS.items())

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        _count(1)
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if isinstance(owner, str) and name == "join" and args:
            args = (_joinable(args[0], owner), *args[1:])
        if isinstance(owner, str | date | time):
            _check_arguments(name, (owner, *args), kwargs)
        return _sized(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        _count(1)
        if operator == "%" and isinstance(left, str):
            _check_format(left)
            if isinstance(right, tuple):
                right = tuple(map(_text_of, right))
            elif hasattr(right, "__getitem__") and not isinstance(right, str):
                right = _Texts(right)
            else:
                right = _text_of(right)
        elif operator == "**":
            _check_number(left)
            if abs(right) > _WIDTH or (isinstance(left, int) and left.bit_length() * abs(right) > SIZE):
                raise SecurityError("a power is too large")
        elif operator == "*":
            for one, other in ((left, right), (right, left)):
                if hasattr(one, "__len__") and isinstance(other, int) and len(one) * other > SIZE:
                    raise SecurityError("a repetition is too long")
            _check_number(left)
            _check_number(right)
        return _sized(super().call_binop(context, operator, left, right))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        made = super().wrap_str_format(value)
        if made is None:
            return None
        text, is_of_map = value.__self__, made.__name__ == "format_map"

        @wraps(made)
        def guarded(*args: Any, **kwargs: Any) -> str:
            _check_format(text)
            if is_of_map:
                (kwargs,), args = args, ()
            return _TextFormatter(self).vformat(text, args, kwargs)

        guarded.is_guarded = True  # type: ignore[attr-defined]
        return guarded


class _TextFormatter(SandboxedFormatter):
    """Looks at each value that it writes: what it only takes values from may be a row or a list."""

    def convert_field(self, value: Any, conversion: Any) -> Any:
        return super().convert_field(_text_of(value), conversion)


class _Texts:
    """What is to the right of ``%`` and has values by name: each of them can be written, and it itself can't."""

    def __init__(self, values: Any) -> None:
        self._values = values

    def __getitem__(self, name: Any) -> Any:
        return _text_of(self._values[name])

    def __str__(self) -> str:
        return str(_text_of(self._values))

    __repr__ = __str__


def rendered(template: jinja2.Template, names: Mapping[str, Any]) -> str:
    """
    Render within the bounds of a message.

    :raises SecurityError: the template does what it may not, or what it makes is too long.
    """
    token = _steps.set([0])
    try:
        pieces: list[str] = []
        length = 0
        for piece in template.generate(names):
            length += len(piece)
            if length > SIZE:
                raise SecurityError("it is longer than a message can be")
            pieces.append(piece)
        return "".join(pieces)
    finally:
        _steps.reset(token)


def plain(value: Any) -> Any:
    """Return a copy of what is data: text, numbers, truth values, dates, and lists and mappings of those; else None."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    is_data = value is None or isinstance(value, str | bool | int | float | Decimal | date | time | timedelta)
    return value if is_data else None


def _filter(name: str, value: nodes.Node) -> nodes.Filter:
    return nodes.Filter(cast(nodes.Expr, value), name, [], [], None, None, lineno=value.lineno)


def _wrap_concatenations(node: nodes.Node) -> None:
    """Let `_sized` see what each ``~`` makes, and `_text_of` what of."""
    if isinstance(node, nodes.Concat):
        node.nodes = [_filter("_text_of", one) for one in node.nodes]
    for name, value in node.iter_fields():
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, nodes.Node):
                _wrap_concatenations(child)
        if isinstance(value, list):
            value[:] = [_filter("_sized", one) if isinstance(one, nodes.Concat) else one for one in value]
        elif isinstance(value, nodes.Concat):
            setattr(node, name, _filter("_sized", value))


def _count(number: int) -> None:
    steps = _steps.get()
    if steps is not None:  # Jinja evaluates constants when it compiles
        steps[0] += number
        if steps[0] > STEPS:
            raise SecurityError(f"it takes more than {STEPS:,} steps")


def _counted(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        _count(1)
        yield value


def _range(*args: int) -> range:
    found = range(*args)
    if len(found) > STEPS:
        raise SecurityError(f"a range has more than {STEPS:,} numbers")
    return found


def _finalized(value: Any) -> Any:
    """Count what is written into a message."""
    text = str(_text_of(value))
    _count(1 + len(text) // 100)
    return value


def _text_of(value: Any) -> Any:
    """Refuse what must not be written into a message: None, as for a gap deep in a value of the row, and objects."""
    if value is None:
        raise jinja2.UndefinedError("an expression is None")
    _refuse_objects(value)
    return _sized(value)


def _refuse_objects(value: Any) -> None:
    """
    Refuse what Python has words for, but people have not: ``<built-in method upper of str object at 0x7f…>``.

    A method without its parentheses, a list or a filter without ``| join``, a column of bytes, or the row itself would
    go out to everybody in that form.
    """
    if isinstance(value, str | jinja2.Undefined):
        return
    kind: Any = type(value)
    is_nameless = kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__
    if callable(value) or is_nameless or isinstance(value, _NO_TEXT):
        raise jinja2.UndefinedError(
            f"an expression is no text but a {kind.__name__}: a method needs its (), and a list | join(', ')"
        )


def _sized(value: Any) -> Any:
    if isinstance(value, str | list | tuple) and len(value) > SIZE:
        raise SecurityError("a value in the making is too long")
    _check_number(value)
    return value


def _check_number(value: Any) -> None:
    if isinstance(value, int) and value.bit_length() > SIZE:
        raise SecurityError("a number has too many digits")
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) > _WIDTH:
        raise SecurityError("a number has too many digits")


def _check_format(text: str) -> None:
    if len(text) > SIZE or _WIDE.search(text):
        raise SecurityError("a format has too wide a field")


def _check_arguments(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Refuse a call whose result would be too large, before it is made."""
    for value in (*args, *kwargs.values()):
        _sized(value)
    text, *rest = args
    if name in ("strftime", "format") and isinstance(text, date | time):
        _check_format(str(next(iter((*rest, *kwargs.values())), "")))
    elif name == "format":
        _check_format(str(text))
    elif name in ("batch", "round", "slice", "truncate", "wordwrap", "zfill"):
        if any(isinstance(one, int) and abs(one) > _WIDTH for one in (*rest, *kwargs.values())):
            raise SecurityError(f"{name} takes no number above {_WIDTH:,}")
    elif name == "replace" and len(rest) > 1 and _replaced_size(str(text), str(rest[0]), str(rest[1])) > SIZE:
        raise SecurityError("a replacement is too long")


def _replaced_size(text: str, old: str, new: str) -> int:
    return len(text) + text.count(old) * len(new)


def _guarded(name: str, made: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that looks at its arguments and its result."""
    is_given_more = hasattr(made, "jinja_pass_arg")

    @wraps(made)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        _count(1)
        own, values = (args[:1], args[1:]) if is_given_more else ((), args)
        if name == "join":
            values, kwargs = _parts(own[0].environment, *values, **kwargs), {}
        if name in _TEXT_FILTERS:
            for one in (*values, *kwargs.values()):
                _text_of(one)
        _check_arguments(name, values, kwargs)
        return _sized(made(*own, *values, **kwargs))

    return guarded


def _parts(
    environment: jinja2.Environment, values: Iterable[Any], d: str = "", attribute: str | int | None = None
) -> tuple[list[Any], str]:
    """Return what the filter `join` joins, of its arguments, and what it puts in between."""
    items = values if attribute is None else map(make_attrgetter(environment, attribute), values)
    return _joinable(items, str(d)), d


def _joinable(values: Iterable[Any], separator: str) -> list[Any]:
    """Return what is to be joined, if that is not too long."""
    found, length = [], 0
    for value in values:
        _text_of(value)
        length += len(separator) + (len(value) if isinstance(value, str) else 1)
        if length > SIZE:
            raise SecurityError("a value in the making is too long")
        found.append(value)
    return found
