"""Retry policies of the Linq provider."""
