"""Campaigns: one message to each of many recipients, exactly once."""

import airflow_provider_linq._internal.version_compat  # noqa: F401 - refuses an Airflow that is too old
from airflow_provider_linq.campaigns._limits import RateLimits, SendWindow
from airflow_provider_linq.campaigns._model import CampaignResult
from airflow_provider_linq.campaigns._run import send_campaign
from airflow_provider_linq.campaigns.config import Campaign, DeliveryReport

__all__ = ["Campaign", "CampaignResult", "DeliveryReport", "RateLimits", "SendWindow", "send_campaign"]
