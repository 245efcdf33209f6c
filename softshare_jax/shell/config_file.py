"""Config files: Python that returns a ConfigDict, loaded with one line for whatever is wrong in them."""

import contextlib
import importlib.machinery
import importlib.util
import inspect
import pathlib
import re
import sys
import traceback
import types

from ml_collections import ConfigDict
from ml_collections.config_dict import FieldReference, FrozenConfigDict, RequiredValueError

from softshare_jax.errors import UserError, nearest, one_line, unknown

# The name of the module that a config file is while it is loaded.
MODULE = "softshare_jax_config"
# Part of the package: in a checkout a link to the folder of that name.
SHIPPED = pathlib.Path(__file__).parents[1] / "configs"


def load(named: str) -> ConfigDict:
    """Returns what ``get_config`` of a config file returns.

    Args:
        named: ``NAME`` of a config that the package ships, or ``FILE``; with ``:VARIANT`` after it, which
            is the argument of ``get_config``.

    Raises:
        UserError: the file is missing or fails, takes no such variant, or returns something else.
    """
    name, colon, variant = named.partition(":")
    if re.fullmatch(r"\w+", name):
        file = SHIPPED / f"{name}.py"
        if not file.is_file():
            shipped = sorted(path.stem for path in SHIPPED.glob("*.py"))
            raise UserError(unknown("config", name, shipped, "a config of your own is a FILE.py"))
    else:
        file = pathlib.Path(name).expanduser()
        if not file.is_file():
            why = "is a folder" if file.is_dir() else "does not exist"
            siblings = [str(path) for path in file.parent.glob("*.py") if path.is_file()]
            raise UserError(f"--config={name} {why}{nearest(name, siblings)}")
    arguments = (variant,) if colon else ()
    try:
        get_config = getattr(_execute(file), "get_config", None)
        if not callable(get_config):
            raise UserError(f"{name} is not a config: it has no function get_config")
        try:
            inspect.signature(get_config).bind(*arguments)
        except TypeError:
            takes = f"no variant, not {variant!r}" if colon else f"a variant: --config={name}:VARIANT"
            raise UserError(f"{name} takes {takes}") from None
        config = get_config(*arguments)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(_where(error, file)) from error
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"get_config of {name} returns {one_line(repr(config), 60)}; it has to return a ConfigDict"
        )
    return ConfigDict(config) if isinstance(config, FrozenConfigDict) else config


def open_fields(config: ConfigDict, prefix: str = "") -> dict[str, FieldReference]:
    """Returns the fields that a config leaves to the command line, such as ``'data.side'``."""
    found: dict[str, FieldReference] = {}
    for field in config:
        try:
            value = config[field]
        except RequiredValueError:
            found[prefix + field] = config.get_ref(field)
        else:
            if isinstance(value, ConfigDict):
                found |= open_fields(value, f"{prefix}{field}.")
    return found


def _execute(file: pathlib.Path) -> types.ModuleType:
    """Runs a file as a module, whatever its suffix. It can import what lies beside it, as a script can."""
    loader = importlib.machinery.SourceFileLoader(MODULE, str(file))
    spec = importlib.util.spec_from_loader(MODULE, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module  # dataclasses look for the module that they are defined in
    beside = str(file.parent.absolute())
    sys.path.append(beside)
    try:
        loader.exec_module(module)
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(beside)
    return module


def _where(error: BaseException, file: pathlib.Path) -> str:
    """Returns file, line and text of an error in a config file, or in a file beside it."""
    if isinstance(error, SyntaxError):
        return f"{error.filename or file}, line {error.lineno or '?'}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    folder = file.parent.resolve()
    own = [frame for frame in frames if pathlib.Path(frame.filename).resolve().parent == folder]
    place = f"{own[-1].filename}, line {own[-1].lineno}" if own else str(file)
    return f"{place}: {type(error).__name__}: {one_line(error) or 'no reason given'}"
