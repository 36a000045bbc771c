"""Sensors of the Linq provider."""
