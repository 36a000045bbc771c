"""`seen_path`: what is new or has changed comes out, nothing else, and never less than a table needs."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from linq_client import LinqClient
from tests.support.emulator_process import Emulator
from tests.support.running import (
    FIRST_LINE,
    PERSON,
    Output,
    chat_ids,
    history,
    inbound,
    run_tap,
    set_window,
    succeed,
)
from tests.support.seeds import seed

KEYS = {
    "messages": ("id",),
    "reactions": ("id",),
    "attachments": ("message_id", "part_index"),
    "chats": ("id",),
    "chat_participants": ("chat_id", "handle"),
}
HOUR = 3600
PICTURE = {"type": "media", "url": "https://example.com/a.png"}

Table = dict[tuple[Any, ...], dict[str, Any]]


def load(table: Table, output: Output, first: int = 10**9) -> None:
    """What a loader that updates by key makes of the first records of a run."""
    for one in [one for one in output.messages if one["type"] == "RECORD" and one["stream"] in KEYS][:first]:
        table[(one["stream"], *(one["record"][name] for name in KEYS[one["stream"]]))] = one["record"]


def comparable(record: dict[str, Any]) -> str:
    """A record without what differs whenever one looks."""
    left_out = ("observed_at", "removed_at")
    text = json.dumps({name: value for name, value in record.items() if name not in left_out}, sort_keys=True)
    return "&".join(part for part in text.split("&") if not part.startswith("token="))


def sweep(emulator: Emulator, seen: Path | None, state: dict[str, Any] | None = None, **more: Any) -> Output:
    settings = {"phone_numbers": [FIRST_LINE], "full_sweep_interval_hours": 0, **more}
    return succeed(emulator, state=state, seen_path=None if seen is None else str(seen), **settings)


def seen_files(folder: Path, kind: str = "seen") -> list[Path]:
    return sorted(folder.rglob(f"*.{kind}"))


def react(emulator: Emulator, message_id: str, kind: str = "love") -> None:
    emulator.control("POST", "reactions", {"message_id": message_id, "type": kind, "from": PERSON})


def edit(emulator: Emulator, message_id: str, text: str) -> None:
    emulator.control("POST", "edits", {"message_id": message_id, "text": text})


def name_in(state: dict[str, Any]) -> str | None:
    (partition,) = state["bookmarks"]["messages"]["partitions"]
    name: str | None = partition.get("seen")
    return name


def test_a_sweep_emits_what_is_new_or_differs(emulator: Emulator, tmp_path: Path) -> None:
    first_message, second_message = history(emulator)
    first = sweep(emulator, tmp_path / "seen")
    assert set(first.ids()) == {first_message, second_message}
    again = sweep(emulator, tmp_path / "seen", first.state)
    assert [len(again.records(name)) for name in KEYS] == [0] * len(KEYS)
    react(emulator, first_message)
    third = inbound(emulator, "a third one")
    changed = sweep(emulator, tmp_path / "seen", again.state)
    assert set(changed.ids()) == {first_message, third}
    assert len(changed.records("reactions")) == 1
    assert sweep(emulator, tmp_path / "seen", changed.state).ids() == []
    # Of all those runs, the file that STATE names and the one before are left.
    assert len(seen_files(tmp_path)) == 2


def test_urls_that_are_signed_again_are_no_change(emulator: Emulator, tmp_path: Path) -> None:
    set_window(emulator, 24)
    history(emulator)
    inbound(emulator, parts=[PICTURE])
    first = sweep(emulator, tmp_path / "seen")
    assert len(first.records("attachments")) == 1
    emulator.advance(600)
    second = sweep(emulator, tmp_path / "seen", first.state)
    assert [len(second.records(name)) for name in ("messages", "attachments")] == [0, 0]


def test_an_incremental_pass_does_not_repeat_the_overlap(emulator: Emulator, tmp_path: Path) -> None:
    history(emulator)
    first = sweep(emulator, tmp_path / "seen")
    last = inbound(emulator, "within the overlap of the next run")
    second = sweep(emulator, tmp_path / "seen", first.state, full_sweep_interval_hours=6)
    emulator.advance(60)
    third = sweep(emulator, tmp_path / "seen", second.state, full_sweep_interval_hours=6)
    assert (second.ids(), third.ids()) == ([last], [])
    # What the incremental passes left out is still known.
    assert sweep(emulator, tmp_path / "seen", third.state).ids() == []


def test_what_has_expired_is_forgotten(emulator: Emulator, tmp_path: Path) -> None:
    set_window(emulator, 1)
    state: dict[str, Any] | None = None
    sizes = []
    for _ in range(3):
        history(emulator, parts=[PICTURE])
        state = sweep(emulator, tmp_path / "seen", state, retention_window_hours=1).state
        name = name_in(state)
        (path,) = [one for one in seen_files(tmp_path) if one.name == name]
        header = json.loads(path.read_bytes().partition(b"\n")[0])
        sizes.append((header["messages"], header["others"]))
        emulator.advance(2 * HOUR)
    # Messages are remembered for longer, for the sake of events that come late.
    assert [messages for messages, _ in sizes] == [2, 4, 6]
    assert len({others for _, others in sizes}) == 1


def test_a_stream_that_is_selected_later_comes_whole_and_others_do_not(emulator: Emulator, tmp_path: Path) -> None:
    ids = history(emulator)
    react(emulator, ids[0])
    first = sweep(emulator, tmp_path / "seen", select=["messages", "chats"])
    second = sweep(emulator, tmp_path / "seen", first.state, select=["messages", "chats", "reactions"])
    assert (len(second.records("reactions")), second.ids(), second.records("chats")) == (1, [], [])


def test_another_stream_map_makes_all_come_again(emulator: Emulator, tmp_path: Path) -> None:
    ids = history(emulator)
    first = sweep(emulator, tmp_path / "seen")
    second = sweep(emulator, tmp_path / "seen", first.state, stream_maps={"messages": {"text": None}})
    assert sorted(second.ids()) == sorted(ids)


def test_a_full_table_comes_whole(emulator: Emulator, tmp_path: Path) -> None:
    ids = history(emulator)
    first = sweep(emulator, tmp_path / "seen")
    entry = {"tap_stream_id": "messages", "replication_method": "FULL_TABLE", "schema": {"properties": {"id": {}}}}
    catalog = {
        "streams": [
            {**entry, "metadata": [{"breadcrumb": [], "metadata": {"selected": True, "inclusion": "available"}}]}
        ]
    }
    second = sweep(emulator, tmp_path / "seen", first.state, catalog=catalog)
    assert sorted(second.ids()) == sorted(ids)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def change(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def make_newer(path: Path) -> None:
    """A file of a later version, which its name fits."""
    from hashlib import blake2b

    content = path.read_bytes().replace(b'"format": 1', b'"format": 2', 1)
    series, stamp, _, kind = path.name.split(".")
    path.unlink()
    path.with_name(f"{series}.{stamp}.{blake2b(content, digest_size=16).hexdigest()}.{kind}").write_bytes(content)


@pytest.mark.parametrize("damage", [Path.unlink, cut, change, make_newer])
def test_a_file_that_is_not_what_state_names_costs_rows_only(
    emulator: Emulator, tmp_path: Path, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ids = history(emulator)
    first = sweep(emulator, tmp_path / "seen")
    (path,) = seen_files(tmp_path)
    damage(path)
    state = first.state
    if damage is make_newer:
        (path,) = seen_files(tmp_path)
        state["bookmarks"]["messages"]["partitions"][0]["seen"] = path.name
    second = sweep(emulator, tmp_path / "seen", state)
    assert sorted(second.ids()) == sorted(ids)
    (why,) = [one.getMessage() for one in caplog.records if "comes again" in one.getMessage()]
    assert ("format 2" in why) == (damage is make_newer)
    assert sweep(emulator, tmp_path / "seen", second.state).ids() == []


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "x.seen", 7, None, {"a": 1}])
def test_a_name_in_state_that_is_none_costs_rows_only(emulator: Emulator, tmp_path: Path, name: object) -> None:
    ids = history(emulator)
    state = sweep(emulator, tmp_path / "seen").state
    state["bookmarks"]["messages"]["partitions"][0]["seen"] = name
    assert sorted(sweep(emulator, tmp_path / "seen", state).ids()) == sorted(ids)


def test_a_store_that_is_down_costs_rows_only(
    emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ids = history(emulator)
    (tmp_path / "seen").write_text("a file where the folder should be")
    first = sweep(emulator, tmp_path / "seen")
    assert sorted(first.ids()) == sorted(ids)
    assert name_in(first.state) is None
    assert any("could not be written" in one.getMessage() for one in caplog.records)
    assert sorted(sweep(emulator, tmp_path / "seen", first.state).ids()) == sorted(ids)


def test_a_state_that_was_read_before_counts_no_more(emulator: Emulator, tmp_path: Path) -> None:
    """A loader dies after a run's rows have reached the table: the message then goes back to what it was."""
    ids = history(emulator)
    table: Table = {}
    first = sweep(emulator, tmp_path / "seen")
    load(table, first)
    edit(emulator, ids[0], "changed")
    load(table, sweep(emulator, tmp_path / "seen", first.state))  # and its STATE is lost
    edit(emulator, ids[0], "hello")
    last = sweep(emulator, tmp_path / "seen", first.state)
    load(table, last)
    assert table["messages", ids[0]]["text"] == "hello"
    # Nobody knows in which order the rows of two runs arrive, so this one remembers nothing either.
    assert name_in(last.state) is None
    after = sweep(emulator, tmp_path / "seen", last.state)
    assert sorted(after.ids()) == sorted(ids)
    assert sweep(emulator, tmp_path / "seen", after.state).ids() == []


