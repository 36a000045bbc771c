"""Campaigns: one message to each of many recipients, exactly once."""

from airflow_provider_linq.campaigns._limits import RateLimits, SendWindow
from airflow_provider_linq.campaigns._model import CampaignResult
from airflow_provider_linq.campaigns._run import send_campaign
from airflow_provider_linq.campaigns.config import Campaign, DeliveryReport

__all__ = ["Campaign", "CampaignResult", "DeliveryReport", "RateLimits", "SendWindow", "send_campaign"]
