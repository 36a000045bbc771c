"""Runs the tests on the versions that are supported: `python -m matrix`, or `make matrix`."""
