"""Operators of the Linq provider."""
