"""Comparisons: several iterations side by side."""
