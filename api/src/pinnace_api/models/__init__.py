"""Registered models: names under which versions gather."""
