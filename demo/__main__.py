"""`make demo`: a campaign by Airflow, answers, two extractions by Meltano, then the API forgets; nothing is missing.

In the third act a receiver of webhooks keeps what the platform delivers, and the extractions pause for longer than the
window: nothing is missing either. In the last one dbt makes models of all that, which answer questions; where dbt can't
be installed, it is left out.

Everything is real but the platform: Airflow runs a DAG of `dags_examples/`, Meltano runs the tap, a loader and dbt,
`linq-webhooks` receives, and the emulator stands in for the API on loopback, with an ephemeral window and a virtual
clock that this program moves.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from demo.models import answer
from demo.programs import HOME, ROOT, run, say
from demo.warehouse import compare
from linq_client import LinqClient, NotFoundError
from linq_emulator.testing import EmulatorProcess

OUTPUT = HOME / "warehouse"
WINDOW_HOURS = 24
DAG_ID = "linq_campaign_with_replies"
RECIPIENTS = [f"+12025550{number}" for number in range(140, 146)]


def main() -> int:
    shutil.rmtree(HOME, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    now = datetime.now(timezone.utc).replace(microsecond=0)
    say("Starting the emulator: ephemeral lines, the clock stands still until this program moves it.")
    with EmulatorProcess(freeze=now, ephemeral_hours=WINDOW_HOURS, seed=1) as emulator:
        say(f"It listens at {emulator.base_url}, lines {', '.join(emulator.lines)}.")
        emulator.seed(40, messages_per_chat=25, hours=20, seed=1)
        say(f"Some history to begin with: {len(emulator.ledger())} messages of the last 20 hours in 40 chats.")

        answered = run_campaign(emulator)

        state = f"demo-{int(time.time())}"
        first = extract(emulator, state)
        say(f"First extraction, the whole window: {first} messages written.")
        life_goes_on(emulator)
        second = extract(emulator, state)
        say(f"Second extraction, from Meltano's own state, incremental: {second} messages written.")

        expired = let_it_expire(emulator)
        complete = compare(emulator.ledger(), OUTPUT)
        captured = poller_out(emulator, state)
        complete = compare(emulator.ledger(), OUTPUT) and complete
        known = answer(emulator.ledger(), OUTPUT, emulator.now())
    if not (complete and expired and captured and known and answered == len(RECIPIENTS) and 0 < second < first):
        say("FAILED: see above.")
        return 1
    say("Done: the API has deleted every message, and the warehouse holds them all.")
    return 0


def run_campaign(emulator: EmulatorProcess) -> int:
    """Run the example DAG, with recipients who answer while its sensors wait, and return how many did."""
    settings = {
        "AIRFLOW_HOME": str(HOME / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags_examples"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW_CONN_LINQ_DEFAULT": json.dumps(
            {
                "conn_type": "linq",
                "host": emulator.base_url,
                "password": emulator.api_key,
                "extra": {"default_line": emulator.lines[0]},
            }
        ),
    }
    say("Airflow: preparing its database (SQLite) ...")
    run(["airflow", "db", "migrate"], settings, HOME / "airflow-migrate.log")
    say(f"Airflow: running the DAG {DAG_ID}, which sends a campaign and waits for the replies ...")
    with recipients_who_answer(emulator) as answered:
        run(
            ["airflow", "dags", "test", DAG_ID, "--conf", json.dumps({"recipients": RECIPIENTS})],
            settings,
            HOME / "airflow-dag.log",
        )
    say(f"Airflow: the DAG has succeeded; {len(answered)} of {len(RECIPIENTS)} recipients have answered.")
    return len(answered)


@contextmanager
def recipients_who_answer(emulator: EmulatorProcess) -> Iterator[set[str]]:
    """Meanwhile, let everyone to whom a message goes out answer it once, a few virtual seconds later."""
    before = {row["id"] for row in emulator.ledger()}
    answered: set[str] = set()
    done = threading.Event()

    def answer() -> None:
        while not done.wait(0.5):
            emulator.advance(5)
            for row in emulator.ledger():
                if row["direction"] != "outbound" or row["id"] in before | answered:
                    continue
                answered.add(row["id"])
                text = ("YES", "NO", "Is there parking?")[len(answered) % 3]
                emulator.inbound(row["to"][0], text, chat_id=row["chat_id"])
                say(f"  {row['to'][0]} has a message and answers it.")

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        yield answered
    finally:
        done.set()
        thread.join()


def extract(emulator: EmulatorProcess, state: str, **more: str) -> int:
    """Run `meltano run tap-linq target-jsonl` and return how many messages it wrote."""
    say("Meltano: meltano run tap-linq target-jsonl ...")
    settings = {
        **more,
        "TAP_LINQ_BASE_URL": emulator.base_url,
        "TAP_LINQ_API_KEY": emulator.api_key,
        "TAP_LINQ_RETENTION_WINDOW_HOURS": str(WINDOW_HOURS),
        "TARGET_JSONL_DESTINATION_PATH": str(OUTPUT),
    }
    before = set(OUTPUT.glob("messages*.jsonl"))
    command = ["meltano", "run", f"--state-id-suffix={state}", "tap-linq", "target-jsonl"]
    run(command, settings, HOME / f"meltano-{len(before) + 1}.log")
    new = set(OUTPUT.glob("messages*.jsonl")) - before
    return sum(len(file.read_text().splitlines()) for file in new)


def life_goes_on(emulator: EmulatorProcess) -> None:
    """An hour passes: new messages come in, one old one is edited, one gets a reaction, one chat is new."""
    emulator.advance(3_600)
    line, inbound = emulator.lines[0], inbound_of(emulator)
    for row in inbound[:5]:
        emulator.inbound(row["from"], "One more thing.", chat_id=row["chat_id"])
    emulator.inbound("+12025550199", "Hello, is this the shop?", line=line)
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        sent = client.messages.send(inbound[0]["chat_id"], "We open at nihne.").message
        emulator.advance(60)
        client.messages.edit(sent.id, "We open at nine.")
        client.messages.react(inbound[0]["id"], "like")
    emulator.advance(1_800)
    say("An hour and a half later: answers, a new chat, an edit and a reaction have come.")


def let_it_expire(emulator: EmulatorProcess) -> bool:
    """Move the clock past the window, look at what the API still has, and return whether it is nothing."""
    emulator.advance((WINDOW_HOURS + 1) * 3_600)
    one = emulator.ledger()[-1]["id"]
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        left = sum(1 for chat in client.chats.list() for _ in client.messages.list(chat.id))
        try:
            client.messages.get(one)
            gone, answer = False, "200"
        except NotFoundError as error:
            gone, answer = True, f"{error.status}, code {error.code}"
    say(f"{WINDOW_HOURS + 1} hours later: the API lists {left} messages; GET of the newest answers {answer}.")
    return gone and left == 0


def poller_out(emulator: EmulatorProcess, state: str) -> bool:
    """Let nobody ask the API for longer than the window, and return whether what came then was extracted."""
    archive = {"TAP_LINQ_WEBHOOK_ARCHIVE": str(HOME / "webhooks")}
    with receiver(emulator, HOME / "webhooks"):
        extract(emulator, state, **archive)
        chats = list(dict.fromkeys((row["from"], row["chat_id"]) for row in inbound_of(emulator)))[:10]
        for minute in range(90):
            who, chat = chats[minute % len(chats)]
            emulator.inbound(who, f"Nobody polls now, minute {minute}.", chat_id=chat)
            emulator.advance(60)
        with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
            client.messages.send(chats[0][1], "We are still here.")
        emulator.advance(60)
        wait_for_deliveries(emulator)
    say(f"The extractions pause; meanwhile {len(emulator.webhook_deliveries())} events come to linq-webhooks.")
    expired = let_it_expire(emulator)
    found = extract(emulator, state, **archive)
    say(f"The extraction is back, and finds {found} messages in the archive that the API has deleted.")
    return expired and found == 91


def inbound_of(emulator: EmulatorProcess) -> list[dict[str, Any]]:
    line = emulator.lines[0]
    return [row for row in emulator.ledger() if row["direction"] == "inbound" and row["line"] == line]


@contextmanager
def receiver(emulator: EmulatorProcess, archive: Path) -> Iterator[None]:
    """Run `linq-webhooks serve`, with a subscription of the emulator."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    target, secrets = f"http://127.0.0.1:{port}/webhooks/linq", HOME / "webhook-secrets"
    account = {"LINQ_API_KEY": emulator.api_key, "LINQ_BASE_URL": emulator.base_url}
    run(["linq-webhooks", "subscribe", target, "--secret-file", str(secrets)], account, HOME / "subscribe.log")
    command = [sys.executable, "-m", "demo.receiver", "serve", "--port", str(port)]
    command += ["--archive", str(archive), "--secret-file", str(secrets)]
    say(f"linq-webhooks: subscribed, and listening at {target} ...")
    with (HOME / "receiver.log").open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    try:
        for _ in range(600):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


def wait_for_deliveries(emulator: EmulatorProcess) -> None:
    """Wait until the receiver has all events, or the platform would have to try again."""
    while any(one["state"] == "pending" and not one["attempts"] for one in emulator.webhook_deliveries()):
        time.sleep(0.1)


if __name__ == "__main__":
    raise SystemExit(main())
