"""Tokens: sessions, and those that people make for their programs."""
