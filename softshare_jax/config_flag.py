"""The flag --config, for the commands that take a config file, and how they parse their flags."""

import sys
from typing import Any

from absl import flags
from ml_collections import config_flags

from softshare_jax.errors import UserError

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file(
    "config", None, "Config file, as FILE or FILE:VARIANT; any field is set by --config.FIELD=VALUE."
)


def parse(argv: list[str]) -> dict[str, Any] | None:
    """Parses all flags and returns the values of the config, ``None`` where none is named.

    Raises:
        UserError: a flag is unknown or has no such value, or the config cannot be loaded.
    """
    try:
        extra = FLAGS(argv)[1:]
        # A config file that cannot be loaded says so only when it is used.
        values = None if FLAGS.config is None else FLAGS.config.to_dict()
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError, SyntaxError) as error:
        raise UserError(_one_line(error)) from error
    if extra:
        raise UserError(f"{extra[0]!r} is not a flag (see --help)")
    return values


def _one_line(error: Exception) -> str:
    inner = error.args[0] if error.args else None
    if isinstance(inner, KeyError):  # so ml_collections refuses a field: its text is the quoted name alone
        return f"the config has no field {' '.join(str(inner.args[0]).split())}"
    return " ".join(str(error).split())


def wants_help(doc: str | None, module: str) -> bool:
    """Prints the help of a command and returns true where it was asked for."""
    if not {"-h", "--help"} & set(sys.argv):
        return False
    print(f"{doc}\n{FLAGS.module_help(sys.modules[module])}\n{FLAGS.module_help(sys.modules[__name__])}")
    return True
