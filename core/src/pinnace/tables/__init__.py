"""Rows as files that other programs read: CSV and JSON Lines, written and read a row at a time."""

from pinnace.tables.files import Format, UnreadableTable, read_rows, write_rows

__all__ = ["Format", "UnreadableTable", "read_rows", "write_rows"]
