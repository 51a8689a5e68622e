"""What goes into the node image and the product's images."""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from cluster.archive import Image, write_archive, write_layer
from cluster.debian import libraries, resolve
from cluster.errors import ClusterError
from cluster.images import ALL, PRODUCTS, PYTHON, platforms
from cluster.kind import mentioned
from cluster.node_image import IN_PODS, VOLUMES_IMAGE, default_image, pod_images, wanted_images
from cluster.settings import ROOT

LISTING = """\
registry.example/kube-apiserver:v1.34.4
registry.example/kube-controller-manager:v1.34.4
registry.example/kube-scheduler:v1.34.4
registry.example/kube-proxy:v1.34.4
registry.example/coredns/coredns:v1.12.1
registry.example/pause:3.10.1
registry.example:5000/etcd:3.6.5-0
"""


def test_each_part_gets_the_image_that_kubeadm_names() -> None:
    wanted = wanted_images(LISTING)
    assert wanted["coredns"] == "registry.example/coredns/coredns:v1.12.1"
    assert wanted["etcd"] == "registry.example:5000/etcd:3.6.5-0"
    assert set(IN_PODS) < set(wanted)


def test_a_part_that_kubeadm_does_not_name_is_an_error_that_names_it() -> None:
    with pytest.raises(ClusterError, match="pause"):
        wanted_images("\n".join(line for line in LISTING.splitlines() if "pause" not in line))


def test_every_image_that_kubeadm_wants_is_in_the_archive(tmp_path: Path) -> None:
    for name in ("kube", "pause", "volumes"):
        (tmp_path / f"{name}.program").write_text(name)
    nft = tmp_path / "nft.tar"
    write_layer(nft, {"usr/sbin/nft": tmp_path / "kube.program"}, {})
    wanted = wanted_images(LISTING)
    programs = {name: tmp_path / f"{name}.program" for name in ("kube", "pause", "volumes")}
    images = pod_images(tmp_path, wanted, **programs, nft=nft)
    write_archive(tmp_path / "archive.tar", images)
    with tarfile.open(tmp_path / "archive.tar") as archive:
        manifest = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
        assert {name for entry in manifest for name in entry["RepoTags"]} == {*wanted.values(), VOLUMES_IMAGE}
        names = archive.getnames()
        assert len(names) == len(set(names))
        for entry in manifest:
            config = json.load(archive.extractfile(entry["Config"]))  # type: ignore[arg-type]
            digests = []
            for layer in entry["Layers"]:
                content = archive.extractfile(layer)
                assert content is not None
                digests.append("sha256:" + hashlib.sha256(content.read()).hexdigest())
            assert config["rootfs"]["diff_ids"] == digests


def test_the_provisioner_s_image_is_the_one_that_the_manifest_names() -> None:
    manifest = (ROOT / "cluster/node/files/kind/manifests/default-storage.yaml").read_text()
    assert f"image: {VOLUMES_IMAGE}\n" in manifest


def test_a_layer_has_its_folders_first_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("binary")
    layers = [tmp_path / name for name in ("one.tar", "two.tar")]
    for layer in layers:
        write_layer(layer, {"usr/bin/program": program}, {"usr/bin/other": "program"})
    assert layers[0].read_bytes() == layers[1].read_bytes()
    with tarfile.open(layers[0]) as tar:
        assert tar.getnames() == ["usr", "usr/bin", "usr/bin/program", "usr/bin/other"]
        assert tar.getmember("usr/bin/other").linkname == "program"


def test_images_share_a_layer_in_the_archive(tmp_path: Path) -> None:
    write_layer(tmp_path / "layer.tar", {}, {"a": "b"})
    images = [Image(names=(name,), layers=(tmp_path / "layer.tar",), entrypoint=(name,)) for name in ("one:1", "two:1")]
    write_archive(tmp_path / "archive.tar", images)
    with tarfile.open(tmp_path / "archive.tar") as archive:
        assert sum(name.endswith(".tar") for name in archive.getnames()) == 1


def test_ldd_s_answer_gives_files_and_leaves_the_kernel_s_own_out() -> None:
    answer = (
        "\tlinux-vdso.so.1 (0x00007ffc)\n"
        "\tlibnftables.so.1 => /lib/x86_64-linux-gnu/libnftables.so.1 (0x00007f)\n"
        "\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n"
    )
    assert libraries(answer) == ["/lib/x86_64-linux-gnu/libnftables.so.1", "/lib64/ld-linux-x86-64.so.2"]


def test_links_are_followed_inside_the_root(tmp_path: Path) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/libx.so.1.2").write_text("code")
    (tmp_path / "usr/lib/libx.so.1").symlink_to("libx.so.1.2")
    (tmp_path / "usr/lib/abs.so").symlink_to("/usr/lib/libx.so.1")
    (tmp_path / "lib").symlink_to("usr/lib")
    assert resolve(tmp_path, "/lib/abs.so").read_text() == "code"


def test_kind_s_default_image_is_read_off_its_program() -> None:
    image = "kindest/node:v1.37.0@sha256:" + "a1" * 32
    assert default_image(b"\0text" + image.encode() + b"more text\0") == image


def test_a_kind_that_names_no_image_says_how_to_go_on() -> None:
    with pytest.raises(ClusterError) as missing:
        default_image(b"\0")
    assert "PINNACE_NODE_IMAGE" in missing.value.hint


def test_a_manifest_names_its_configuration_and_an_index_its_manifests() -> None:
    assert mentioned('{"config": {"digest": "sha256:c"}, "layers": [{"digest": "sha256:l"}]}') == {"sha256:c"}
    assert mentioned('{"manifests": [{"digest": "sha256:m"}]}') == {"sha256:m"}


def test_wheels_for_older_c_libraries_are_welcome_too() -> None:
    tags = platforms("x86_64")
    assert tags[0] == "manylinux_2_36_x86_64"
    assert {"manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"} < set(tags)
    assert "manylinux_2_17_aarch64" in platforms("arm64")


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.name)
def test_each_product_has_its_dockerfile_its_lock_and_its_sources(product: object) -> None:
    name, sources = product.name, product.sources  # type: ignore[attr-defined]
    dockerfile = (ROOT / name / "Dockerfile").read_text()
    assert "ARG BASE_IMAGE" in dockerfile
    assert "USER 65532:65532" in dockerfile
    assert f":{PYTHON}" not in dockerfile.replace(f"python:{PYTHON}-slim", "")
    assert (ROOT / "locks" / f"{name}.txt").is_file()
    assert all((ROOT / source).is_dir() for source in sources)
    assert name in ALL
