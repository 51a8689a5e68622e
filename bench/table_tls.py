"""Table `tls`: the same uploads through TLS, where every byte passes through user space."""

import subprocess

from bench import servers, sets
from bench.harness import Row
from bench.table import Table, Wishes
from bench.table_uploads import compare, files


def measure(wishes: Wishes) -> list[Row]:
    certificates = wishes.scratch / "certificates"
    certificates.mkdir()
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    # rustls takes no authority for a server.
    command += ["-addext", "basicConstraints=critical,CA:FALSE"]
    command += ["-keyout", str(certificates / "private.key"), "-out", str(certificates / "public.crt")]
    subprocess.run(command, check=True, capture_output=True)
    with servers.null_server(wishes.scratch, certificates=certificates) as server:
        rows: list[Row] = []
        for file_set in (sets.QUICK_LARGE, sets.QUICK_SMALL):
            with files(file_set, server, wishes.scratch) as folder:
                rows += compare("tls", file_set, server, folder, wishes)
    return rows


TABLES = (Table("tls", measure),)
