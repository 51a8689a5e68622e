from uuid import UUID, uuid5

from hypothesis import given
from hypothesis import strategies as st

from pinnace import ids

EXPERIMENT = UUID("11111111-2222-4333-8444-555555555555")
SHA256 = "ab" * 32


def test_ids_are_the_same_in_every_release() -> None:
    # These values are stored in databases and in object keys: a change here orphans them all.
    assert ids.project_id("iris") == UUID("56784bef-3772-56ef-8691-48c2aa2cf064")
    iteration = ids.iteration_id(EXPERIMENT, 0)
    assert iteration == UUID("cb327acc-b6c6-5bf8-bd81-015627de0b45")
    assert ids.artifact_id(iteration, "model.pt", SHA256) == UUID("9014c49b-012d-5eea-9711-e319edd35f9c")


@given(path=st.text(max_size=50), number=st.integers(0, 2**256 - 1))
def test_an_artifact_id_is_a_uuid_of_version_5(path: str, number: int) -> None:
    sha256 = f"{number:064x}"
    try:
        assert ids.artifact_id(EXPERIMENT, path, sha256) == uuid5(EXPERIMENT, f"{sha256}:{path}")
    except UnicodeEncodeError:
        assert any("\ud800" <= letter <= "\udfff" for letter in path)


def test_an_artifact_id_binds_iteration_path_and_content() -> None:
    base = ids.artifact_id(EXPERIMENT, "a", SHA256)
    others = {
        ids.artifact_id(ids.iteration_id(EXPERIMENT, 1), "a", SHA256),
        ids.artifact_id(EXPERIMENT, "b", SHA256),
        ids.artifact_id(EXPERIMENT, "a", "cd" * 32),
    }
    assert len(others | {base}) == 4


def test_object_key_is_prefix_shard_and_id() -> None:
    artifact = UUID("75ec270b-b003-4f3c-af3e-50e45fbeb610")
    assert ids.object_key("", artifact) == "75/75ec270b-b003-4f3c-af3e-50e45fbeb610"
    assert ids.object_key("/team a/", artifact) == "team a/75/75ec270b-b003-4f3c-af3e-50e45fbeb610"


def test_a_compressed_object_is_named_by_its_own_bytes_too() -> None:
    artifact = UUID("75ec270b-b003-4f3c-af3e-50e45fbeb610")
    key = ids.object_key("runs", artifact, "ab" * 32)
    assert key == "runs/75/75ec270b-b003-4f3c-af3e-50e45fbeb610.abababababababab.zst"
    assert ids.is_own_key(key, artifact, "ab" * 32)
    assert not ids.is_own_key(key, artifact)
    assert not ids.is_own_key(key, artifact, "cd" * 32)
    assert not ids.is_own_key(ids.object_key("runs", artifact), artifact, "ab" * 32)
