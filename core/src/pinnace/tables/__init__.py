"""Rows as files that other programs read: CSV, JSON Lines and Parquet, a row or a group of rows at a time."""

from pinnace.tables.files import Format, UnreadableTable, read_rows, write_rows
from pinnace.tables.parquet import check_parquet

__all__ = ["Format", "UnreadableTable", "check_parquet", "read_rows", "write_rows"]
