"""What strangers write is data: no template engine sees it, it names no file, and it stays the text that it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_linq._internal.version_compat import AirflowFailException
from airflow_provider_linq.operators.chats import LinqSendVoiceMemoOperator
from airflow_provider_linq.operators.messages import LinqSendMessageOperator
from tests.support.airflow import Run, context
from tests.support.emulator_process import Emulator

ANN = "+12125550110"

needs_dag_test = pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient` is deprecated")


def sent(emulator: Emulator) -> list[tuple[str, Any]]:
    return [(row["to"][0], row["parts"][0].get("value")) for row in emulator.ledger() if row["direction"] == "outbound"]


@needs_dag_test
@pytest.mark.parametrize("kind", ["plain", "native"])
@pytest.mark.parametrize(
    "text",
    [
        "{{ 7 * 7 }} {{ conn.linq_default.password }} {% raw %}",
        "[{'type': 'media', 'path': '/etc/hostname'}]",
    ],
)
def test_a_strangers_text_is_sent_as_it_is(
    emulator: Emulator, run_dag: Callable[..., Run], kind: str, text: str
) -> None:
    assert run_dag(f"foreign_text_{kind}", text=text).state == "success"
    messages = sent(emulator)
    assert len(messages) == 7
    assert [value for _, value in messages if value != text] == [f"{ANN} was written to"]


@needs_dag_test
def test_arguments_survive_native_rendering(emulator: Emulator, run_dag: Callable[..., Run]) -> None:
    run = run_dag("native_arguments")
    assert run.state == "success"
    assert sorted(sent(emulator)) == [
        ("+12125550110", "123456"),
        ("+12125550111", "{'parts': ['injected']}"),
        ("+12125550113", "'Hello'"),
        ("+12125550113", "23"),
    ]
    assert run.xcom("literal")["idempotency_key"] == "20260301"


@needs_dag_test
def test_what_other_tasks_bring_over_the_authors_arguments(emulator: Emulator, run_dag: Callable[..., Run]) -> None:
    text = "{{ 7 * 7 }} {{ conn.linq_default.password }}"
    run = run_dag("foreign_arguments", text=text)
    assert sorted(sent(emulator)) == [
        ("+12125550110", text),
        ("+12125550111", "Hi from foreign_arguments"),
        ("+12125550113", "123456"),  # rendered natively, as the task alone says
    ]
    assert run.states("folder") == ["failed"]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "public" / "menu.png"
    path.parent.mkdir()
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(60))
    return path


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(60))
    return path


def operator(message: Any, **arguments: Any) -> LinqSendMessageOperator:
    return LinqSendMessageOperator(task_id="t", to=ANN, message=message, **arguments)


def test_a_file_that_the_author_has_written(emulator: Emulator, connect: Any, image: Path) -> None:
    operator([{"type": "media", "path": str(image)}]).execute(context())
    assert emulator.ledger()[-1]["parts"][0]["type"] == "media"


def test_a_file_that_data_names(emulator: Emulator, connect: Any, image: Path, secret: Path) -> None:
    link = image.parent / "link.png"
    link.symlink_to(secret)
    folder = str(image.parent)
    for path in (str(secret), f"{folder}/../secret.png", str(link), folder, "s3://bucket/a.png", f"{folder}x/a.png"):
        for under in (None, folder, ["s3://other", folder]):
            task = operator("{{ message }}", files_under=under)
            task.message = [{"type": "media", "path": path}]
            with pytest.raises(AirflowFailException, match=r"message\.parts\[0\]\.path: must be written as it is"):
                task.execute(context())
    assert not emulator.ledger()
    task = operator("{{ message }}", files_under=folder)
    task.message = {"parts": [{"type": "media", "path": str(image)}]}
    task.execute(context())
    assert len(emulator.ledger()) == 1


@pytest.mark.parametrize("name", ["none.png", "", "a\0.png", "\ud800.png"])
def test_a_written_file_that_can_not_be_read(emulator: Emulator, connect: Any, tmp_path: Path, name: str) -> None:
    for path in (f"{tmp_path}/{name}", f"nowhere://{name}"):
        with pytest.raises(AirflowFailException, match="path: must be a file that can be read"):
            operator([{"type": "media", "path": path}]).execute(context())
    assert not emulator.ledger()


def test_a_rendered_path_needs_files_under(emulator: Emulator, connect: Any, image: Path) -> None:
    task = operator([{"type": "media", "path": "{{ folder }}/menu.png"}])
    task.message = [{"type": "media", "path": str(image)}]
    with pytest.raises(AirflowFailException, match="files_under"):
        task.execute(context())
    assert not emulator.ledger()


def test_a_path_of_a_voice_memo(emulator: Emulator, connect: Any, image: Path) -> None:
    task = LinqSendVoiceMemoOperator(task_id="t", chat_id="c", path="{{ params.path }}")
    task.path = str(image)
    with pytest.raises(AirflowFailException, match="path: must be written as it is in the DAG file"):
        task.execute(context())
    assert not [row for row in emulator.requests_served() if row["method"] == "POST"]
