"""Loads config files: Python files that return a ConfigDict. Any failure is a one-line error."""

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

# Module name of a config file while it is loaded.
MODULE = "softshare_jax_config"
# The configs in the package; in a checkout this is a link to the top-level folder.
SHIPPED = pathlib.Path(__file__).parents[1] / "configs"


def load(named: str) -> ConfigDict:
    """Returns the result of ``get_config`` in a config file.

    Args:
        named: ``NAME`` of a shipped config, or ``FILE``; an optional suffix ``:VARIANT`` is the argument
            of ``get_config``.

    Raises:
        UserError: the file is missing or fails, rejects the variant, or does not return a ConfigDict.
    """
    name, colon, variant = named.partition(":")
    if re.fullmatch(r"\w+", name):
        file = SHIPPED / f"{name}.py"
        if not file.is_file():
            shipped = sorted(path.stem for path in SHIPPED.glob("*.py"))
            raise UserError(unknown("config", name, shipped, "for a config of your own, name a FILE.py"))
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
            raise UserError(f"{name} is not a config file: it must define a function get_config")
        try:
            inspect.signature(get_config).bind(*arguments)
        except TypeError:
            advice = f"takes no variant: remove :{variant}" if colon else "needs a variant: add :VARIANT"
            raise UserError(f"--config={name} {advice}") from None
        config = get_config(*arguments)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(_where(error, file)) from error
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"get_config of {name} returns {one_line(repr(config), 60)}; it must return a ConfigDict"
        )
    return ConfigDict(config) if isinstance(config, FrozenConfigDict) else config


def open_fields(config: ConfigDict, prefix: str = "") -> dict[str, FieldReference]:
    """Returns the placeholder fields of a config, such as ``'data.side'``; the command line must set them."""
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
    """Executes a file as a module, whatever its suffix. Like a script, it can import files beside it."""
    loader = importlib.machinery.SourceFileLoader(MODULE, str(file))
    spec = importlib.util.spec_from_loader(MODULE, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module  # dataclasses look up their own module
    beside = str(file.parent.absolute())
    sys.path.append(beside)
    try:
        loader.exec_module(module)
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(beside)
    return module


def _where(error: BaseException, file: pathlib.Path) -> str:
    """Returns file, line and text of an error in a config file or in a file beside it."""
    if isinstance(error, SyntaxError):
        return f"{error.filename or file}, line {error.lineno or '?'}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    folder = file.parent.resolve()
    own = [frame for frame in frames if pathlib.Path(frame.filename).resolve().parent == folder]
    place = f"{own[-1].filename}, line {own[-1].lineno}" if own else str(file)
    return f"{place}: {type(error).__name__}: {one_line(error) or 'no reason given'}"
