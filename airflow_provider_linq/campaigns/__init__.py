"""Campaigns: one message to each of many recipients, exactly once. What DAGs import of it is here."""

from airflow_provider_linq.campaigns.campaign import Campaign
from airflow_provider_linq.campaigns.follow_up import FollowUp
from airflow_provider_linq.campaigns.model import CampaignResult
from airflow_provider_linq.campaigns.pace import Pace
from airflow_provider_linq.campaigns.run import send_campaign

__all__ = ["Campaign", "CampaignResult", "FollowUp", "Pace", "send_campaign"]
