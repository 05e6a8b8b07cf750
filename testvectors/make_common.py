"""What all makers of vectors use."""

from typing import Any

from device import hash32

ORIGIN = "testvectors/generate.py, from core/PROTOCOL.md with libsodium, OpenSSL and hashlib"
Vector = dict[str, Any]


def some(name: str, size: int = 32) -> bytes:
    """Bytes that belong to a name."""
    blocks = (hash32(f"homing vectors {name} {i}".encode()) for i in range(-(-size // 32)))
    return b"".join(blocks)[:size]


def named(relay: str) -> bytes:
    """A relay's name behind its length, as the proofs of 12.2 and 12.3 have it."""
    return bytes([len(relay)]) + relay.encode()


def with_errors(vector: Vector, errors: tuple[str, ...]) -> Vector:
    """The vector with why it is to be refused: the first of `errors`, or one of the others."""
    return vector | {"error": errors[0]} | ({"or": list(errors[1:])} if errors[1:] else {})
