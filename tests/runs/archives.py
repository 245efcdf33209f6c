"""Packed workdirs of older versions."""

import pathlib
import tarfile

ARCHIVES = pathlib.Path(__file__).parent / "workdirs"


def unpack(name: str, root: pathlib.Path) -> pathlib.Path:
    """Unpacks an archive into a folder and returns its workdir."""
    with tarfile.open(ARCHIVES / f"{name}.tar.gz") as archive:
        archive.extractall(root, filter="data")
    return root / name
