"""Takes the current folder off the path that modules are imported from, where a command of this package runs.

``python -m`` puts it there, before the standard library. In a folder that somebody else filled, such as a
workdir that was sent, a file ``jax.py`` would be executed. Config files are programs, and modules beside them
are found while they are loaded; nothing else is imported from outside of what is installed.

The first import of each command leads here, so this module imports nothing that Python has not loaded.
"""

import os
import sys


def forget_current_folder() -> None:
    """Undoes what ``python -m`` did to the path, if it started a command of this package.

    Programs that import this package keep their path. In a checkout that is not installed the commands work
    as before, because the modules of a package are found in its own folder.
    """
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is None or spec.name.partition(".")[0] != __name__.partition(".")[0] or sys.flags.safe_path:
        return
    try:
        here = os.getcwd()
    except OSError:
        return  # Python could not add a folder that is gone
    if sys.path and sys.path[0] in ("", here):
        del sys.path[0]


forget_current_folder()
