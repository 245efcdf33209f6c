"""What was found and measured, as a JSON file that is complete after each entry."""

import json
import pathlib
from typing import Any

from softshare_jax import durable, json_text
from softshare_jax.errors import UserError


class Notes:
    """A JSON object on disk. Setting an entry writes the file, so a crash loses only what was under way."""

    def __init__(self, file: pathlib.Path):
        """Reads the file, if there is one.

        Raises:
            UserError: it is not a JSON object.
        """
        self.file = file
        self._values: Any = {}
        try:
            if file.exists():
                self._values = json_text.parse(file.read_bytes())
            if not isinstance(self._values, dict):
                raise ValueError("it is no object")
        except ValueError as error:
            raise UserError(f"{file} is not JSON ({error}): delete it to measure again") from error

    def __setitem__(self, name: str, value: Any) -> None:
        self._values[name] = value
        durable.write(self.file, (json.dumps(self._values, indent=1) + "\n").encode())

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def clear(self) -> None:
        """Forgets everything; the file follows with the next entry."""
        self._values = {}
