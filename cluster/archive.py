"""Container images as files: layers, and the archive that `docker save` would write and containerd imports."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
SEARCHED = "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image: the names it goes by, its layers (tar files), and what it runs."""

    names: tuple[str, ...]
    layers: tuple[Path, ...]
    entrypoint: tuple[str, ...] = ()
    environment: tuple[str, ...] = field(default=(SEARCHED,))


def write_layer(target: Path, files: Mapping[str, Path], links: Mapping[str, str]) -> None:
    """Write a layer: executable files by their path in the image, and symbolic links. Same input, same bytes."""
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as tar:
        folders = {str(parent) for name in (*files, *links) for parent in Path(name).parents if str(parent) != "."}
        for folder in sorted(folders):
            tar.addfile(_entry(folder, tarfile.DIRTYPE, 0o755))
        for name, source in sorted(files.items()):
            entry = _entry(name, tarfile.REGTYPE, 0o755)
            entry.size = source.stat().st_size
            with source.open("rb") as content:
                tar.addfile(entry, content)
        for name, meant in sorted(links.items()):
            entry = _entry(name, tarfile.SYMTYPE, 0o777)
            entry.linkname = meant
            tar.addfile(entry)


def write_archive(target: Path, images: Sequence[Image]) -> None:
    """Write an archive of images; a layer that several share is stored once."""
    manifest = []
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as tar:
        stored: dict[Path, str] = {}
        for image in images:
            for layer in image.layers:
                if layer not in stored:
                    stored[layer] = _digest(layer)
                    tar.add(layer, arcname=f"{stored[layer]}.tar", filter=_anonymous)
            config = json.dumps(_config(image, [stored[layer] for layer in image.layers])).encode()
            name = f"{hashlib.sha256(config).hexdigest()}.json"
            _add_bytes(tar, name, config)
            layers = [f"{stored[layer]}.tar" for layer in image.layers]
            manifest.append({"Config": name, "RepoTags": list(image.names), "Layers": layers})
        _add_bytes(tar, "manifest.json", json.dumps(manifest).encode())


def _config(image: Image, digests: Sequence[str]) -> dict[str, object]:
    return {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Env": list(image.environment), "Entrypoint": list(image.entrypoint) or None},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
    }


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    entry.mode = 0o644
    return entry


def _add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = _entry(name, tarfile.REGTYPE, 0o644)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
