"""`python -m benchmarks.plain_receiver FOLDER`: a receiver as one writes it first, with one fsync a request.

It verifies with the same code and answers when the event is durable, as `linq-webhooks` does, on the same server.
"""

from __future__ import annotations

import json
import os
import sys

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from linq_client.webhooks import SignatureError, identify, verify
from linq_webhooks.server import Server


def main() -> None:
    secret = os.environ["LINQ_WEBHOOK_SECRET"]
    descriptor = os.open(f"{sys.argv[1]}/events.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def receive(request: Request) -> Response:
        body = await request.body()
        try:
            verify(body, request.headers, secret)
        except SignatureError:
            return Response(status_code=401)
        event_id = identify(body, request.headers).event_id
        os.write(descriptor, json.dumps({"event_id": event_id, "body": body.decode()}).encode() + b"\n")
        os.fsync(descriptor)
        return Response(status_code=200)

    app = Starlette(routes=[Route("/webhooks/linq", receive, methods=["POST"])])
    server = Server(app, "127.0.0.1", 0, on_ready=lambda: print(json.dumps({"port": server.port}), flush=True))
    server.serve_until_stopped()


if __name__ == "__main__":
    main()
