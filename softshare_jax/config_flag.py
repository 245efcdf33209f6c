"""The flag --config, for the commands that take a config file, and how they parse their flags."""

import re
import sys
from typing import Any

import ml_collections
from absl import flags
from ml_collections import config_flags

from softshare_jax.errors import UserError

FLAGS = flags.FLAGS
# What absl and ml_collections raise for a flag, a field or a file that is none.
MISTAKES = (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError, SyntaxError)
_FIELD = re.compile(r"--?(no)?config\.")
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
    except MISTAKES as error:
        raise UserError(_one_line(error)) from error
    if extra:
        raise UserError(f"{extra[0]!r} is not a flag (see --help)")
    return values


def split_fields(argv: list[str]) -> tuple[list[str], list[str]]:
    """Returns the arguments that set a field of a config, ``--config.FIELD=VALUE``, and the others."""
    fields = [argument for argument in argv if _FIELD.match(argument)]
    return fields, [argument for argument in argv if argument not in fields]


def set_fields(values: dict[str, Any], fields: list[str]) -> dict[str, Any]:
    """Returns the values of a config with fields set by arguments, as ``split_fields`` returns them.

    Raises:
        UserError: there is no such field, or it takes no such value.
    """
    alone = flags.FlagValues()
    argv = ["", *fields]
    try:
        config_flags.DEFINE_config_dict(
            "config", ml_collections.ConfigDict(values), flag_values=alone, sys_argv=argv
        )
        alone(argv)
    except MISTAKES as error:
        raise UserError(_one_line(error)) from error
    return alone.config.to_dict()


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
