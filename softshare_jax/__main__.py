"""The command ``softshare``, also ``python -m softshare_jax``: one name for all commands.

softshare train --config=quickstart --workdir=runs/quickstart
"""

import importlib
import sys
from typing import NamedTuple

from softshare_jax.shell import ending


class Command(NamedTuple):
    """A command.

    Attributes:
        module: of this package; ``python -m softshare_jax.MODULE`` is the same command.
        doc: what it does, in a line.
        arguments: that stand before a person's own.
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
    sys.argv = [f"softshare {name}", *command.arguments, *rest]
    cli.run(importlib.import_module(f"softshare_jax.{command.module}").main)


def _answer(name: str) -> None:
    """Answers an argument that is not a command.

    Raises:
        UserError: it is not a known option either.
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
