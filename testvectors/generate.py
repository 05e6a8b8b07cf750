"""Makes the vectors that `handshake.json` and its neighbours do not have: records, changes of keys, frames, links, and
what a relay checks. Written from core/PROTOCOL.md alone, on libsodium (PyNaCl), OpenSSL (cryptography) and hashlib;
every sealed record is computed by both libraries. The output is the same each time: keys are hashes of their names.

    python generate.py           write the files
    python generate.py --check   compare them with what would be written, and all files with their schema
"""

import json
import sys
from pathlib import Path

from device import Failed
from make_common import Vector
from make_frames import frames
from make_guest import guest
from make_hop import hop
from make_links import links
from make_records import records, rekey
from make_resume import resume

HERE = Path(__file__).parent

FILES = {"records.json": records, "rekey.json": rekey, "frames.json": frames, "hop.json": hop, "links.json": links,
         "resume.json": resume, "guest.json": guest}
GIVEN = ("handshake.json", "ticket.json", "padme.json", "relay_token_keystore.json")


def text_of(content: Vector) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def check() -> None:
    """Every file is as this program writes it and as its schema says."""
    from jsonschema import Draft202012Validator

    for name, make in FILES.items():
        if (HERE / name).read_text() != text_of(make()):
            raise Failed(f"{name} is not what this program writes")
    for name in (*FILES, *GIVEN):
        schema = json.loads((HERE / "schema" / name).read_text())
        Draft202012Validator.check_schema(schema)
        validator, content = Draft202012Validator(schema), json.loads((HERE / name).read_text())
        for error in validator.iter_errors(content):
            raise Failed(f"{name}: {error.json_path}: {error.message}")
        if validator.is_valid(content | {"unknown": 1}) or validator.is_valid({}):
            raise Failed(f"the schema of {name} takes anything")
    print(f"{len(FILES) + len(GIVEN)} files are as their schemas say, {len(FILES)} as they are made")


if __name__ == "__main__":
    try:
        if sys.argv[1:] == ["--check"]:
            check()
        else:
            for file, maker in FILES.items():
                (HERE / file).write_text(text_of(maker()))
    except Failed as failed:
        sys.exit(f"{failed}")
