"""The API over HTTP: the server, the gateway that each request passes, and the endpoints."""
