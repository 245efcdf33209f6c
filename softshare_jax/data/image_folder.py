"""Folders of images, one for each class, as people and their machines keep them."""

import os
import pathlib

import numpy as np

from softshare_jax import paths
from softshare_jax.data.source import Encoded
from softshare_jax.errors import UserError

ENDINGS = (".jpeg", ".jpg", ".png")
# What file systems, network disks and archivers put beside data, in lower case.
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
    """Folders of images by class, ``n01440764/n01440764_18.JPEG``; labels count the sorted folders.

    Hidden files and folders, backups and what systems leave behind are no data.

    Attributes:
        class_names: by label; the names of the folders, as they can be printed.
    """

    def __init__(self, folder: pathlib.Path):
        """Lists the files.

        Raises:
            UserError: there is no such folder, or it holds no folders of images.
        """
        if not folder.is_dir():
            raise UserError(f"{folder} is not there: it holds a folder of JPEG files for each class")
        self._folders = [folder / name for name in _class_folders(folder)]
        self.class_names = [paths.printable(one.name) for one in self._folders]
        if not self._folders:
            raise UserError(f"{folder} holds no folders: sort its images into one for each class")
        self._files: list[str] = []
        numbers = []
        for one in self._folders:
            with os.scandir(one) as entries:
                files = sorted(entry.name for entry in entries if _is_image(entry))
            if not files:
                raise UserError(
                    f"{one} holds no image, and labels count the folders: add files that end in .JPEG or "
                    ".png, or remove the folder if it is no class"
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
    """Whether a file or folder of this name can be data: it is not hidden, a backup or a system's own."""
    return not name.startswith(".") and not name.endswith("~") and name.lower() not in _JUNK


def _class_folders(folder: pathlib.Path) -> list[str]:
    """Returns the names of the folders of classes, in the order of their labels.

    Raises:
        UserError: one is a link that leads nowhere; without it, all later classes would have other labels.
    """
    with os.scandir(folder) as entries:
        data = [entry for entry in entries if is_data(entry.name)]
    for entry in data:
        if entry.is_symlink() and not os.path.exists(entry.path):
            raise UserError(f"{entry.path} is a link that leads nowhere: mend it or remove it")
    return sorted(entry.name for entry in data if entry.is_dir())


def _is_image(entry: os.DirEntry) -> bool:
    # A link counts, whatever it leads to: reading it says what is wrong, and a million are not looked up.
    is_file = entry.is_symlink() or entry.is_file()
    return is_file and is_data(entry.name) and entry.name.lower().endswith(ENDINGS)
