"""What strangers write is data: no template engine sees it, it names no file, and it stays the text that it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.definitions._internal.templater import Templater
from airflow.sdk.definitions.mappedoperator import MappedOperator

from airflow_provider_linq._internal.rendering import _in_plain_form, arguments_from_data
from airflow_provider_linq._internal.uploads import FileRules
from airflow_provider_linq.notifications.linq import LinqNotifier
from airflow_provider_linq.operators.messages import LinqSendMessageOperator
from linq_client import InvalidRequestError, Message, Text, message_from
from tests.support.airflow import load_dag

ANN = "+12125550110"


def test_which_arguments_other_tasks_have_brought() -> None:
    dag = load_dag("foreign_text_plain")
    found = {}
    for task_id in ("by_kwargs", "by_expand", "written", "by_xcom"):
        mapped = dag.get_task(task_id)
        task = mapped.unmap({"to": ANN, "message": "Hi"}) if isinstance(mapped, MappedOperator) else mapped
        found[task_id] = arguments_from_data(task)
    assert found["by_expand"] == {"message"}
    assert found["written"] == found["by_xcom"] == frozenset()
    assert {"to", "message"} <= found["by_kwargs"]


def test_what_rendering_relies_on_in_airflow() -> None:
    assert {"_do_render_template_fields", "_render", "render_template"} <= vars(Templater).keys()
    fields = {field.name for field in MappedOperator.__attrs_attrs__}  # type: ignore[attr-defined]
    assert {"expand_input", "partial_kwargs", "operator_class"} <= fields


def operator(message: Any, **arguments: Any) -> LinqSendMessageOperator:
    return LinqSendMessageOperator(task_id="t", to=ANN, message=message, **arguments)


@pytest.mark.parametrize(
    "message",
    [
        Message(parts=("Hi {{ name }}",)),
        [Text(value="Hi {{ name }}")],
        (Text(value="Hi {{ name }}"),),
        {"parts": [Text(value="Hi {{ name }}")]},
    ],
)
def test_what_is_built_already_is_a_template_too(message: Any) -> None:
    """A model is no text for Airflow: a person would get the template."""
    for made in (operator(message), LinqNotifier(to=ANN, message=message)):
        made.render_template_fields({"name": "{{ 7 }}"})
        assert message_from(made.message) == Message(parts=("Hi {{ 7 }}",))


def test_what_is_not_built_stays_the_object_that_it_is() -> None:
    for message in (["Hi"], {"parts": ["Hi"]}, "Hi"):
        assert _in_plain_form(message) is message


@pytest.mark.parametrize("path", ["~/.ssh/id", "~root/.bashrc", " ~root/.bashrc", "a.png::file:///etc/passwd"])
def test_a_path_that_only_the_file_system_understands(tmp_path: Path, monkeypatch: Any, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    rules = FileRules.of(None, str(tmp_path))
    rules.check("a.png", "path")
    with pytest.raises(InvalidRequestError, match="lie in"):
        rules.check(path, "path")


@pytest.mark.parametrize("path", ["\0", "a\0.png", "\ud800.png", "x://menus/a.png", "C:\\menus\\a.png", "", "."])
def test_a_path_that_is_none(tmp_path: Path, path: str) -> None:
    for folder in (str(tmp_path), "s3://shop@bucket/menus"):
        with pytest.raises(InvalidRequestError, match="lie in"):
            FileRules.of(None, folder).check(f"{tmp_path}/{path}" if len(path) < 8 else path, "path")


@pytest.mark.parametrize(
    "folder", ["", "/", "{{ params.folder }}", 5, "~", "~root/x", "file:///", "/srv/..", "s3://", " "]
)
def test_folders_are_written_as_they_are(folder: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="files_under|iterable"):
        operator("Hi", files_under=[folder] if folder == "" else folder)


def test_files_in_an_object_store() -> None:
    rules = FileRules.of(None, "s3://shop@bucket/menus")
    rules.check("s3://shop@bucket/menus/today/a.png", "path")
    for path in (
        "s3://shop@bucket/menus",
        "s3://shop@bucket/menus/../keys/a.png",
        "s3://shop@bucket/menus/%2e%2e/keys/a.png",
        "s3://shop@bucket/menus/%2E./keys/a.png",
        "s3://shop@bucket/menus/..%2fkeys/a.png",
        "s3://shop@bucket/menus/..\\keys\\a.png",
        "s3://shop@bucket/menus/a.png::file:///etc/passwd",
        "s3://other@bucket/menus/a.png",
        "s3://bucket/menus/a.png",
        "gs://shop@bucket/menus/a.png",
        "s3://shop@bucket/menusx/a.png",
        "/menus/a.png",
    ):
        with pytest.raises(InvalidRequestError, match="files_under|lie in"):
            rules.check(path, "path")
