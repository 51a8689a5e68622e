"""Metrics: series of values by step, and a summary of each that is kept with them."""
