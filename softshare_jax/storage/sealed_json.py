"""JSON documents with a checksum of their content."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SEAL = "seal"


def seal(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns values together with their checksum, under the key ``seal``."""
    return {**values, SEAL: _digest(values)}


def unseal(values: Any) -> dict[str, Any]:
    """Returns the values of a sealed document without the checksum.

    Raises:
        ValueError: it is not an object, has no seal, or does not match its seal.
    """
    if not isinstance(values, dict):
        raise ValueError("it is not a JSON object")
    content = {name: value for name, value in values.items() if name != SEAL}
    if SEAL not in values:
        raise ValueError("its seal is missing")
    if values[SEAL] != _digest(content):
        raise ValueError("its seal does not match its content")
    return content


def _digest(values: Mapping[str, Any]) -> str:
    """Returns 16 hex digits over values as JSON, independent of key order and layout."""
    # A round trip turns tuples into lists, as they are read back.
    as_read = json.loads(json.dumps(values))
    text = json.dumps(as_read, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
