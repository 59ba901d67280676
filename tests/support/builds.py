"""Shared libraries that tests compile: one build for all xdist workers and later runs, keyed by its inputs."""

import hashlib
import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build_once(command: Sequence[str], sources: Iterable[Path]) -> Path | None:
    """Run a compiler command that lacks `-o FILE`, unless a run before did with the same inputs.

    The library lies in `builds_folder()`.

    Args:
        command: Compiler and options.
        sources: Files that the result depends on.

    Returns:
        The library; None if the compiler fails.
    """
    import fcntl  # Windows lacks it; no test builds there

    file = builds_folder() / f"{_key(command, sources)}.so"
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            unfinished = file.with_suffix(".unfinished")
            if subprocess.run([*command, "-o", str(unfinished)]).returncode:
                return None
            unfinished.replace(file)
    return file


def builds_folder() -> Path:
    """Return ULMKIT_TEST_BUILDS, by default ulmkit-test-builds in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("ULMKIT_TEST_BUILDS") or Path(cache) / "ulmkit-test-builds")


def _key(command: Sequence[str], sources: Iterable[Path]) -> str:
    """Digest of compiler, options and sources; paths count from the checkout, so that all checkouts share builds."""
    version = subprocess.run([command[0], "--version"], capture_output=True, check=True).stdout
    digest = hashlib.sha256(version)
    for part in (
        *(word.replace(str(ROOT), "").encode() for word in command),
        *(path.read_bytes() for path in sorted(sources)),
    ):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:32]
