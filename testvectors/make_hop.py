"""Frames between endpoints and relay, and the proofs in them (12)."""

import struct
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import codec
from device import PROTO, Failed, dh, hash32, hmac32, mac, public_of
from make_common import ORIGIN, Vector, named, some, with_errors


def hop_frames() -> tuple[list[Vector], list[Vector]]:
    def good(kind: str, idx: int, about: str = "", /, **fields: Any) -> Vector:
        data = codec.emit_hop(kind, idx, fields)
        assert codec.parse_hop(data) == (kind, idx, fields), kind
        return {"about": about or "usual", "type": kind, "idx": idx, "fields": fields, "bytes": data.hex()}

    def bad(about: str, data: bytes) -> Vector:
        return {"about": about, "bytes": data.hex(), "error": "malformed"}

    top32, top64 = (1 << 32) - 1, str((1 << 64) - 1)
    h = {
        name: some(f"hop {name}", size).hex()
        for name, size in (
            ("nonce", 32),
            ("ephemeral", 32),
            ("route_pub", 32),
            ("mac", 16),
            ("k_cap", 32),
            ("k_cap_previous", 32),
            ("operator_key", 64),
            ("rv_hash", 16),
            ("cap_id", 8),
            ("route_id", 16),
            ("proof", 16),
            ("rendezvous", 16),
            ("channel_id", 16),
            ("data", 140),
        )
    }

    def of(*names: str) -> dict[str, str]:
        return {name: h[name] for name in names}

    register = of("route_pub", "mac", "k_cap", "k_cap_previous")
    vectors = [
        good("HELLO", 0, version=1, flags=0, **of("nonce", "ephemeral")),
        good("REGISTER", 0, "no operator key", **register, operator_key=""),
        good("REGISTER", 0, "the longest", **register, **of("operator_key")),
        good("OK", 0, ttl=75),
        good("OK", 0, "the highest", ttl=top32),
        good("PAIR_SLOT", 0, **of("rv_hash"), ttl=300),
        good("PAIR_SLOT", 0, "deletes", **of("rv_hash"), ttl=0),
        good("CAP_DENY", 0, **of("cap_id"), until=1893456000),
        good("DIAL", 1, **of("route_id", "cap_id"), expiry=1893456000, **{"class": 1}, **of("proof")),
        good("DIAL_PAIR", 1, **of("rendezvous")),
        good("INCOMING", 7, "dial", **of("channel_id"), kind=0, **of("cap_id"), credit=4096),
        good("INCOMING", top32, "pair", **of("channel_id"), kind=1, cap_id="00" * 8, credit=4096),
        good("ACCEPT", 7, credit=61440),
        good("ACCEPT", 7, "no more than the early credit", credit=0),
        *(good("REFUSE", 7, f"code {code}", code=code) for code in (2, 3)),
        good("OPENED", 1, **of("channel_id"), credit=4096),
        good("DATA", 1, **of("data")),
        good("DATA", 7, "the shortest", data="10"),
        good("DATA", top32, "the longest", data=some("hop data", 16412).hex()),
        good("CREDIT", 1, credit=16384),
        good("CREDIT", 1, "the least", credit=1),
        good("CREDIT", 9, "the most", credit=top32),
        *(good("CLOSED", 1, f"a channel, code {code}", code=code) for code in range(12)),
        good("CLOSED", 0, "the link", code=6),
        good("PING", 0, number="1"),
        good("PING", 0, "the highest", number=top64),
        good("PONG", 0, number="1"),
        good("ATTACH", 0, **of("channel_id", "mac")),
        good("KNOCK", 0),
    ]
    assert {v["type"] for v in vectors} == set(codec.HOP)
    first = {v["type"]: bytes.fromhex(v["bytes"]) for v in reversed(vectors)}
    invalid = []
    for name, data in sorted(first.items(), key=lambda item: item[1][0]):
        place = codec.HOP[name][1]
        if place != codec.EITHER:
            wrong = bytes(4) if place == codec.CHANNEL else b"\1\0\0\0"
            invalid.append(bad(f"{name} with the wrong idx", data[:1] + wrong + data[5:]))
        if name != "DATA":
            invalid.append(bad(f"{name}, its last byte missing", data[:-1]))
            invalid.append(bad(f"{name}, a byte left over", data + b"\0"))
    invalid += [
        bad("nothing", b""),
        bad("a type alone", b"\x8e"),
        bad("idx cut off", b"\x8b\1\0\0"),
        *(bad(f"an unknown type, {kind:02x}", bytes([kind]) + bytes(12)) for kind in (0x00, 0x10, 0x7F, 0x92, 0xFF)),
        bad("DATA without a body", b"\x8b\1\0\0\0"),
        bad("DATA, one byte too long", b"\x8b\1\0\0\0" + bytes(16413)),
        bad("CREDIT of nothing", b"\x8c\1\0\0\0" + bytes(4)),
        bad("CLOSED, an unknown code", b"\x8d\1\0\0\0\x0c"),
        bad("CLOSED, the highest code", b"\x8d\0\0\0\0\xff"),
        bad("REFUSE, an unknown code", b"\x89\1\0\0\0\x0c"),
        bad("INCOMING of an unknown kind", b"\x87\7\0\0\0" + bytes(16) + b"\2" + bytes(12)),
        bad("INCOMING to pair, with a capability", b"\x87\7\0\0\0" + bytes(16) + b"\1" + b"\1" * 8 + bytes(4)),
        bad("REGISTER, an operator key of 65 bytes", b"\x81\0\0\0\0" + bytes(112) + b"\x41" + bytes(65)),
        bad("REGISTER, an operator key shorter than its length", b"\x81\0\0\0\0" + bytes(112) + b"\x05" + bytes(4)),
        bad("REGISTER, an operator key longer than its length", b"\x81\0\0\0\0" + bytes(112) + b"\x05" + bytes(6)),
    ]
    for vector in invalid:
        try:
            codec.parse_hop(bytes.fromhex(vector["bytes"]))
        except codec.Refused:
            continue
        raise Failed(f"{vector['about']} is not refused")
    return vectors, invalid


