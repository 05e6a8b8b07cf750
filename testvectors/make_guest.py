"""What a device passes on to its guests (11.4)."""

import base64
import struct
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import codec
from device import PROTO, Failed, Refused, expand, hash32, mac, public_of
from make_common import ORIGIN, Vector, some, with_errors

APP = "homing://guest/"
PASS = "suite:u8 flags:u8 expiry:u32 host_pub:32 seed:32 chain:32 device_id:8 route_id:16 capability:45 host_name:text"


def derive(root: bytes, device_id: bytes, caveats: list[bytes], suite: int) -> Vector:
    """What both ends make of the device's root."""
    seed, chain = expand(root, "guest"), expand(root, "guest chain")
    for caveat in caveats:
        chain = mac(chain, PROTO + b" caveat" + caveat, 32)
    static, guest_root = expand(seed, "static"), expand(seed, "root")
    token = device_id + expand(chain, "token")
    return {
        "seed": seed.hex(),
        "static_pub": public_of(X25519PrivateKey.from_private_bytes(static)).hex(),
        "root": guest_root.hex(),
        "psk": expand(guest_root, "psk", bytes([suite])).hex(),
        "chain": chain.hex(),
        "token": token.hex(),
        "token_hash": hash32(PROTO + b" token" + token).hex(),
    }


def emit_pass(fields: dict[str, Any], version: int = 1) -> bytes:
    body = bytes([version]) + codec.emit_fields(PASS, fields) + bytes([len(fields["relays"])])
    body += b"".join(codec.emit_field(relay, "text", {}) for relay in fields["relays"])
    return body + codec.emit_field(fields["caveats"], "caveats", {})


def checked(body: bytes) -> bytes:
    return body + hash32(PROTO + b" guest check" + body)[:4]


