"""JSON that anybody may have written: it is read, or refused with one kind of error."""

import json
from typing import Any


def parse(content: bytes) -> Any:
    """Returns the value of a JSON text.

    Raises:
        ValueError: it is not UTF-8, not JSON, or nested deeper than Python can follow.
    """
    try:
        return json.loads(content.decode())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
