"""The filter language: text to tokens to a checked expression to SQL. Its grammar is in
docs/reference/filter-language.md.

Text that users send never becomes a part of a statement: names are looked up, everything else is a parameter.
"""
