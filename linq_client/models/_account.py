"""What belongs to the account: lines and their reputation, contact cards, files, experiences, webhooks."""

from __future__ import annotations

from pydantic import Field

from linq_client.models._base import APIModel, Informative, InformativeList, UTCDatetime
from linq_client.models._chats import Health


class PhoneNumber(APIModel):
    """An own line."""

    id: str
    phone_number: str
    reputation: Informative[Health] = None
    forwarding_number: Informative[str] = None
    line_type: Informative[str] = None


class AvailableNumber(APIModel):
    """The line that the platform would choose; `vcf_url` is a link to its contact card, for a while."""

    phone_number: str
    vcf_url: Informative[str] = None


class ReputationDriver(APIModel):
    """What drags a line down: `key` is one of the vendor's names, `metric` a figure or a note in words."""

    key: Informative[str] = None
    summary: Informative[str] = None
    metric: Informative[str] = None


class ReputationAction(APIModel):
    """What to do about it; `priority` 1 comes first, `expected_impact` is high, medium or low."""

    priority: Informative[int] = None
    title: Informative[str] = None
    detail: Informative[str] = None
    expected_impact: Informative[str] = None


class UnhealthyChat(APIModel):
    """A chat behind a driver; `status` is AT_RISK, CRITICAL or OPTED_OUT."""

    chat_id: Informative[str] = None
    status: Informative[str] = None
    driver_keys: InformativeList[str] = Field(default_factory=list)


class OptOutChat(APIModel):
    """A chat in which the recipient asked to stop, and how many messages were sent after that."""

    chat_id: Informative[str] = None
    messages_after_stop: Informative[int] = None


class ReputationEvidence(APIModel):
    """The chats behind the drivers, the worst first."""

    unhealthy_chats: InformativeList[UnhealthyChat] = Field(default_factory=list)
    opt_out_chats: InformativeList[OptOutChat] = Field(default_factory=list)


class ReputationReport(APIModel):
    """What an audit has found; `severity` is HEALTHY, AT_RISK or CRITICAL, `primary_driver` is "" if nothing is."""

    severity: Informative[str] = None
    primary_driver: Informative[str] = None
    drivers: InformativeList[ReputationDriver] = Field(default_factory=list)
    action_items: InformativeList[ReputationAction] = Field(default_factory=list)
    evidence: Informative[ReputationEvidence] = None
    summary_markdown: Informative[str] = None


class ReputationAudit(APIModel):
    """An audit of a line. `status` is pending, complete (there is a `report`) or error (`error` says why)."""

    audit_id: str
    status: str
    phone: Informative[str] = None
    generated_at: Informative[UTCDatetime] = None
    error: Informative[str] = None
    report: Informative[ReputationReport] = None


class BlockedHandle(APIModel):
    """A handle that this account has blocked, in the platform's form of it."""

    handle: str
    blocked_at: Informative[UTCDatetime] = None
    reason: Informative[str] = None


class ExperienceField(APIModel):
    """A field of an action; `type` is string, cents, int or url, `max` the greatest length of a string."""

    type: Informative[str] = None
    required: Informative[bool] = None
    max: Informative[int] = None


class ExperienceAction(APIModel):
    """What one may invoke: `fields` are the names that `Experience.params` may have."""

    name: Informative[str] = None
    summary: Informative[str] = None
    fields: Informative[dict[str, ExperienceField]] = None


class Experience(APIModel):
    """A third party's cards inside the vendor's iMessage app, as far as this account may send them."""

    experience: str
    display_name: Informative[str] = None
    actions: InformativeList[ExperienceAction] = Field(default_factory=list)


class Capability(APIModel):
    """Whether an address can be reached by a service."""

    address: str
    available: bool
    reason: str | None = None
    selected_service: str | None = None


class ContactCard(APIModel):
    """Name and image that an own line shows to others."""

    phone_number: str
    first_name: str
    last_name: str | None = None
    image_url: str | None = None
    is_active: bool | None = None


class UploadSlot(APIModel):
    """Where to put the bytes of a new attachment: `http_method` to `upload_url` before `expires_at` (15 minutes)."""

    attachment_id: str
    upload_url: str
    download_url: str | None = None
    http_method: str = "PUT"
    expires_at: UTCDatetime | None = None
    required_headers: dict[str, str] = Field(default_factory=dict)


class Attachment(APIModel):
    """A stored file; `download_url` is signed and short-lived."""

    id: str
    filename: str
    content_type: str | None = None
    size_bytes: int | None = None
    created_at: UTCDatetime | None = None
    status: str | None = None
    download_url: str | None = None


class WebhookSubscription(APIModel):
    """Where the platform sends which events; `signing_secret` is only in the response to its creation."""

    id: str
    target_url: str
    subscribed_events: list[str]
    is_active: bool
    created_at: UTCDatetime
    updated_at: UTCDatetime
    phone_numbers: list[str] | None = None
    routing_key_header: str | None = None
    routing_id_header: str | None = None
    signing_secret: str | None = Field(default=None, repr=False)
