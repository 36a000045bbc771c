"""The Python of the how-to guides that needs no Airflow, run against the emulator; the README as it is published."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from linq_client import LinqClient
from linq_emulator.testing import EmulatorProcess
from tap_linq.extraction.masking import Masking

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PERSON, ANOTHER = "+12025550123", "+12025550124"


@pytest.fixture
def client(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> LinqClient:
    """A client that finds the emulator as the examples do."""
    monkeypatch.setenv("LINQ_BASE_URL", emulator.base_url)
    monkeypatch.setenv("LINQ_API_KEY", emulator.api_key)
    return LinqClient()


def run(page: str) -> dict[str, Any]:
    """Run the only example of a page, and return what it defines."""
    (code,) = re.findall(r"^( *)```python\n(.*?)^\1```$", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {"__name__": "example"}
    exec("\n".join(line.removeprefix(code[0]) for line in code[1].splitlines()), names)
    return names


def test_what_unknown_recipients_got(
    client: LinqClient, emulator: EmulatorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    line = emulator.lines[0]
    sent = client.chats.create(line, PERSON, "Soup?")
    client.chats.create(line, ANOTHER, "Soup?")
    rows = [f"1,{PERSON},unknown,no_answer,{line}", f"2,{ANOTHER},sent,,{line}", "3,+12025550125,unknown,no_answer,"]
    (tmp_path / "outcomes.csv").write_text("\n".join(["row,to,status,reason,line", *rows]))
    monkeypatch.chdir(tmp_path)
    run("how-to/recover-unknown.md")
    first, found, last = capsys.readouterr().out.splitlines()
    assert (first, last) == ("row 1, no_answer:", "row 3, no_answer:")
    assert sent.message.id in found


def test_a_person_is_erased_at_linq(client: LinqClient) -> None:
    line = client.phone_numbers.list()[0].phone_number
    alone = client.chats.create(line, PERSON, "To you")
    group = client.chats.create(line, [PERSON, ANOTHER], "To both")
    run("how-to/erase-a-person.md")
    assert list(client.messages.list(alone.id)) == []
    assert len(list(client.messages.list(group.id))) == 1


def test_what_was_masked_is_found_and_read(monkeypatch: pytest.MonkeyPatch) -> None:
    key = "0123456789abcdef0123456789abcdef"
    monkeypatch.setenv("TAP_LINQ_MASK_KEY", key)
    masking = Masking(key, handles=True, text="encrypt", own_lines=lambda: ())
    (row,) = masking.mask([{"handle": "Ann@example.com", "text": "Soup?"}])
    names = run("how-to/mask-people.md")
    assert names["digest"]("ann@example.com") == row["handle"]
    assert names["read"](row["text"]) == "Soup?"


def test_the_readme_on_a_package_index() -> None:
    """No link is relative there, and one line of pyproject.toml says where the files are."""
    command = [sys.executable, "-m", "hatchling", "metadata"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    links = re.findall(r"\]\(([^)\s]+)\)", metadata["readme"]["text"])
    assert len(links) > 15
    assert [link for link in links if not link.startswith("https://")] == []
    address = metadata["urls"]["Repository"]
    assert f"{address}/blob/main/docs/tutorial/index.md" in links
    assert (ROOT / "pyproject.toml").read_text().count(address) == 1
