"""Run all benchmarks, or the named ones: python -m benchmarks [NAME ...]."""

import argparse
import subprocess
import sys

BENCHMARKS = {
    "remover": "the local background remover on a sample photo",
    "schedule": "the poll schedule beside the fixed second of the vendor's SDKs",
    "poll_memory": "the poll function's memory while it saves a 100 MB PNG",
    "clock": "a hundred thousand tasks that wait: what they cost, and how they drain",
    "backfill": "a hundred thousand objects, half of them in the ledger: finding the others",
    "governor": "a burst of uploads under a plan that the vendor enforces",
    "cold_start": "what functions do before their first invocation, beside the least possible",
    "requests": "the calls to AWS and the state transitions that an image takes",
    "pipeline": "one photo through the whole local stack",
}


def main() -> None:
    names = _names()
    # A process each: what one leaves in memory must not be measured by the next.
    failed = [name for name in names if not _run(name)]
    if failed:
        sys.exit(f"failed or over the limit: {', '.join(failed)}")


def _names() -> list[str]:
    listed = "\n".join(f"  {name:12} {what}" for name, what in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Run all benchmarks, or the named ones:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    names: list[str] = parser.parse_args().names
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"no benchmark is called {', '.join(unknown)}")
    return names or list(BENCHMARKS)


def _run(name: str) -> bool:
    print(f"\n{name}: {BENCHMARKS[name]}\n", flush=True)
    return subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode == 0


if __name__ == "__main__":
    main()
