"""What the commands may say to a person instead of a traceback."""


class UserError(Exception):
    """A mistake in what was asked for: one line on stderr, exit code 2."""

    exit_code = 2


class RunError(Exception):
    """A fault that is not the user's doing, such as a loss that is not finite or
    a workdir whose checkpoints are all damaged: one line on stderr, exit code 1."""

    exit_code = 1


def one_line(error: Exception, folder: object = "", limit: int = 120) -> str:
    """Returns what an error of a library says: one line of so many characters at most.

    Args:
        error: its type is named where it says nothing.
        folder: that the message around it names already.
        limit: of the line, in characters.
    """
    said = str(error).replace(f"{folder}/", "") if folder else str(error)
    return " ".join(said.split())[:limit] or type(error).__name__
