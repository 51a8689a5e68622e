"""Datasets: what iterations consumed and produced."""
