"""CURVE keys as text: Z85 (ZeroMQ RFC 32, 40 characters) or 64 hex digits, both of 32 bytes; pure, standard library only."""

from __future__ import annotations

KEY_BYTES = 32
ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_VALUES = {letter: value for value, letter in enumerate(ALPHABET)}


def encode_z85(data: bytes) -> str:
    """Five characters for every four bytes of `data`, whose length is a multiple of four."""
    return "".join(
        ALPHABET[int.from_bytes(data[at : at + 4], "big") // 85**place % 85] for at in range(0, len(data), 4) for place in (4, 3, 2, 1, 0)
    )


def decode_z85(text: str) -> bytes:
    """The bytes of `encode_z85`. Raises ValueError for another length, another character or a group above 32 bits."""
    if len(text) % 5:
        raise ValueError(f"{len(text)} characters are no multiple of five")
    groups = (text[at : at + 5] for at in range(0, len(text), 5))
    try:
        return b"".join(_number(group).to_bytes(4, "big") for group in groups)
    except (KeyError, OverflowError) as exc:
        raise ValueError(f"not Z85: {exc}") from exc


def decode_key(text: str) -> bytes:
    """The 32 bytes of a key in Z85 or hex. Raises ValueError."""
    key = bytes.fromhex(text) if len(text) == 2 * KEY_BYTES else decode_z85(text)
    if len(key) != KEY_BYTES:
        raise ValueError(f"{len(text)} characters; a key has 40 in Z85 or 64 in hex")
    return key


def _number(group: str) -> int:
    number = 0
    for letter in group:
        number = number * 85 + _VALUES[letter]
    return number
