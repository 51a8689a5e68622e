"""Several pods for one iteration: they find each other as torch.distributed does, and all of them come ashore."""

import pytest

from cluster.kubectl import apply, items
from pinnace.naming import EXPERIMENT_ID_LABEL
from support.ledger import Ledger, differences
from support.system import Experiment, System, experiment_manifest

WORKERS = 2

#: Run by `python -c`: all meet at MASTER_ADDR by plain sockets, with the environment that `env://` reads, and write.
TRAINING_OF_SEVERAL = """
import hashlib, os, socket, sys, time
rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
assert str(rank) == os.environ["PINNACE_WORKER"] == os.environ["PET_NODE_RANK"] == os.environ["JOB_COMPLETION_INDEX"]
assert str(size) == os.environ["PINNACE_WORKERS"] == os.environ["PET_NNODES"]
address = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
if rank == 0:
    with socket.create_server(("", address[1])) as server:
        met = {0}
        while len(met) < size:
            with server.accept()[0] as other:
                met.add(int(other.recv(16)))
                other.sendall(b"met")
else:
    for _ in range(600):
        try:
            with socket.create_connection(address, timeout=5) as master:
                master.sendall(str(rank).encode())
                assert master.recv(16) == b"met"
            break
        except OSError:
            time.sleep(0.1)
    else:
        sys.exit("the others were not found")

def write(path, content):
    full = os.path.join(os.environ["PINNACE_ARTIFACTS_DIR"], path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "wb") as file:
        file.write(content)
    print("LEDGER", hashlib.sha256(content).hexdigest(), path, flush=True)

write(f"ranks/{rank}/shard.bin", os.urandom(100_000 + rank))
write("shared/tokenizer.json", b'{"the same": "in all"}')
write("shared/optimizer.bin", b"of rank %d" % rank)
"""


@pytest.mark.timeout(300)
def test_workers_find_each_other_and_each_file_of_each_is_ashore_once(system: System, namespace: str) -> None:
    body = experiment_manifest("several", environment={}, workers=WORKERS)
    [container] = body["spec"]["template"]["spec"]["containers"]
    container["command"] = ["python3", "-c", TRAINING_OF_SEVERAL]
    apply(body, namespace=namespace)
    experiment = Experiment(system, namespace, "several")
    experiment.wait_for("ArtifactsSynced", "True")
    assert experiment.condition("Succeeded")["status"] == "True"
    assert len(experiment.pods()) == WORKERS
    ledger = experiment.ledger()
    written = set(ledger.entries)
    assert len(ledger.entries) == 3 * WORKERS
    assert len(written) == 3 * WORKERS - 1, "the shared file of equal content is one artifact"
    rows = system.rows(experiment.id)
    assert differences(Ledger(entries=sorted(written)), rows, system.bucket) == []
    versions = [row for row in rows if row.path == "shared/optimizer.bin"]
    assert len(versions) == WORKERS, "another content at the same path is another version"
    status = experiment.read()["status"]
    assert status["artifacts"]["recorded"] == 3 * WORKERS
    assert len(items("services", namespace, f"{EXPERIMENT_ID_LABEL}={experiment.id}")) == 1