def registrations() -> tuple[list[Vector], list[Vector]]:
    def good(about: str, relay: str, name: str) -> Vector:
        route, eph = (X25519PrivateKey.from_private_bytes(some(f"{name} {key}")) for key in ("route", "ephemeral"))
        nonce, channel = some(f"{name} nonce"), some(f"{name} channel", 16)
        public, challenge, shared = public_of(route), public_of(eph), hmac32(nonce, dh(route, public_of(eph)))
        proof = PROTO + b" register" + named(relay) + nonce + challenge + public
        return {
            "about": about,
            "route_secret": route.private_bytes_raw().hex(),
            "relay": relay,
            "nonce": nonce.hex(),
            "relay_ephemeral_secret": eph.private_bytes_raw().hex(),
            "relay_ephemeral": challenge.hex(),
            "route_pub": public.hex(),
            "route_id": hash32(PROTO + b" route" + public)[:16].hex(),
            "mac": mac(shared, proof, 16).hex(),
            "channel_id": channel.hex(),
            "attach_mac": mac(shared, PROTO + b" attach" + channel, 16).hex(),
        }

    vectors = [
        good("usual", "relay.example.net", "one"),
        good("with a port", "relay.example.net:8443", "two"),
        good("IPv6", "[2001:db8::1]:8443", "three"),
        good("the longest name", "r" * 64, "four"),
    ]
    one, two = vectors[:2]

    def bad(about: str, *errors: str, **changes: str) -> Vector:
        given = ("relay", "nonce", "relay_ephemeral_secret", "route_pub", "mac")
        vector = {"about": about} | {name: one[name] for name in given} | changes
        return with_errors(vector, errors or ("mac",))

    flipped = one["mac"][:-1] + ("0" if one["mac"][-1] != "0" else "1")
    invalid = [
        bad("one bit of the proof", mac=flipped),
        bad("no proof", mac="00" * 16),
        bad("made for another relay", relay="relay.example.org"),
        bad("the relay's name without its end", relay="relay.example.ne"),
        bad("an answer to another nonce", nonce=two["nonce"]),
        bad("another host's proof", mac=two["mac"]),
        bad("another route key", route_pub=two["route_pub"]),
        bad("an answer to another ephemeral key", relay_ephemeral_secret=two["relay_ephemeral_secret"]),
        bad("the proof of an attachment", mac=one["attach_mac"]),
        bad("a route key of small order", "non-contributory dh", "mac", route_pub="00" * 32),
    ]
    return vectors, invalid


