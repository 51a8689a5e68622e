"""Artifacts' bytes over HTTP: up and down, in bounded memory, compared with their digests on both ways."""
