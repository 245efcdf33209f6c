"""Reads TFRecord files and verifies their checksums, without TensorFlow."""

import struct
from collections.abc import Iterator

_LENGTH = struct.Struct("<QI")
_CRC = struct.Struct("<I")


def read(file: str) -> Iterator[bytes]:
    """Yields the records of a file. Each is stored as length, its checksum, data and its checksum.

    Raises:
        ValueError: the file is cut off, or a checksum does not match.
    """
    from google_crc32c import value as crc32c

    def check(content: bytes, expected: int) -> None:
        # The format masks checksums, because a CRC of data that contains CRCs is weak.
        crc = crc32c(content)
        if ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF != expected:
            raise ValueError(f"{file} is damaged: the checksum of record {number} does not match")

    number = 0
    with open(file, "rb") as stream:
        while header := stream.read(_LENGTH.size):
            if len(header) < _LENGTH.size:
                raise ValueError(f"{file} ends in the middle of a record")
            length, expected = _LENGTH.unpack(header)
            check(header[:8], expected)
            body = stream.read(length + _CRC.size)
            if len(body) < length + _CRC.size:
                raise ValueError(f"{file} ends in the middle of a record")
            record = body[:length]
            check(record, _CRC.unpack(body[length:])[0])
            yield record
            number += 1