def test_pipelines_of_their_own_state_share_a_folder(emulator: Emulator, tmp_path: Path) -> None:
    ids = history(emulator)
    one, other = (sweep(emulator, tmp_path / "seen") for _ in range(2))
    assert sorted(one.ids()) == sorted(other.ids()) == sorted(ids)
    for _ in range(3):
        one = sweep(emulator, tmp_path / "seen", one.state)
        assert one.ids() == []
    assert sweep(emulator, tmp_path / "seen", other.state).ids() == []


def test_a_line_that_could_not_be_read_to_its_end_has_no_file(emulator: Emulator, tmp_path: Path) -> None:
    ids = history(emulator)
    first = sweep(emulator, tmp_path / "seen")
    path = f"/v3/chats/{chat_ids(emulator)[0]}/messages"
    emulator.control("POST", "faults", {"kind": "status", "status": 400, "code": 1005, "path": path, "count": 1})
    failed = run_tap(
        emulator,
        state=first.state,
        seen_path=str(tmp_path / "seen"),
        phone_numbers=[FIRST_LINE],
        full_sweep_interval_hours=0,
    )
    assert failed.error is not None
    assert name_in(failed.state) is None
    assert sorted(sweep(emulator, tmp_path / "seen", failed.state).ids()) == sorted(ids)


