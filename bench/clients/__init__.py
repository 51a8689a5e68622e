"""Each script here is a process that uploads a folder: `SCRIPT ENDPOINT BUCKET PREFIX FOLDER`.

The key comes from the environment. They use what the library's own documentation shows first, with its defaults, and as
many operations at a time as it offers, or eight.
"""
