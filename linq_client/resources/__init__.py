"""The endpoints: `client.chats.create(...)`, `client.messages.send(...)`; one method an endpoint.

Every method raises `LinqError` as `LinqClient.request` does, and `InvalidRequestError` before anything is sent where an
argument breaks a rule of the API. Handles are E.164 numbers or e-mail addresses, lines E.164 numbers, ids UUIDs.

Source: API reference, "Endpoints"; linq-python 0.65.0, `resources/`.
"""

from linq_client.resources.account import (
    Capabilities,
    ContactCards,
    PhoneNumbers,
    WebhookEvents,
    WebhookSubscriptions,
)
from linq_client.resources.chats import Chats, LocationSharing, Participants, Typing
from linq_client.resources.messages import Attachments, Messages

__all__ = [
    "Attachments",
    "Capabilities",
    "Chats",
    "ContactCards",
    "LocationSharing",
    "Messages",
    "Participants",
    "PhoneNumbers",
    "Typing",
    "WebhookEvents",
    "WebhookSubscriptions",
]
