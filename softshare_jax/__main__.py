"""The command ``softshare``, also ``python -m softshare_jax``, with one subcommand per task.

softshare train --config=quickstart --workdir=runs/quickstart
"""

import functools
import importlib
import sys
from typing import NamedTuple, NoReturn

from softshare_jax.shell import ending


class Command(NamedTuple):
    """A subcommand.

    Attributes:
        module: module of this package; ``python -m softshare_jax.MODULE`` runs the same command.
        doc: one-line description.
        arguments: arguments to insert before the user's.
    """

    module: str
    doc: str
    arguments: tuple[str, ...] = ()


COMMANDS = {
    "train": Command("main", "train a network, or resume a run"),
    "evaluate": Command("main", "evaluate the newest checkpoint of a run", ("--mode=evaluate",)),
    "fold": Command("fold", "fold a trained run into an explicitly recurrent one"),
    "report": Command("report", "write a page about one or more runs"),
    "describe": Command("describe", "count a network's parameters and FLOPs, and compile it for a topology"),
    "convert": Command("convert", "share a trained run, change its templates, or import from PyTorch"),
    "config": Command("show_config", "print a complete config as JSON"),
    "export": Command("export", "export a run as StableHLO and safetensors"),
    "run": Command("loader", "run an exported network"),
    "poster": Command("poster", "compare runs with the tables of the paper's poster"),
}


def main() -> None:
    """Runs the command that the first argument names."""
    ending.start()
    name, rest = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    from softshare_jax.shell import cli

    if name not in COMMANDS:
        cli.run(lambda: _answer(name))
    command = COMMANDS[name]
    given = {argument.lstrip("-").partition("=")[0] for argument in rest if argument.startswith("-")}
    for flag in (argument.lstrip("-").partition("=")[0] for argument in command.arguments):
        if flag in given:
            cli.run(functools.partial(_refuse, flag, name))
    sys.argv = [f"softshare {name}", *command.arguments, *rest]
    cli.run(importlib.import_module(f"softshare_jax.{command.module}").main)


def _refuse(flag: str, name: str) -> NoReturn:
    """Rejects a flag that the command sets by itself.

    Raises:
        UserError: always.
    """
    from softshare_jax.errors import UserError

    raise UserError(f"--{flag} does not apply to softshare {name} (see --help)")


def _answer(name: str) -> None:
    """Handles ``--version``, ``--help`` and unknown commands.

    Raises:
        UserError: the name is not a command or an option.
    """
    import softshare_jax
    from softshare_jax.errors import UserError, unknown

    if name == "--version":
        print(softshare_jax.__version__)
    elif name in ("-h", "--help"):
        listed = "\n".join(f"  {name:10} {command.doc}" for name, command in COMMANDS.items())
        print(f"usage: softshare COMMAND [--help] ...\n\n{listed}")
    else:
        raise UserError(unknown("command", name, COMMANDS, "see softshare --help"))


if __name__ == "__main__":
    main()
