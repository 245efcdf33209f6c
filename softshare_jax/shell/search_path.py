"""Removes the current folder from ``sys.path`` when a command of this package runs.

``python -m`` puts the current folder first in ``sys.path``. In an untrusted folder, such as another
person's workdir, a file ``jax.py`` would then be executed. Config files are programs and can import modules
beside them; everything else is imported from installed packages.

Each command imports this module first, so it imports only modules that Python has already loaded.
"""

import os
import sys


def forget_current_folder() -> None:
    """Removes the entry that ``python -m`` added to ``sys.path``, if it started a command of this package.

    Programs that import this package keep their path. Commands of a checkout that is not installed still
    work, because the package is already imported and finds its modules in its own folder.
    """
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is None or spec.name.partition(".")[0] != __name__.partition(".")[0] or sys.flags.safe_path:
        return
    try:
        here = os.getcwd()
    except OSError:
        return  # the folder was deleted, so Python added nothing
    if sys.path and sys.path[0] in ("", here):
        del sys.path[0]


forget_current_folder()
