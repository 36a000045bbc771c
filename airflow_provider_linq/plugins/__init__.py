"""Plugins of the Linq provider."""
