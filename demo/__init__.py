"""The main job from end to end, on this machine alone: see `__main__`."""