def dials() -> tuple[list[Vector], list[Vector]]:
    def good(about: str, relay: str, expiry: int, level: int, previous: bool = False) -> Vector:
        keys = some("k_cap current"), some("k_cap previous")
        route, cap_id, nonce = some("dial route", 16), some(f"cap {about}", 8), some(f"dial nonce {about}")
        end = struct.pack("<IB", expiry, level)
        key = mac(keys[previous], PROTO + b" cap" + route + cap_id + end, 32)
        return {
            "about": about,
            "k_cap": keys[0].hex(),
            "k_cap_previous": keys[1].hex(),
            "minted_with": keys[previous].hex(),
            "route_id": route.hex(),
            "cap_id": cap_id.hex(),
            "expiry": expiry,
            "class": level,
            "cap_key": key.hex(),
            "capability": (cap_id + end + key).hex(),
            "relay": relay,
            "nonce": nonce.hex(),
            "proof": mac(key, PROTO + b" dial" + named(relay) + nonce, 16).hex(),
        }

    vectors = [
        good("usual", "relay.example.net", 1893456000, 0),
        good("minted before the key changed", "relay.example.net", 1893456000, 0, previous=True),
        good("another class, the last second", "relay.example.net:8443", 4294967295, 255),
    ]
    one, _, three = vectors

    def bad(about: str, **changes: Any) -> Vector:
        given = ("k_cap", "k_cap_previous", "route_id", "cap_id", "expiry", "class", "relay", "nonce", "proof")
        return {"about": about} | {name: one[name] for name in given} | changes | {"error": "proof"}

    invalid = [
        bad("one bit of the proof", proof=one["proof"][:-1] + ("0" if one["proof"][-1] != "0" else "1")),
        bad("the proof of another capability", proof=three["proof"]),
        bad("another capability's name", cap_id=three["cap_id"]),
        bad("a longer life than was minted", expiry=one["expiry"] + 1),
        bad("a better class than was minted", **{"class": 1}),
        bad("another host's route", route_id=some("other route", 16).hex()),
        bad("seen at another relay", relay="relay.example.org"),
        bad("seen on another link", nonce=three["nonce"]),
        bad("both keys have changed since", k_cap=some("k1").hex(), k_cap_previous=some("k2").hex()),
    ]
    return vectors, invalid


def hop() -> Vector:
    frames_good, frames_bad = hop_frames()
    registers, registers_bad = registrations()
    dials_good, dials_bad = dials()
    weak = {
        "about": "the relay's ephemeral key is of small order",
        "route_secret": registers[0]["route_secret"],
        "relay": "relay.example.net",
        "nonce": registers[0]["nonce"],
        "relay_ephemeral": "00" * 32,
        "error": "non-contributory dh",
    }
    rendezvous, route, keys = some("rendezvous", 16), some("route id", 16), (b"", b"sesame", some("operator", 64))
    return {
        "origin": ORIGIN,
        "vectors": frames_good,
        "invalid": frames_bad,
        "register": registers,
        "register_invalid": registers_bad,
        "register_refused": [weak],
        "dial": dials_good,
        "dial_invalid": dials_bad,
        "rendezvous": [
            {"rendezvous": rendezvous.hex(), "rv_hash": hash32(PROTO + b" rendezvous" + rendezvous)[:16].hex()}
        ],
        "directory": [{"route_id": route.hex(), "blinded": hash32(PROTO + b" directory" + route)[:16].hex()}],
        "operator": [{"operator_key": k.hex(), "operator_hash": hash32(PROTO + b" operator" + k).hex()} for k in keys],
    }
