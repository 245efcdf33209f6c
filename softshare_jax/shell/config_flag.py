"""The flag ``--config`` and flag parsing for the commands that take a config."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from softshare_jax.config import reference
from softshare_jax.config.parsing import defaults
from softshare_jax.errors import UserError, one_line, unknown
from softshare_jax.shell import config_file

FLAGS = flags.FLAGS
_FIELD = re.compile(r"--?(no)?config\.")
flags.DEFINE_string(
    "config",
    None,
    "A shipped config, as NAME or NAME:VARIANT, such as quickstart or cifar10:swrn-28-10-2, or a file, as "
    "FILE.py or FILE.py:VARIANT. --config.FIELD=VALUE sets one of its fields; without --config it sets a "
    "field of the existing run's config.",
)


def parse(argv: Sequence[str], stored: Callable[[], Mapping[str, Any]]) -> dict[str, Any] | None:
    """Parses all flags and returns the values of the config, or ``None`` if no flag names or changes one.

    Args:
        argv: the command line, with the name of the program.
        stored: returns the config to change when ``--config`` is not given. It is called after the other
            flags are parsed.

    Raises:
        UserError: a flag is unknown or has an invalid value, or the config cannot be loaded.
    """
    FLAGS.set_gnu_getopt(True)  # flags may follow positional arguments
    FLAGS["config"].unparse()
    for name in list(FLAGS):
        if name.startswith("config."):
            delattr(FLAGS, name)  # defined by an earlier call
    try:
        argv = [argv[0], *FLAGS.read_flags_from_files(list(argv[1:]))]
        FLAGS(argv, known_only=True)
        fields = _fields(argv)
        config = None
        if FLAGS.config is not None:
            config = config_file.load(FLAGS.config)
            _complete(config, defaults(_data_set(config)))
        elif fields:
            config = ConfigDict(stored())
        if config is not None:
            _close(config, fields)
            _check_fields(config, fields)
            _define(config, argv)
        for name in FLAGS:
            if isinstance(FLAGS[name], flags.MultiFlag):
                FLAGS[name].unparse()  # or its values would be there twice
        extra = FLAGS(argv)[1:]
    except flags.UnrecognizedFlagError as error:
        raise UserError(unknown("flag", f"--{error.flagname}", _names(), "see --help")) from error
    except (flags.Error, ValueError, TypeError) as error:
        raise UserError(one_line(error).removeprefix("ERROR:: ")) from error
    if extra:
        raise UserError(f"unexpected argument {extra[0]!r} (see --help)")
    return None if config is None else config.to_dict()


def split_fields(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the arguments ``--config.FIELD=VALUE`` or ``--config.FIELD VALUE``, and all other arguments.

    >>> split_fields(["--model=wrn-16-1", "--config.seed=1", "--config.duration", "3 epochs", "--k=2"])
    (['--config.seed=1', '--config.duration', '3 epochs'], ['--model=wrn-16-1', '--k=2'])
    """
    fields: list[str] = []
    others: list[str] = []
    for before, argument in zip(["", *argv], argv, strict=False):
        is_value = _FIELD.match(before) and "=" not in before and not argument.startswith("-")
        (fields if _FIELD.match(argument) or is_value else others).append(argument)
    return fields, others


def set_fields(values: Mapping[str, Any], arguments: Sequence[str]) -> dict[str, Any]:
    """Returns the values of a config with fields changed by arguments that ``split_fields`` returned.

    Raises:
        UserError: a field is unknown or a value is invalid.
    """
    config, argv, alone = ConfigDict(values), ["", *arguments], flags.FlagValues()
    try:
        _check_fields(config, _fields(argv))
        config_flags.DEFINE_config_dict("config", config, flag_values=alone, sys_argv=argv)
        alone(argv)
    except (flags.Error, ValueError, TypeError) as error:
        raise UserError(one_line(error)) from error
    return config.to_dict()


def wants_help(doc: str | None, module: str) -> bool:
    """Prints the help of a command if the command line asks for it; returns whether it did."""
    if not {"-h", "--help"} & set(sys.argv):
        return False
    of_modules = [FLAGS.module_help(sys.modules[name]) for name in (module, __name__)]
    print("\n".join([doc or "", *of_modules, reference.as_text()]))
    return True


def _names() -> list[str]:
    """Returns the flags that the commands define, without absl's own."""
    own = FLAGS.flags_by_module_dict()
    return [
        f"--{flag.name}"
        for module, defined in own.items()
        if module.startswith("softshare_jax") or module == sys.argv[0]
        for flag in defined
    ]


def _fields(argv: Sequence[str]) -> list[str]:
    """Returns the fields that a command line sets, such as ``'data.side'``."""
    found = (re.match(r"--?(?:no)?config\.([^=]*)", argument) for argument in argv[1:])
    return [match[1] for match in found if match]


def _data_set(config: ConfigDict) -> Any:
    """Returns the data set's name in a config, or ``None`` if it has none."""
    data = config.get("data")
    return data.get("name") if isinstance(data, ConfigDict) else None


def _complete(config: ConfigDict, values: Mapping[str, Any]) -> None:
    """Adds default values for the fields that a config file omits."""
    with config.unlocked():
        for name, value in values.items():
            if name not in config:
                config[name] = ConfigDict(value) if isinstance(value, Mapping) else value
            elif isinstance(value, Mapping) and isinstance(config[name], ConfigDict):
                _complete(config[name], value)


def _close(config: ConfigDict, fields: Sequence[str]) -> None:
    """Checks that the command line sets all placeholder fields of a config file."""
    for field, placeholder in config_file.open_fields(config).items():
        if field in fields:
            placeholder.set(placeholder.get_type()())  # a config flag needs a value to replace
    for field in config_file.open_fields(config):
        raise UserError(f"{FLAGS.config} requires config.{field}: set --config.{field}=VALUE")


def _check_fields(config: ConfigDict, fields: Sequence[str]) -> None:
    """Checks that a config has the fields that the command line sets."""
    groups, names = _names_of(config)
    for field in fields:
        if field in groups:
            raise UserError(f"config.{field} is a group of fields: set one of its fields")
        if field not in names:
            raise UserError(unknown("config field", field, names, "see --help"))


def _names_of(config: ConfigDict, prefix: str = "") -> tuple[list[str], list[str]]:
    """Returns the full names of all groups of fields, and of all fields."""
    groups, names = [], []
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            inner = _names_of(value, f"{prefix}{name}.")
            groups += [prefix + name, *inner[0]]
            names += inner[1]
        else:
            names.append(prefix + name)
    return groups, names


def _define(config: ConfigDict, argv: Sequence[str]) -> None:
    """Defines a flag for each config field that the command line sets."""
    fields = flags.FlagValues()
    others = [argument for argument in argv if not re.match(r"--?config(=|$)", argument)]
    config_flags.DEFINE_config_dict("config", config, flag_values=fields, sys_argv=others)
    for name in fields:
        if name != "config":
            FLAGS[name] = fields[name]
