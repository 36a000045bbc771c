"""The vendor's client as its documentation uses it: page all chats, page the messages of each, write JSON lines.

It takes ``--config FILE`` like a tap, with `api_key` and `base_url`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from linq import BaseModel, LinqAPIV3

PAGE_SIZE = 100


def write(kind: str, item: BaseModel) -> None:
    """Write one object as the API sent it."""
    sys.stdout.write(json.dumps({kind: item.to_dict(mode="json")}) + "\n")


def extract(config: dict[str, Any]) -> None:
    """Read everything, one request after the other."""
    client = LinqAPIV3(api_key=config["api_key"], base_url=config["base_url"])
    for chat in client.chats.list_chats(limit=PAGE_SIZE):
        write("chat", chat)
        for message in client.chats.messages.list(chat.id, limit=PAGE_SIZE):
            write("message", message)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    extract(json.loads(parser.parse_args().config.read_text()))
