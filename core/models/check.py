#!/usr/bin/env python3
"""Checks the models of the handshakes: every query must say exactly what is expected of it, attacks included.

    core/models/check.py                    all models: with Verifpal, and with ProVerif where it is on the PATH
    core/models/check.py relay pair_hybrid  only models whose names contain all of these
    core/models/check.py --write DIR        write all models into DIR, to read them or run them by hand
"""
import json
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
import proverif
import verifpal

HERE = Path(__file__).parent
# Runs of each end at the same time, unless the attacker says otherwise.
SESSIONS = 2
# A model that takes longer counts as failed: seconds of CPU. ProVerif's are left to whoever runs it.
LIMIT = 180


def table(name):
    return json.loads((HERE / name).read_text(encoding="utf-8"))


def verifpal_models(handshakes):
    """File name, text, what each query must say, and the runs of each end."""
    for attacker in table("attackers.json")["attackers"]:
        rows = [row for row in handshakes["handshakes"] if row["name"].startswith(tuple(attacker["of"]))]
        assert rows, attacker
        for row in rows:
            expect = {
                query: {"hybrid": "holds" if row["suite"] == 2 else "attack"}.get(says, says)
                for query, says in attacker["expect"].items()
                if query != "device root" or "device_root" in row["exports"]
            }
            assert expect and set(expect.values()) <= {"holds", "attack"}, attacker
            title = [f"{row['name']}: {attacker['who']}", "Expected: " + "; ".join(f"{q}: {s}" for q, s in expect.items())]
            text = verifpal.model(handshakes, row, attacker, list(expect), title)
            yield f"{row['name']}__{attacker['name']}.vp", text, expect, attacker.get("sessions", SESSIONS)


def proverif_models(handshakes):
    """The same for ProVerif, which has no bound on the runs."""
    proverif.check_table(handshakes)
    for name, text, says in proverif.models():
        yield name + ".pv", text, {f"query {i}": s for i, s in enumerate(says, 1)}, None
    for name, says in [("id_hiding.pv", "true"), ("id_hiding_leak.pv", "not proved")]:
        yield name, (HERE / name).read_text(encoding="utf-8"), {"Observational equivalence": says}, None


def run_verifpal(path, sessions):
    """What each query says, in order; nothing where Verifpal did not come to an end."""
    done = subprocess.run(
        ["verifpal", "verify", "--quiet", "--result-code", "--sessions", str(sessions), str(path)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT)),
    )
    code = done.stdout.strip()
    if done.returncode != 0 or not re.fullmatch(r"([a-z][01])+", code):
        print(done.returncode, done.stdout, done.stderr)
        return []
    return ["attack" if digit == "1" else "holds" for digit in code[1::2]]


def run_proverif(path, _):
    done = subprocess.run(["proverif", str(path)], capture_output=True, text=True)
    results = re.findall(r"^RESULT [^(].* (is true|is false|cannot be proved)", done.stdout, re.MULTILINE)
    return [{"is true": "true", "is false": "false"}.get(r, "not proved") for r in results]


def seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def check(models, run):
    """Runs all models; returns how many queries said what they must, and how many did not."""
    right = wrong = 0
    with tempfile.TemporaryDirectory() as directory:
        for name, text, expect, sessions in models:
            path = Path(directory) / name
            path.write_text(text, encoding="utf-8")
            before = seconds()
            says = run(path, sessions)
            if len(says) != len(expect):
                says = ["no result"] * len(expect)
            bad = [f"    {q}: expected {e}, got {s}" for (q, e), s in zip(expect.items(), says) if s != e]
            right, wrong = right + len(expect) - len(bad), wrong + len(bad)
            print(f"{'FAIL' if bad else 'ok':4} {name:42} {len(expect)} queries {seconds() - before:6.1f} s")
            print("\n".join(bad), end="\n" if bad else "", flush=True)
    print(f"{right} queries as expected, {wrong} not; {seconds():.0f} s of CPU", flush=True)
    return right, wrong


def main(arguments):
    handshakes = table("handshakes.json")
    models = {"verifpal": list(verifpal_models(handshakes)), "proverif": list(proverif_models(handshakes))}
    if arguments[:1] == ["--write"]:
        for name, text, *_ in models["verifpal"] + models["proverif"]:
            Path(arguments[1], name).write_text(text, encoding="utf-8")
        return 0
    failed = not any(all(word in m[0] for word in arguments) for prover in models.values() for m in prover)
    for prover, run in [("verifpal", run_verifpal), ("proverif", run_proverif)]:
        chosen = [m for m in models[prover] if all(word in m[0] for word in arguments)]
        print(f"{prover}: {len(chosen)} of {len(models[prover])} models")
        if shutil.which(prover):
            right, wrong = check(chosen, run)
            failed |= wrong > 0 or (right == 0 and bool(chosen))
        elif prover == "verifpal":
            sys.exit("verifpal is missing: cargo install --locked --ignore-rust-version verifpal@1.6.7")
        else:
            print("skipped: proverif is not on the PATH; README.md quotes its results")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
