"""Experiments: one per Experiment resource of a cluster, under its `metadata.uid`."""
