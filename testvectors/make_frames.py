"""Frames inside records (9.1)."""

import struct
from typing import Any

import codec
from device import Failed
from make_common import ORIGIN, Vector, some


def frames() -> Vector:
    def good(kind: str, about: str = "", /, **fields: Any) -> Vector:
        data = codec.emit_frame(kind, fields)
        assert codec.parse_frame(data) == (kind, fields, b""), kind
        return {"about": about or "usual", "type": kind, "fields": fields, "bytes": data.hex()}

    def bad(about: str, data: bytes) -> Vector:
        return {"about": about, "bytes": data.hex(), "error": "malformed"}

    token, cap, proof = some("token", 40).hex(), some("capability", 45).hex(), some("proof", 16).hex()
    device_id, route, session, zeros = (
        some("id", 8).hex(),
        some("route", 16).hex(),
        some("session", 16).hex(),
        "00" * 16,
    )
    top32, top64, name64 = (1 << 32) - 1, str((1 << 64) - 1), "é" * 32
    accept = {"device_id": device_id, "token": token, "route_id": route, "capability": cap}
    caveat = b'{"rules":null,"expires_at":1893456000}'.hex()
    entry = {"id": 4, "received": "70000", "limit": "135536", "flags": 0}
    over = {"id": 6, "received": "5", "limit": "65541", "flags": 1}
    resume = {"seen": 3, "received": "70005", "limit": "201077", "more": False}
    many = [{"id": 2 * i, "received": str(i), "limit": str(i + 65536), "flags": i & 1} for i in range(64)]
    vectors = [
        good("PING", number="0"),
        good("PING", "bytes in order", number=str(0x0123456789ABCDEF)),
        good("PING", "the highest", number=top64),
        good("PONG", number="1"),
        good("PONG", "the highest", number=top64),
        good("CLOSE", scope=0, code=0, text=""),
        good("CLOSE", "of the channel, with a text", scope=1, code=11, text="bye"),
        good("CLOSE", "a code that nobody knows", scope=0, code=65535, text="?"),
        good("CLOSE", "the longest text", scope=0, code=1, text="x" * 64),
        good("PAIR_FINISH", platform=2, name="Zoë"),
        good("PAIR_FINISH", "no name", platform=0, name=""),
        good("PAIR_FINISH", "a platform of the future, the longest name", platform=255, name=name64),
        good("PAIR_FINISH", "a control character, for the receiver to replace", platform=1, name="a\nb"),
        good("PAIR_PENDING", seconds=60),
        good("PAIR_PENDING", "the most", seconds=65535),
        good("PAIR_ACCEPT", **accept, host_name="nas"),
        good("PAIR_ACCEPT", "the longest", **accept, host_name=name64),
        good("PAIR_ACK"),
        good("AUTH", "a new session", kind=0, token=token, session_id=zeros, proof=zeros),
        good("AUTH", "resume", kind=1, token=token, session_id=session, proof=proof),
        good("AUTH_OK", "a new session", kind=0, proof=zeros),
        good("AUTH_OK", "resumed", kind=1, proof=proof),
        good("TOKEN", token=token),
        good("TOKEN_ACK"),
        good("CAP", capability=cap),
        good("ROTATE", ticket=some("ticket", 60).hex()),
        good("ROTATE", "the longest", ticket=some("ticket", 255).hex()),
        good("GUEST", caveats=[caveat]),
        good("GUEST", "the most, the longest", caveats=[some("caveat", 189).hex()] * 7 + [some("caveat", 196).hex()]),
        good("STREAM", fin=False, id=0, offset="0", data=b"\3web".hex()),
        good("STREAM", "announces a stream", fin=False, id=2, offset="0", data=""),
        good("STREAM", "the end alone", fin=True, id=1, offset="70000", data=""),
        good("STREAM", "the end with data, the highest numbers", fin=True, id=top32, offset=top64, data="ff"),
        good("STREAM", "the longest in a record", fin=False, id=4, offset="1", data=some("stream", 16368).hex()),
        good("STREAM_CREDIT", id=2, received="70000", limit="135536"),
        good("STREAM_CREDIT", "acknowledges a stream's end", id=2, received="70000", limit="0"),
        good("STREAM_CREDIT", "the highest numbers", id=top32, received=top64, limit=top64),
        good("SESSION_CREDIT", limit="131072"),
        good("SESSION_CREDIT", "the highest", limit=top64),
        good("STREAMS_CREDIT", streams=257),
        good("STREAMS_CREDIT", "the highest", streams=top32),
        good("RESET", id=2, code=0, size="9"),
        good("RESET", "the highest numbers", id=top32, code=65535, size=top64),
        good("STOP", id=3, code=3),
        good("STOP", "the highest numbers", id=top32, code=65535),
        good("DATAGRAM", data="6869"),
        good("DATAGRAM", "empty", data=""),
        good("RESUME_STATE", "no stream", **resume, entries=[]),
        good("RESUME_STATE", "one open, one over", **resume, entries=[entry, over]),
        good("RESUME_STATE", "the most entries", **resume, entries=many),
        good("RESUME_STATE", "the most entries, and more to come", **resume | {"more": True}, entries=many),
        good(
            "RESUME_STATE",
            "none, and more to come, the highest numbers",
            seen=top32,
            received=top64,
            limit=top64,
            more=True,
            entries=[],
        ),
    ]
    long_name = "a" + "é" * 40
    emit_only = [
        {
            "about": "a name that is too long is cut between characters",
            "type": "PAIR_FINISH",
            "fields": {"platform": 3, "name": long_name},
            "bytes": codec.emit_frame("PAIR_FINISH", {"platform": 3, "name": long_name}).hex(),
        }
    ]
    used = {codec.FRAMES[v["type"]][0] for v in vectors}
    assert len(used) == len(codec.FRAMES)
    unknown = sorted({0x04, 0x0F, 0x14, 0x17, 0x1F, 0x27, 0x29, 0x40, 0x80, 0xFF} - used)
    first = {
        v["type"]: bytes.fromhex(v["bytes"]) for v in reversed(vectors) if v["type"] != "STREAM" or v["fields"]["data"]
    }
    first |= {"RESUME_STATE": bytes.fromhex(next(v["bytes"] for v in vectors if v["about"] == "one open, one over"))}
    resume_head = struct.pack("<BIQQ", 0x28, 3, 70005, 201077)
    auth, auth_ok = bytes.fromhex("18") + bytes(1), bytes.fromhex("19") + bytes(1)
    invalid = [bad(f"an unknown type, {kind:02x}", bytes([kind]) + bytes(8)) for kind in unknown]
    invalid += [bad(f"{name}, its last byte missing", data[:-1]) for name, data in first.items() if len(data) > 1]
    invalid += [bad(f"{name}, its type alone", data[:1]) for name, data in first.items() if len(data) > 2]
    invalid += [
        bad("CLOSE of an unknown scope", bytes.fromhex("0302000000")),
        bad("CLOSE, a text of 65 bytes", bytes.fromhex("0300000041") + b"x" * 65),
        bad("CLOSE, a text that is not UTF-8", bytes.fromhex("030000000180")),
        bad("CLOSE, a character that is cut off", bytes.fromhex("0300000001c3")),
        bad("CLOSE, a text shorter than its length", bytes.fromhex("030000000378")),
        bad("PAIR_FINISH, a name of 65 bytes", b"\x10\0\x41" + b"x" * 65),
        bad("PAIR_FINISH, a name of 255 bytes", b"\x10\0\xff" + b"x" * 255),
        bad("PAIR_FINISH, UTF-8 that is longer than it has to be", bytes.fromhex("100002c0af")),
        bad("PAIR_FINISH, half of a surrogate pair", bytes.fromhex("100003eda080")),
        bad("PAIR_ACCEPT, a name of 65 bytes", b"\x12" + bytes(109) + b"\x41" + b"x" * 65),
        bad("AUTH of an unknown kind", b"\x18\2" + bytes.fromhex(token) + bytes(32)),
        bad("AUTH, a session's id without resuming", auth + bytes.fromhex(token) + b"\1" + bytes(31)),
        bad("AUTH, a proof without resuming", auth + bytes.fromhex(token) + bytes(31) + b"\1"),
        bad("AUTH_OK of an unknown kind", b"\x19\2" + bytes(16)),
        bad("AUTH_OK, a proof without resuming", auth_ok + bytes(15) + b"\1"),
        bad("ROTATE, shorter than its length", b"\x1d\x3c" + bytes(59)),
        bad("GUEST, no caveat", b"\x1e\0"),
        bad("GUEST, nine caveats", b"\x1e\x09" + b"\1\0x" * 9),
        bad("GUEST, an empty caveat", b"\x1e\2\1\0x\0\0"),
        bad("GUEST, a caveat shorter than its length", b"\x1e\1\3\0xx"),
        bad("GUEST, one byte too long", b"\x1e\1\xfe\5" + b"x" * 1534),
        bad("STREAM, an unknown flag", bytes.fromhex("2002000000000000000000000000000000")),
        bad("STREAM, FIN and an unknown flag", bytes.fromhex("2081000000000000000000000000000000")),
        bad("STREAM, data shorter than its length", bytes.fromhex("2000000000000000000000000000ffff") + bytes(100)),
        bad("DATAGRAM, shorter than its length", bytes.fromhex("26030000ff")),
        bad("RESUME_STATE, 65 entries", resume_head + b"\x41" + bytes(65 * 21)),
        bad("RESUME_STATE, 65 entries and more to come", resume_head + b"\xc1" + bytes(65 * 21)),
        bad("RESUME_STATE, 127 entries", resume_head + b"\x7f" + bytes(127 * 21)),
        bad("RESUME_STATE, fewer entries than it says", resume_head + b"\2" + bytes(2 * 21 - 1)),
        bad("RESUME_STATE, more to come and an entry that is missing", resume_head + b"\x81"),
    ]
    for vector in invalid:
        try:
            codec.parse_frame(bytes.fromhex(vector["bytes"]))
        except codec.Refused:
            continue
        raise Failed(f"{vector['about']} is not refused")
    ping, data = first["PING"], first["STREAM"]
    plaintexts = [
        {"about": about, "plaintext": (b"".join(parts) + bytes(zero)).hex(), "frames": [p.hex() for p in parts]}
        for about, parts, zero in (
            ("nothing", [], 0),
            ("one byte of padding", [], 1),
            ("padding alone", [], 64),
            ("a frame without padding", [ping], 0),
            ("a frame and padding", [ping], 55),
            ("three frames and a byte of padding", [data, ping, first["PAIR_ACK"]], 1),
        )
    ]
    broken = [
        bad("padding that is not zero", ping + bytes(3) + b"\1"),
        bad("a frame behind padding", b"\0" + ping),
        bad("the second frame is cut off", ping + ping[:8]),
        bad("the second frame is unknown", ping + b"\xee"),
    ]
    broken = [{"about": v["about"], "plaintext": v["bytes"], "error": v["error"]} for v in broken]
    return {
        "origin": ORIGIN,
        "vectors": vectors,
        "emit_only": emit_only,
        "invalid": invalid,
        "plaintexts": plaintexts,
        "plaintexts_invalid": broken,
    }
