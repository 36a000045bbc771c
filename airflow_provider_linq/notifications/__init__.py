"""Notifiers of the Linq provider."""
