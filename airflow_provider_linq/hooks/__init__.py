"""Hooks of the Linq provider."""
