"""The endpoints: `client.chats.create(...)`, `client.messages.send(...)`; one file a group, one method an endpoint.

Every method raises `LinqError` as `LinqClient.request` does, and `InvalidRequestError` before anything is sent where an
argument breaks a rule of the API. Handles are E.164 numbers or e-mail addresses, lines E.164 numbers, ids UUIDs.

Source: API reference, "Endpoints"; linq-python 0.65.0, `resources/`.
"""

from linq_client.resources.attachments import Attachments
from linq_client.resources.available_number import AvailableNumbers
from linq_client.resources.background import Backgrounds
from linq_client.resources.blocked_handles import BlockedHandles
from linq_client.resources.capability import Capabilities
from linq_client.resources.chats import Chats
from linq_client.resources.contact_card import ContactCards
from linq_client.resources.experiences import Experiences
from linq_client.resources.location import LocationSharing
from linq_client.resources.messages import Messages
from linq_client.resources.participants import Participants
from linq_client.resources.phone_numbers import PhoneNumbers
from linq_client.resources.polls import Polls
from linq_client.resources.typing_indicator import Typing
from linq_client.resources.webhook_events import WebhookEvents
from linq_client.resources.webhook_subscriptions import WebhookSubscriptions

__all__ = [
    "Attachments",
    "AvailableNumbers",
    "Backgrounds",
    "BlockedHandles",
    "Capabilities",
    "Chats",
    "ContactCards",
    "Experiences",
    "LocationSharing",
    "Messages",
    "Participants",
    "PhoneNumbers",
    "Polls",
    "Typing",
    "WebhookEvents",
    "WebhookSubscriptions",
]