@pytest.mark.parametrize("number", range(3))
def test_histories_with_all_that_can_go_wrong(emulator: Emulator, tmp_path: Path, number: int) -> None:
    """Whatever becomes of runs, loaders, STATE and files: after one good run, the table is as without the setting."""
    random = Random(f"{seed()} {number}")
    folder = tmp_path / "seen"
    moves = number % 2 == 0
    emulator.control("PATCH", "switches", {"edit_moves_message": moves, "reaction_moves_message": moves})
    ids = history(emulator)
    table: Table = {}
    states: list[dict[str, Any] | None] = [None]
    for _ in range(12):
        for _ in range(random.randrange(3)):
            message = random.choice(ids)
            match random.randrange(4):
                case 0:
                    ids.append(inbound(emulator, "new"))
                case 1:
                    # Back and forth, so that what was emitted long ago comes up once more.
                    edit(emulator, message, random.choice(["hello", "changed"]))
                case 2:
                    react(emulator, message, random.choice(["love", "like"]))
                case 3:
                    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
                        client.messages.react(message, random.choice(["love", "like"]))
            emulator.advance(random.choice([1, 60, 900]))
        interval = random.choice([0, 6])
        output = sweep(emulator, folder, states[-1], full_sweep_interval_hours=interval)
        match random.choice(["good", "good", "good", "dies", "killed", "rolled back", "two", "lost file"]):
            case "good":
                load(table, output)
                states.append(output.state)
            case "dies":  # the loader, after some rows
                load(table, output, random.randrange(10))
            case "killed":  # after some rows, and before anything else was written
                load(table, output, random.randrange(10))
                for path in seen_files(folder)[-1:]:
                    path.unlink()
            case "rolled back":
                load(table, output)
                states.append(random.choice(states))
            case "two":
                edit(emulator, random.choice(ids), "meanwhile")
                later = sweep(emulator, folder, states[-1], full_sweep_interval_hours=0)
                pair = [output, later]
                random.shuffle(pair)
                for one in pair:
                    load(table, one)
                states.append(random.choice(pair).state)
            case "lost file":
                load(table, output)
                states.append(output.state)
                for path in seen_files(folder):
                    path.unlink()
    for _ in range(2):  # rows of two runs may have come in any order, so the first one only repairs
        output = sweep(emulator, folder, states[-1])
        load(table, output)
        states.append(output.state)
    wanted: Table = {}
    load(wanted, sweep(emulator, None))
    assert {key: comparable(table[key]) for key in wanted} == {key: comparable(one) for key, one in wanted.items()}
    assert sweep(emulator, folder, states[-1]).ids() == []
