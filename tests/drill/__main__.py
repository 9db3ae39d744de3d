"""Drills: faults made on purpose, many of them, drawn from a seed that is printed.

    python -m tests.drill --share 0.1 --seed 7 --only mutations

A drill is a module of this folder with the function `run(share, seed)`. It makes a share of its
cases, prints a line for every fault, and returns how often each outcome came, "faults" among
them. The exit code is 1 where there are faults.
"""

import argparse
import importlib
import pkgutil
import secrets
import sys
import time

import tests.drill


def drills() -> dict:
    """Name of a drill -> its module. Modules without `run` are parts of drills."""
    names = [found.name for found in pkgutil.iter_modules(tests.drill.__path__)]
    modules = {n: importlib.import_module(f"tests.drill.{n}") for n in names if n != "__main__"}
    return {name: module for name, module in modules.items() if hasattr(module, "run")}


def main(arguments: list[str] | None = None) -> int:
    known = drills()
    parser = argparse.ArgumentParser(prog="python -m tests.drill", description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of all cases, above 0 to 1")
    parser.add_argument("--seed", type=int, default=None, help="what to draw the cases from")
    parser.add_argument("--only", choices=sorted(known), help="run this drill only")
    args = parser.parse_args(arguments)
    if not 0 < args.share <= 1:
        parser.error(f"--share must be above 0 and at most 1, got {args.share}")
    seed = secrets.randbelow(10**6) if args.seed is None else args.seed
    print(f"python -m tests.drill --share {args.share:g} --seed {seed}", flush=True)
    faults = 0
    for name in [args.only] if args.only else sorted(known):
        start = time.monotonic()
        counts = known[name].run(args.share, seed)
        told = ", ".join(f"{count:,} {outcome}" for outcome, count in counts.items())
        print(f"{name}: {told} ({time.monotonic() - start:.0f} s)", flush=True)
        faults += counts["faults"]
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
