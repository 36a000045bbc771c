"""Masking over a whole run: nothing that the tap writes or keeps holds a person's handle or words, and joins hold."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from linq_client import LinqClient
from tests.support.archiving_receiver import Receiver
from tests.support.emulator_process import Emulator
from tests.support.running import FIRST_LINE, Output, chat_ids, cli, config_for, inbound, set_window, succeed

KEY = "0123456789abcdef0123456789abcdef"
ANN, BOB = "+12125550123", "bob.secret@example.com"
MASKED = {"mask_handles": True, "mask_text": "drop", "mask_key": KEY}
#: Digests of them without the key, as STATE has them where nothing is masked.
UNKEYED = [
    hashlib.blake2b(said.encode(), digest_size=8).hexdigest() for said in (ANN, BOB, f"{ANN} love", f"{BOB} privat")
]
FORBIDDEN = (ANN, ANN[1:], quote(ANN), BOB, BOB.upper(), quote(BOB), "Geheim", "privat", *UNKEYED)


def digest(handle: str) -> str:
    return hmac.new(KEY.encode(), handle.encode(), hashlib.sha256).hexdigest()


@pytest.fixture
def receiver(emulator: Emulator, tmp_path: Path) -> Iterator[Receiver]:
    set_window(emulator, 24)
    with Receiver(emulator, f"sqlite:///{tmp_path}/archive.db") as started:
        started.subscribe()
        yield started


@pytest.fixture
def told(emulator: Emulator, receiver: Receiver) -> None:
    """Everything that people can put anywhere: texts, files, names, mentions, reactions, an edit, an opt-out."""
    inbound(emulator, "Geheim!", **{"from": ANN})
    inbound(emulator, **{"from": ANN, "parts": [{"type": "media", "url": "https://example.com/Geheim.png"}]})
    inbound(emulator, "STOP", **{"from": BOB})
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        group = client.chats.create(FIRST_LINE, [ANN, BOB], "Geheim").id
        client.chats.update(group, display_name=f"Geheim {ANN}")
        part = {"type": "text", "value": "Geheim?", "mention": ANN}
        sent = client.request("POST", f"/v3/chats/{group}/messages", json={"message": {"parts": [part]}})
        message = sent.body["message"]["id"]
    emulator.control(
        "POST", "reactions", {"message_id": message, "from": BOB, "type": "custom", "custom_emoji": "privat"}
    )
    edited = inbound(emulator, "Geheim, before", **{"from": ANN})
    emulator.control("POST", "edits", {"message_id": edited, "text": "Geheim, after"})
    emulator.advance(60)
    receiver.settle()


def run(emulator: Emulator, receiver: Receiver, tmp_path: Path, state: Any = None, **more: Any) -> Output:
    paths = {"webhook_archive": receiver.url, "seen_path": str(tmp_path / "seen")}
    return succeed(emulator, state=state, **{**paths, **MASKED, **more})


@pytest.mark.usefixtures("told")
def test_nothing_that_a_run_writes_holds_a_handle_or_a_text(
    emulator: Emulator, receiver: Receiver, tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    settings = {"webhook_archive": receiver.url, "seen_path": str(tmp_path / "seen"), "mask_handles": True}
    config.write_text(json.dumps(config_for(emulator, **settings, mask_text="drop")))
    done = cli("--config", config, "--config", "ENV", TAP_LINQ_MASK_KEY=KEY)
    assert done.returncode == 0, done.stderr
    streams = {json.loads(line).get("stream") for line in done.stdout.splitlines()}
    assert {"messages", "reactions", "attachments", "webhook_events", "message_events", "opt_outs"} <= streams
    kept = b"".join(path.read_bytes() for path in (tmp_path / "seen").rglob("*") if path.is_file())
    for written in (done.stdout, done.stderr, kept.decode("latin-1")):
        assert not [word for word in FORBIDDEN if word.lower() in written.lower()]
        assert KEY not in written
    assert done.stderr.count("masked: handles (keyed digests), texts (left out)") == 1


@pytest.mark.usefixtures("told")
def test_the_same_person_has_the_same_digest_in_every_stream(
    emulator: Emulator, receiver: Receiver, tmp_path: Path
) -> None:
    output = run(emulator, receiver, tmp_path)
    ann = digest(ANN)
    assert ann in {row["handle"] for row in output.records("chat_participants")}
    received = [row for row in output.records("messages") if row["direction"] == "inbound"]
    assert {row["from_handle"]["handle"] for row in received} == {ann, digest(BOB)}
    assert {row["handle"] for row in output.records("opt_outs")} >= {digest(BOB)}
    events = {json.dumps(row["data"]) for row in output.records("webhook_events")}
    assert any(ann in event for event in events)
    assert {row["line"] for row in output.records("messages")} == {FIRST_LINE}
    assert {row["text"] for row in output.records("messages")} == {None}
    assert all(row["_extra"] is None for one in output.messages if (row := one.get("record")))


@pytest.mark.usefixtures("told")
def test_what_is_masked_is_emitted_once_and_again_under_another_key(
    emulator: Emulator, receiver: Receiver, tmp_path: Path
) -> None:
    sweep = {"full_sweep_interval_hours": 0, "phone_numbers": [FIRST_LINE]}
    first = run(emulator, receiver, tmp_path, **sweep)
    emulator.advance(1_200)
    again = run(emulator, receiver, tmp_path, first.state, **sweep)
    assert (len(first.ids()) > 0, again.ids()) == (True, [])
    other = run(emulator, receiver, tmp_path, again.state, **sweep, mask_key=KEY[::-1])
    assert set(other.ids()) == set(first.ids())
    assert len(chat_ids(emulator)) == 3


@pytest.mark.usefixtures("told")
def test_texts_can_be_kept_encrypted(emulator: Emulator, receiver: Receiver, tmp_path: Path) -> None:
    output = run(emulator, receiver, tmp_path, mask_text="encrypt")
    written = json.dumps(output.messages)
    assert not [word for word in FORBIDDEN if word.lower() in re.sub("gAAAA[A-Za-z0-9_=-]+", "", written).lower()]
    texts = [row["text"] for row in output.records("messages") if row["text"]]
    assert texts
    assert all(text.startswith("gAAAA") for text in texts)
