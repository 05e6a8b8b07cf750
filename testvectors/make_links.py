"""Pairing links (5)."""

import base64
import struct

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from device import PROTO, Failed, hash32, parse_ticket, public_of
from make_common import ORIGIN, Vector, some, with_errors


def body_of(suite: int = 2, flags: int = 0, relay: bytes = b"relay.example.net", version: int = 1) -> bytes:
    host = public_of(X25519PrivateKey.from_private_bytes(some("host")))
    head = struct.pack("<BBBI", version, suite, flags, 1893456000)
    return head + some("ticket secret", 16) + host + bytes([len(relay)]) + relay


def letters(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=")


def checked(body: bytes) -> bytes:
    return body + hash32(PROTO + b" ticket check" + body)[:4]


def links() -> Vector:
    def good(about: str, link: str, body: bytes) -> Vector:
        t = parse_ticket(link)
        assert t.body == body, about
        return {
            "about": about,
            "link": link,
            "suite": t.suite,
            "flags": t.flags,
            "expiry": 1893456000,
            "secret": body[7:23].hex(),
            "host_pub": t.host_key.hex(),
            "relay": t.relay,
            "body": body.hex(),
            "hash": t.hash.hex(),
            "psk": t.psk.hex(),
            "mac1_key": t.mac1_key.hex(),
            "rendezvous": t.rendezvous.hex(),
        }

    def bad(about: str, link: str, *errors: str) -> Vector:
        try:
            parse_ticket(link)
        except Failed:
            return with_errors({"about": about, "link": link}, errors)
        raise Failed(f"{about} is not refused")

    usual, plain, app = body_of(), body_of(1, 4, b"127.0.0.1:8080"), "homing://pair/"
    text = letters(checked(usual))
    local = letters(checked(plain))
    vectors = [
        good("usual", app + text, usual),
        good("lower case", (app + text).lower(), usual),
        good("upper case throughout", (app + text).upper(), usual),
        good("a query", f"homing://pair?t={text}", usual),
        good("for browsers", f"https://relay.example.net/pair#{text}", usual),
        good(
            "for browsers, lower case, at another address", f"https://relay.example.org:8443/pair#{text.lower()}", usual
        ),
        good("white space around it", f"  {app}{text}\r\n", usual),
        good("PLAIN, suite 1", app + local, plain),
        good("PLAIN, for browsers", f"http://127.0.0.1:8080/pair#{local}", plain),
    ]
    for about, body in (
        ("CONFIRM", body_of(flags=1)),
        ("every flag", body_of(flags=7)),
        ("default relay", body_of(relay=b"")),
        ("IPv6", body_of(relay=b"[2001:db8::1]:8443")),
        ("the longest relay's name", body_of(relay=b"a" * 64)),
    ):
        vectors.append(good(about, app + letters(checked(body)), body))

    def of(body: bytes) -> str:
        return app + letters(checked(body))

    swapped = text[:30] + ("A" if text[30] != "A" else "B") + text[31:]
    # 77 bytes are 616 bits and 124 letters 620: the last letter holds 1 bit that counts and 4 that do not.
    crooked = text[:-1] + ("B" if text[-1] == "A" else "R")
    invalid = [
        bad("nothing", "", "form"),
        bad("no link", "hello", "form"),
        bad("the ticket alone", text, "form"),
        bad("another scheme", f"homeing://pair/{text}", "form"),
        bad("another path", f"homing://pare/{text}", "form"),
        bad("the secret in a query of a web address", f"https://relay.example.net/pair?{text}", "form"),
        bad("another page", f"https://relay.example.net/other#{text}", "form"),
        bad("too long to be one", app + "A" * 600, "form"),
        bad("a digit that is not of Base32", app + text[:20] + "1" + text[21:], "letters", "form"),
        bad("white space inside", app + text[:20] + " " + text[20:], "letters", "form"),
        bad("with padding", app + text + "====", "letters", "form"),
        bad("no ticket", app, "length", "form"),
        bad("cut off", app + text[:40], "length"),
        bad("cut off within a byte", app + text[:-1], "length"),
        bad("left-over bits that are not zero", app + crooked, "length", "letters"),
        bad("a byte left over, with a check of its own", of(usual + b"\0"), "length"),
        bad("mistyped", app + swapped, "check"),
        bad("a wrong check", app + letters(usual + bytes(4)), "check"),
        bad("a later version", of(body_of(version=2)), "version", "unsupported"),
        bad("version 0", of(body_of(version=0)), "version", "unsupported"),
        bad("suite 0", of(body_of(suite=0)), "unsupported", "version"),
        bad("an unknown suite", of(body_of(suite=3)), "unsupported", "version"),
        bad("an unknown flag", of(body_of(flags=8)), "unsupported", "version"),
        bad("a relay's name of 65 bytes", of(body_of(relay=b"a" * 65)), "relay", "length"),
        *(
            bad(f"a relay's name with {what}", of(body_of(relay=name)), "relay")
            for what, name in (
                ("an upper-case letter", b"Relay.example.net"),
                ("a path", b"relay.example.net/x"),
                ("a user", b"a@relay.example.net"),
                ("a space", b"relay example"),
                ("a zero byte", b"relay\0"),
                ("a letter that is not ASCII", "réseau".encode()),
                ("bytes that are not UTF-8", b"relay\xff"),
            )
        ),
    ]
    return {"origin": ORIGIN, "vectors": vectors, "invalid": invalid}
