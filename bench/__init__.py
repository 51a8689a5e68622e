"""What Pinnace's sidecar costs, beside its peers and its limits, measured side by side in one run: `make bench`.

    python -m bench [--quick] [--rounds N] [--only TABLE…] [--results FILE] [--document FILE]

One file per table; harness.py runs processes, servers.py what they talk to, clients/ has a script for each uploader.
"""
