"""Curves: a metric's series in so many points."""
