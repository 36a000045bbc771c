"""Triggers of the Linq provider."""
