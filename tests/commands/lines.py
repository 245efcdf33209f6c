"""What a command prints after a mistake of the user or a fault of the machine."""

import subprocess


def check(result: subprocess.CompletedProcess[str], message: str, code: int = 2) -> None:
    """Checks that a command printed nothing but one error line that contains a message, and its exit code."""
    check_fault(result, message, code)
    assert result.stdout == ""


def check_fault(result: subprocess.CompletedProcess[str], message: str, code: int) -> None:
    """Checks the error line and the exit code of a command that may have begun its work."""
    assert result.returncode == code, (result.stdout, result.stderr)
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: "), line
    assert message in line, line
    assert len(line) < 300, line
