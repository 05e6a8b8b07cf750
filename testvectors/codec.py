"""The frames of core/PROTOCOL.md 9.1 and 12.1 as tables, and what follows from them: reading and writing. Written from
the document alone. `generate.py` makes vectors with it, `candidate.py` answers with it.

A frame's fields are JSON: numbers up to 32 bits as numbers, those of 64 bits as decimal strings, bytes as hex, texts as
they are.
"""

from typing import Any

from device import Refused

Fields = dict[str, Any]

# A field is a name and a kind: a number of 1, 2, 4 or 8 bytes; so many bytes; bytes behind a length of one or two bytes;
# a text of at most 64 bytes behind a length byte.
FRAMES: dict[str, tuple[int, str]] = {
    "PING": (0x01, "number:u64"),
    "PONG": (0x02, "number:u64"),
    "CLOSE": (0x03, "scope:u8 code:u16 text:text"),
    "PAIR_FINISH": (0x10, "platform:u8 name:text"),
    "PAIR_PENDING": (0x11, "seconds:u16"),
    "PAIR_ACCEPT": (0x12, "device_id:8 token:40 route_id:16 capability:45 host_name:text"),
    "PAIR_ACK": (0x13, ""),
    "AUTH": (0x18, "kind:u8 token:40 session_id:16 proof:16"),
    "AUTH_OK": (0x19, "kind:u8 proof:16"),
    "TOKEN": (0x1A, "token:40"),
    "TOKEN_ACK": (0x1B, ""),
    "CAP": (0x1C, "capability:45"),
    "ROTATE": (0x1D, "ticket:data8"),
    "GUEST": (0x1E, "caveats:caveats"),
    "STREAM": (0x20, "fin:flag id:u32 offset:u64 data:data16"),
    "STREAM_CREDIT": (0x21, "id:u32 received:u64 limit:u64"),
    "SESSION_CREDIT": (0x22, "limit:u64"),
    "STREAMS_CREDIT": (0x23, "streams:u32"),
    "RESET": (0x24, "id:u32 code:u16 size:u64"),
    "STOP": (0x25, "id:u32 code:u16"),
    "DATAGRAM": (0x26, "data:data16"),
    "RESUME_STATE": (0x28, "seen:u32 received:u64 limit:u64 entries:entries"),
}
ENTRY = "id:u32 received:u64 limit:u64 flags:u8"  # of RESUME_STATE

LINK, CHANNEL, EITHER = "link", "channel", "either"
HOP: dict[str, tuple[int, str, str]] = {
    "HELLO": (0x80, LINK, "version:u8 flags:u8 nonce:32 ephemeral:32"),
    "REGISTER": (0x81, LINK, "route_pub:32 mac:16 k_cap:32 k_cap_previous:32 operator_key:name"),
    "OK": (0x82, LINK, "ttl:u32"),
    "PAIR_SLOT": (0x83, LINK, "rv_hash:16 ttl:u16"),
    "CAP_DENY": (0x84, LINK, "cap_id:8 until:u32"),
    "DIAL": (0x85, CHANNEL, "route_id:16 cap_id:8 expiry:u32 class:u8 proof:16"),
    "DIAL_PAIR": (0x86, CHANNEL, "rendezvous:16"),
    "INCOMING": (0x87, CHANNEL, "channel_id:16 kind:u8 cap_id:8 credit:u32"),
    "ACCEPT": (0x88, CHANNEL, "credit:u32"),
    "REFUSE": (0x89, CHANNEL, "code:u8"),
    "OPENED": (0x8A, CHANNEL, "channel_id:16 credit:u32"),
    "DATA": (0x8B, CHANNEL, "data:rest"),
    "CREDIT": (0x8C, CHANNEL, "credit:u32"),
    "CLOSED": (0x8D, EITHER, "code:u8"),
    "PING": (0x8E, LINK, "number:u64"),
    "PONG": (0x8F, LINK, "number:u64"),
    "ATTACH": (0x90, LINK, "channel_id:16 mac:16"),
    "KNOCK": (0x91, LINK, ""),
}
NUMBERS = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}
LENGTHS = {"data8": 1, "data16": 2, "text": 1, "name": 1}


def require(holds: bool) -> None:
    if not holds:
        raise Refused("malformed")


