"""Images in one folder per class."""

import os
import pathlib

import numpy as np

from softshare_jax import paths
from softshare_jax.data.source import Encoded
from softshare_jax.errors import UserError

ENDINGS = (".jpeg", ".jpg", ".png")
# Files and folders that file systems, network disks and archivers add, in lower case.
_JUNK = frozenset(
    (
        "$recycle.bin",
        "#recycle",
        "#snapshot",
        "@eadir",
        "@recycle",
        "@tmp",
        "__macosx",
        "__pycache__",
        "desktop.ini",
        "lost+found",
        "lost.dir",
        "system volume information",
        "thumbs.db",
    )
)


class FolderSource:
    """Images in one folder per class, ``n01440764/n01440764_18.JPEG``; labels number the sorted folders.

    Hidden files, backups and system files are ignored.

    Attributes:
        class_names: printable names of the folders, by label.
    """

    def __init__(self, folder: pathlib.Path):
        """Lists the files.

        Raises:
            UserError: the folder is missing, or it has no folders of images.
        """
        if not folder.is_dir():
            raise UserError(f"{folder} does not exist: create it with one folder of JPEG files per class")
        self._folders = [folder / name for name in _class_folders(folder)]
        self.class_names = [paths.printable(one.name) for one in self._folders]
        if not self._folders:
            raise UserError(f"{folder} has no subfolders: sort its images into one folder per class")
        self._files: list[str] = []
        numbers = []
        for one in self._folders:
            with os.scandir(one) as entries:
                files = sorted(entry.name for entry in entries if _is_image(entry))
            if not files:
                raise UserError(
                    f"{one} has no images, but every folder is a class: add files that end in .JPEG or "
                    ".png, or remove the folder"
                )
            self._files += files
            numbers.append(len(files))
        self._labels = np.repeat(np.arange(len(numbers), dtype=np.int32), numbers)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Encoded:
        label = int(self._labels[index])
        path = self._folders[label] / self._files[index]
        return Encoded(path.read_bytes(), label, paths.printable(str(path)))


def is_data(name: str) -> bool:
    """Returns whether a name can be data: it is not that of a hidden file, a backup or a system file."""
    return not name.startswith(".") and not name.endswith("~") and name.lower() not in _JUNK


def _class_folders(folder: pathlib.Path) -> list[str]:
    """Returns the names of the class folders, in the order of their labels.

    Raises:
        UserError: one is a broken link. Without it, the labels of all later classes would change.
    """
    with os.scandir(folder) as entries:
        data = [entry for entry in entries if is_data(entry.name)]
    for entry in data:
        if entry.is_symlink() and not os.path.exists(entry.path):
            raise UserError(f"{entry.path} is a broken link: fix it or remove it")
    return sorted(entry.name for entry in data if entry.is_dir())


def _is_image(entry: os.DirEntry) -> bool:
    # Links count without a look at their target: that is faster, and reading reports a broken one.
    is_file = entry.is_symlink() or entry.is_file()
    return is_file and is_data(entry.name) and entry.name.lower().endswith(ENDINGS)
