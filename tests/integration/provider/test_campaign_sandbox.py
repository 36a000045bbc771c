"""What the template of a campaign's message can't do: reach what is not data, or use up time and memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_linq._internal.version_compat import AirflowFailException
from tests.support.airflow import Store
from tests.support.campaigns import campaign, context, people
from tests.support.emulator_process import Emulator


@pytest.mark.usefixtures("connect")
class TestFiles:
    """Which files of the worker a row may name."""

    def test_a_file_that_a_row_names_has_to_lie_in_a_folder_that_is_allowed(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        allowed, secret = tmp_path / "menus", tmp_path / "secret.png"
        allowed.mkdir()
        for file in (allowed / "a.png", secret):
            file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 100)
        (allowed / "link.png").symlink_to(secret)
        bad = (secret, allowed / "link.png", allowed / ".." / "secret.png", "/etc/hostname")
        files = [allowed / "a.png", *bad]
        rows = [{**row, "file": str(file)} for row, file in zip(people(5), files, strict=True)]
        message = ["Hello", {"type": "media", "path": "{{ row.file }}"}]
        task = campaign(rows=rows, message=message, files_under=str(allowed), on_invalid="skip")
        result = task.execute(context(Store()))
        assert (result["sent"], result["skipped"]["invalid"]) == (1, 4)
        with pytest.raises(
            AirflowFailException, match=r"message.parts\[1\].path: must be written as it is in the DAG file"
        ):
            campaign(rows=rows, message=message).execute(context(Store(), task_id="other"))
