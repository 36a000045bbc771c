"""The commands of the receiver of webhooks, from their declarations."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from docs_tools.markdown import table
from linq_webhooks.cli import group


def commands() -> str:
    """Return a section for each command: what it does, its arguments, its options."""
    context = click.Context(group, info_name="linq-webhooks", **group.context_settings)
    return "\n".join("\n".join(_section(one, context)) for one in group.commands.values())


def _section(one: click.Command, parent: click.Context) -> Iterator[str]:
    context = click.Context(one, info_name=one.name, parent=parent)
    yield f"## {one.name}\n"
    yield f"```text\n{' '.join([context.command_path, *one.collect_usage_pieces(context)])}\n```\n"
    yield f"{inspect.cleandoc(one.help or '')}\n"
    options = [_row(option) for option in one.params if isinstance(option, click.Option)]
    if options:
        yield f"{table(('option', 'default', 'means'), *options)}\n"


def _row(option: click.Option) -> tuple[str, str, str]:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    meaning = option.help or ""
    if isinstance(option.envvar, str):
        meaning += f" The environment variable `{option.envvar}` sets it, too."
    return names, _default(option), meaning


def _default(option: click.Option) -> str:
    value = option.to_info_dict()["default"]  # which is None for none in every version of click
    if option.is_flag and option.secondary_opts:
        return f"`{(option.opts if value else option.secondary_opts)[0]}`"
    if option.is_flag or option.multiple or value is None:
        return ""
    return f"`{value}`"