class Input:
    """Bytes that are taken apart from the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, size: int) -> bytes:
        require(size <= len(self.data))
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def field(self, kind: str) -> Any:
        if kind in NUMBERS:
            number = self.number(NUMBERS[kind])
            return str(number) if kind == "u64" else number
        if kind == "flag":
            value = self.number(1)
            require(value <= 1)
            return value == 1
        if kind == "rest":
            return self.take(len(self.data)).hex()
        if kind == "entries":
            count = self.number(1)
            require(count & 127 <= 64)
            return {"more": count >= 128, "entries": [self.fields(ENTRY) for _ in range(count & 127)]}
        if kind == "caveats":
            before, count = len(self.data), self.number(1)
            require(1 <= count <= 8)
            caveats = [self.field("data16") for _ in range(count)]
            require(all(caveats) and before - len(self.data) <= 1536)
            return caveats
        if kind in LENGTHS:
            length = self.number(LENGTHS[kind])
            require(length <= 64 or kind in ("data8", "data16"))
            value = self.take(length)
            return text_of(value) if kind == "text" else value.hex()
        return self.take(int(kind)).hex()

    def fields(self, layout: str) -> Fields:
        fields: Fields = {}
        for name, kind in (part.split(":") for part in layout.split()):
            value = self.field(kind)
            fields |= value if kind == "entries" else {name: value}
        return fields


def text_of(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Refused("malformed") from None


def emit_field(value: Any, kind: str, fields: Fields) -> bytes:
    if kind in NUMBERS:
        return int(value).to_bytes(NUMBERS[kind], "little")
    if kind == "flag":
        return bytes([value])
    if kind == "entries":
        count = len(value) | (128 if fields["more"] else 0)
        return bytes([count]) + b"".join(emit_fields(ENTRY, entry) for entry in value)
    if kind == "caveats":
        return bytes([len(value)]) + b"".join(emit_field(caveat, "data16", fields) for caveat in value)
    if kind == "text":
        data = clip(value)
        return bytes([len(data)]) + data
    data = bytes.fromhex(value)
    return len(data).to_bytes(LENGTHS[kind], "little") + data if kind in LENGTHS else data


def emit_fields(layout: str, fields: Fields) -> bytes:
    parts = (part.split(":") for part in layout.split())
    return b"".join(emit_field(fields[name], kind, fields) for name, kind in parts)


def clip(text: str) -> bytes:
    """At most 64 bytes, cut between characters (9.1)."""
    data = text.encode()[:64]
    return data.decode(errors="ignore").encode()


def emit_frame(name: str, fields: Fields) -> bytes:
    kind, layout = FRAMES[name]
    return bytes([kind]) + emit_fields(layout, fields)


def parse_frame(data: bytes) -> tuple[str, Fields, bytes]:
    """The first frame of a plaintext, and what follows it. Not for padding."""
    source = Input(data)
    kind = source.number(1)
    names = [name for name, (number, _) in FRAMES.items() if number == kind]
    require(bool(names))
    name = names[0]
    fields = source.fields(FRAMES[name][1])
    require(name != "CLOSE" or fields["scope"] <= 1)
    if name in ("AUTH", "AUTH_OK"):
        unused = fields["proof"] + fields.get("session_id", "")
        require(fields["kind"] == 1 or (fields["kind"] == 0 and not any(bytes.fromhex(unused))))
    return name, fields, source.data


def split_frames(plaintext: bytes) -> list[bytes]:
    """The frames of a record, without its padding."""
    frames, rest = [], plaintext
    while rest and rest[0]:
        _, _, after = parse_frame(rest)
        frames.append(rest[: len(rest) - len(after)])
        rest = after
    require(not any(rest))
    return frames


def emit_hop(name: str, idx: int, fields: Fields) -> bytes:
    kind, _, layout = HOP[name]
    return bytes([kind]) + idx.to_bytes(4, "little") + emit_fields(layout, fields)


def parse_hop(message: bytes) -> tuple[str, int, Fields]:
    source = Input(message)
    kind, idx = source.number(1), source.number(4)
    names = [name for name, (number, _, _) in HOP.items() if number == kind]
    require(bool(names))
    name = names[0]
    place, layout = HOP[name][1:]
    require(place == EITHER or (idx == 0) == (place == LINK))
    fields = source.fields(layout)
    require(not source.data)
    if name == "DATA":
        require(2 <= len(fields["data"]) <= 2 * 16412)
    elif name == "CREDIT":
        require(fields["credit"] >= 1)
    elif name == "INCOMING":
        require(fields["kind"] == 0 or (fields["kind"] == 1 and not int(fields["cap_id"], 16)))
    require(fields.get("code", 0) <= 11)
    return name, idx, fields