def letters(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=")


def link_of(fields: dict[str, Any]) -> str:
    return APP + letters(checked(emit_pass(fields)))


def parse_pass(link: str) -> dict[str, Any]:
    link = link.strip()
    head, _, fragment = link.partition("#")
    scheme, _, rest = head.partition("://")
    if link.lower().startswith(APP):
        text = link[len(APP) :].upper()
    elif scheme.lower() in ("http", "https") and rest.partition("/")[2].lower() == "guest" and "#" in link:
        text = fragment.upper()
    else:
        raise Refused("form")
    if len(link) > 3600:
        raise Refused("form")
    if not set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"):
        raise Refused("letters")
    try:
        data = base64.b32decode(text + "=" * (-len(text) % 8))
    except ValueError:
        raise Refused("length") from None
    if letters(data) != text or len(data) < 5 or len(data) > 2048:
        raise Refused("length")
    body, check = data[:-4], data[-4:]
    if hash32(PROTO + b" guest check" + body)[:4] != check:
        raise Refused("check")
    if body[0] != 1:
        raise Refused("version")
    source = codec.Input(body[1:])
    try:
        fields = source.fields(PASS)
    except Refused:
        raise Refused("unsupported") from None
    if fields["suite"] not in (1, 2) or fields["flags"] not in (0, 4):
        raise Refused("unsupported")
    try:
        fields["relays"] = [source.field("text") for _ in range(source.number(1))]
    except Refused:
        raise Refused("relay") from None
    names = set("abcdefghijklmnopqrstuvwxyz0123456789-._:[]")
    if not 1 <= len(fields["relays"]) <= 4 or not all(relay and set(relay) <= names for relay in fields["relays"]):
        raise Refused("relay")
    try:
        fields["caveats"] = source.field("caveats")
    except Refused:
        raise Refused("unsupported") from None
    if source.data:
        raise Refused("length")
    return fields


def guest() -> Vector:
    root, device_id = some("device root"), some("id", 8)
    first = b'{"name":"anna","rules":[{"service":"web","methods":["GET"],"prefix":"/api"}],"expires_at":1893456000}'
    second = b'{"name":"bert","rules":null,"rate":{"per_second":5},"expires_at":1893452400}'
    chains = []
    for about, caveats, suite in (
        ("one caveat", [first], 2),
        ("narrowed once more", [first, second], 2),
        ("the other order is another guest", [second, first], 1),
    ):
        given = {"device_root": root.hex(), "device_id": device_id.hex(), "caveats": [c.hex() for c in caveats]}
        chains.append({"about": about} | given | {"suite": suite} | derive(root, device_id, caveats, suite))

    def fields(suite: int, flags: int, relays: list[str], caveats: list[bytes], host_name: str = "nest") -> Vector:
        made = derive(root, device_id, caveats, suite)
        return {
            "suite": suite,
            "flags": flags,
            "expiry": 1893452400 if second in caveats else 1893456000,
            "host_pub": public_of(X25519PrivateKey.from_private_bytes(some("host"))).hex(),
            "seed": made["seed"],
            "chain": made["chain"],
            "device_id": device_id.hex(),
            "route_id": some("route", 16).hex(),
            "capability": some("capability", 45).hex(),
            "host_name": host_name,
            "relays": relays,
            "caveats": [caveat.hex() for caveat in caveats],
        }

    def good(about: str, link: str, given: Vector) -> Vector:
        assert parse_pass(link) == given, about
        return {"about": about, "link": link} | given

    def bad(about: str, link: str, *errors: str) -> Vector:
        try:
            parse_pass(link)
        except Refused:
            return with_errors({"about": about, "link": link}, errors)
        raise Failed(f"{about} is not refused")

    usual = fields(2, 0, ["relay.example.net"], [first])
    plain = fields(1, 4, ["127.0.0.1:8080", "[::1]:8080"], [first, second], "")
    most = fields(2, 0, ["r" * 64] * 4, [bytes([97 + i]) * 189 for i in range(7)] + [b"z" * 196], "é" * 32)
    text, body = link_of(usual)[len(APP) :], emit_pass(usual)
    vectors = [
        good("usual", APP + text, usual),
        good("lower case, with white space", f" {(APP + text).lower()}\n", usual),
        good("for browsers", f"https://relay.example.net/guest#{text}", usual),
        good("without TLS, two relays, two caveats", link_of(plain), plain),
        good("the longest", link_of(most), most),
    ]

    def broken(about: str, data: bytes, *errors: str) -> Vector:
        return bad(about, APP + letters(checked(data)), *errors)

    place = len(body) - len(first) - 3  # where the caveats begin
    invalid = [
        bad("nothing", "", "form"),
        bad("a link to pair with", f"homing://pair/{text}", "form"),
        bad("another page", f"https://relay.example.net/pair#{text}", "form"),
        bad("no letters", APP, "length", "form"),
        bad("a letter that is none", f"{APP}1{text[1:]}", "letters"),
        bad("cut off", APP + text[:-8], "check", "length"),
        bad("a letter that was mistyped", APP + text[:40] + ("A" if text[40] != "A" else "B") + text[41:], "check"),
        bad("a check that does not fit", APP + letters(body + bytes(4)), "check"),
        broken("a later version", b"\2" + body[1:], "version"),
        broken("an unknown suite", body[:1] + b"\3" + body[2:], "unsupported"),
        broken("an unknown flag", body[:2] + b"\1" + body[3:], "unsupported"),
        broken("a name of the host that is not UTF-8", body[:172] + b"\1\x80" + body[177:], "unsupported"),
        broken("no relay", emit_pass(usual | {"relays": []}), "relay"),
        broken("five relays", emit_pass(usual | {"relays": ["a"] * 5}), "relay"),
        broken("a relay without a name", emit_pass(usual | {"relays": [""]}), "relay"),
        broken("a relay with a path", emit_pass(usual | {"relays": ["a/b"]}), "relay"),
        broken("no caveat", body[:place] + b"\0", "unsupported"),
        broken("nine caveats", emit_pass(usual | {"caveats": ["78"] * 9}), "unsupported"),
        broken("an empty caveat", emit_pass(usual | {"caveats": ["78", ""]}), "unsupported"),
        broken("a caveat that is cut off", body[:-1], "unsupported"),
        broken("caveats that are too long", emit_pass(usual | {"caveats": ["78" * 1534]}), "unsupported"),
        broken("bytes left over", body + b"\0", "length"),
        bad("too long", APP + "A" * 4000, "form", "length"),
    ]
    return {"origin": ORIGIN, "chains": chains, "vectors": vectors, "invalid": invalid}
