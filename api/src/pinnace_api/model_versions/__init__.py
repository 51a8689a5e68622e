"""Versions of models: their stages, their aliases, how two of them differ, and what they keep from being purged."""
