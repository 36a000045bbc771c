"""The rules of the platform. A rule is a function that takes the `Backend` first; none of them knows HTTP."""
