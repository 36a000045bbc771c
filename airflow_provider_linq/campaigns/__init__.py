"""Campaigns: one message to each of many recipients, exactly once."""
