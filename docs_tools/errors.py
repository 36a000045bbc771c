"""Error codes and exceptions, from `linq_client.errors` and the verdict on a response."""

from __future__ import annotations

import ast
import inspect
import re
from itertools import pairwise
from pathlib import Path

from docs_tools.markdown import table
from linq_client import errors
from linq_client._verdict import error_from_response
from linq_client.errors import ErrorCode, LinqError, RequestKind


def codes() -> str:
    """Return every code: what it means, which exception it is, whether a retry helps, and what else does.

    Raises:
        ValueError: the docstring of a code does not begin with a status.
    """
    notes = _notes()
    lines = [("code", "name", "status", "means", "exception", "the same request again", "what to do")]
    for code in ErrorCode:
        status, _, note = notes[code.name].rstrip(".").partition("; ")
        if not re.match(r"\d(\d\d|xx)", status):
            raise ValueError(f"the docstring of ErrorCode.{code.name} has to begin with the HTTP status: {status}")
        meaning = f"{code.meaning}; {note}" if note else code.meaning
        lines.append((str(int(code)), f"`{code.name}`", status, meaning, *_verdict(code, status), code.remedy))
    return table(*lines)


def classes() -> str:
    """Return every exception with what it means and what to do, below its base."""
    lines = [("exception", "is a", "means, and what to do")]
    for name in errors.__all__:
        found = getattr(errors, name)
        if issubclass(found, LinqError) and found is not LinqError:
            meaning = " ".join((inspect.getdoc(found) or "").split())
            lines.append((f"`{name}`", f"`{found.__bases__[0].__name__}`", meaning))
    return table(*lines)


def _verdict(code: ErrorCode, status: str) -> tuple[str, str]:
    number = re.match(r"\d{3}", status)
    if not number:
        return "by its status", "by its status"
    body = {"success": False, "error": {"code": int(code), "message": "", "status": int(number[0])}}
    error = error_from_response(int(number[0]), body, {}, request="", kind=RequestKind.CHANGE)
    again = "may work" if error.retryable else "fails again" if error.permanent else "may work later"
    return f"`{type(error).__name__}`", again


def _notes() -> dict[str, str]:
    """The docstrings of the members, which exist in the source alone."""
    tree = ast.parse(Path(errors.__file__).read_text(encoding="utf-8"))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "ErrorCode")
    notes = {}
    for member, note in pairwise(body):
        if isinstance(member, ast.Assign) and isinstance(note, ast.Expr) and isinstance(note.value, ast.Constant):
            notes[ast.unparse(member.targets[0])] = str(note.value.value)
    return notes
