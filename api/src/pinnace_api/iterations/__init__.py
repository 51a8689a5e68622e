"""Iterations: one combination of parameters of an experiment, one Job."""
