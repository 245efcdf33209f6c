"""What a command prints after a user's mistake."""

import subprocess


def check(result: subprocess.CompletedProcess[str], message: str, code: int = 2) -> None:
    """Checks that a command ended with an exit code and one error line that contains a message."""
    assert result.returncode == code, (result.stdout, result.stderr)
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: "), line
    assert message in line, line
    assert len(line) < 300, line
    assert result.stdout == ""
