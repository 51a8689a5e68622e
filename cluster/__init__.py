"""How a cluster comes to be: kind, and everything that it needs, brought along where it is missing.

Standard library only, because it runs before there is a virtual environment: `python3 -m cluster --help`.
"""
