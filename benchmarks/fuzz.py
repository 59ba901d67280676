"""Do damaged and altered files give a clear error, at once, and never a wrong answer?

Mutates model folders, corpora, checkpoints, tokenizers and data files, corrects their checksums, and loads and uses
each. An input must load and give finite numbers, or be refused with an UlmkitError. Anything else is a failure:
another exception, a crash, an answer that is not finite, more than 5 seconds of CPU time (or 30 in all), or more than
400 MB of memory. Each kind of failure is printed once with the fewest mutations that show it.

    python benchmarks/fuzz.py [--minutes M] [--seed S] [--only NAME] [--quick] [--json FILE]
"""

import argparse
import contextlib
import ctypes
import gc
import itertools
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from fuzz_mutations import mutate_file, mutate_folder
from fuzz_targets import DATA_FILES, Target, targets, use
from measurements import print_rows, row, write_measurements

from ulmkit.errors import UlmkitError

CPU_SECONDS = 5.0
SECONDS = 30.0
MEMORY = 400 << 20
_ADDRESS_SPACE = 4 << 30
_CASES_A_PROCESS = 200


class Case(NamedTuple):
    """One input: a target and the seeds of its mutations, from which all else follows."""

    target: str
    seeds: tuple[int, ...]


@dataclass
class Outcome:
    """Result of one case.

    Attributes:
        kind: "loads", "refused" or "fails".
        failure: Exception and place, or what went beyond its limit; "" unless the case fails.
        detail: Message of the exception.
        mutations: What was changed.
    """

    kind: str
    failure: str = ""
    detail: str = ""
    mutations: tuple[str, ...] = ()


class Fuzzer:
    """Valid inputs of every target, and the processes that mutate and load copies of them.

    Args:
        folder: Folder to work in.
        chosen: The targets.
    """

    def __init__(self, folder: Path, chosen: dict[str, Target]) -> None:
        self.targets = chosen
        self._originals = folder / "originals"
        self._folder = folder
        for name, target in chosen.items():
            original = self._originals / name
            original.mkdir(parents=True)
            target.make(original)
            copy = self._copy(os.getpid())
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(original, copy)
            with contextlib.suppress(UlmkitError):  # a data file need not suit the kind of label that is drawn
                use(target, copy, random.Random(0))  # imports what it needs in this process, once
        gc.freeze()  # collections in the child processes, one before each case, then look at little

    def cases(self, seed: int) -> Iterator[Case]:
        """Endless cases, the targets in turn, most of them with a single mutation."""
        draw = random.Random(seed)
        for name in itertools.cycle(self.targets):
            count = draw.choice((1, 1, 1, 2, 3))
            yield Case(name, tuple(draw.getrandbits(32) for _ in range(count)))

    def run(self, cases: Sequence[Case]) -> Iterator[Outcome]:
        """Run cases in child processes; a new one begins where one crashed or was stopped."""
        left = list(cases)
        while left:
            for outcome in self._run_in_child(tuple(left)):
                left.pop(0)
                yield outcome

    def smallest(self, case: Case, outcome: Outcome) -> tuple[Case, Outcome]:
        """The first single mutation of a case that fails alike, or else the case itself."""
        if len(case.seeds) > 1:
            single = [Case(case.target, (seed,)) for seed in case.seeds]
            for smaller, other in zip(single, self.run(single), strict=True):
                if other.failure == outcome.failure:
                    return smaller, other
        return case, outcome

    def _run_in_child(self, cases: Sequence[Case]) -> Iterator[Outcome]:
        """Outcomes of the first cases, up to one that ends its process."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _serve(self, cases, writing)
        os.close(writing)
        try:
            with open(reading, encoding="utf-8") as pipe:
                for _ in cases:
                    ready, _, _ = select.select([pipe], [], [], SECONDS)
                    line = pipe.readline() if ready else ""
                    if not line.endswith("\n"):
                        break
                    yield Outcome(**json.loads(line))
                else:
                    return
        finally:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            notes = self._copy(child).with_suffix(".mutations")
            mutations = notes.read_text(encoding="utf-8") if notes.exists() else "none"
            notes.unlink(missing_ok=True)
            shutil.rmtree(self._copy(child), ignore_errors=True)
        failure = f"crash: {os.waitstatus_to_exitcode(status)}" if ready else f"more than {SECONDS:g} s"
        yield Outcome("fails", failure, "", (mutations,))

    def _copy(self, process: int) -> Path:
        """Folder in which a process mutates and loads its copies."""
        return self._folder / f"copy-{process}"

    def outcome(self, case: Case) -> Outcome:
        """Mutate a copy of the target's original, load and use it, all in this process."""
        copy = self._copy(os.getpid())
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self._originals / case.target, copy)
        mutations = tuple(_mutate(case, seed, copy) for seed in case.seeds)
        notes = copy.with_suffix(".mutations")
        notes.write_text("; ".join(mutations).encode("utf-8", "replace").decode(), encoding="utf-8")
        gc.collect()
        memory = _peak_memory(reset=True)
        start = time.process_time()
        outcome = _outcome(self.targets[case.target], copy, random.Random(case.seeds[0]))
        outcome.mutations = mutations
        if time.process_time() - start > CPU_SECONDS:
            outcome = Outcome("fails", f"more than {CPU_SECONDS:g} s of CPU time", outcome.detail, mutations)
        if _peak_memory() - memory > MEMORY:
            outcome = Outcome("fails", f"more than {MEMORY >> 20} MB of memory", outcome.detail, mutations)
        return outcome


def _mutate(case: Case, seed: int, folder: Path) -> str:
    draw = random.Random(seed)
    if case.target in DATA_FILES:
        return f"{case.target}: {mutate_file(draw, folder / case.target)}"
    return mutate_folder(draw, folder)


def _outcome(target: Target, folder: Path, draw: random.Random) -> Outcome:
    try:
        use(target, folder, draw)
    except UlmkitError as error:
        return Outcome("refused", detail=str(error)[:500])
    except BaseException as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/ulmkit/" in frame.filename]
        place = frames[-1] if frames else None
        where = (
            f"{place.filename.partition('/ulmkit/')[2].split('/ulmkit/')[-1]}:{place.name}" if place else "elsewhere"
        )
        return Outcome("fails", f"{type(error).__name__} in {where}", str(error)[:200])
    return Outcome("loads")


def _serve(fuzzer: Fuzzer, cases: Sequence[Case], writing: int) -> None:
    """Run cases in a child process, which ends here; each outcome is a line of JSON."""
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    resource.setrlimit(resource.RLIMIT_AS, (_virtual_memory() + _ADDRESS_SPACE,) * 2)
    try:
        with open(writing, "w", encoding="utf-8") as pipe:
            for case in cases:
                pipe.write(json.dumps(asdict(fuzzer.outcome(case))) + "\n")
                pipe.flush()
    except Exception:  # of a mutation: the parent counts it as a crash
        traceback.print_exc()
    finally:
        os._exit(3)


def _peak_memory(reset: bool = False) -> int:
    """Largest resident memory of this process in bytes, since the last reset where Linux allows one."""
    if reset:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _virtual_memory() -> int:
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    return 0


def fuzz(fuzzer: Fuzzer, seconds: float, seed: int) -> tuple[dict[str, Counter[str]], list[dict[str, Any]]]:
    """Run cases for a time.

    Returns:
        By target, how many inputs loaded, were refused and failed; and each kind of failure, with its smallest case.
    """
    counts: dict[str, Counter[str]] = {name: Counter() for name in fuzzer.targets}
    failures: dict[tuple[str, str], dict[str, Any]] = {}
    cases = fuzzer.cases(seed)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        batch = list(itertools.islice(cases, _CASES_A_PROCESS))
        for case, outcome in zip(batch, fuzzer.run(batch), strict=False):
            counts[case.target][outcome.kind] += 1
            if outcome.kind == "fails":
                key = (case.target, outcome.failure)
                if key in failures:
                    failures[key]["inputs"] += 1
                else:
                    case, outcome = fuzzer.smallest(case, outcome)
                    failures[key] = {**case._asdict(), **asdict(outcome), "inputs": 1}
                    print(f"{case.target}: {outcome.failure}: {outcome.detail}\n    {'; '.join(outcome.mutations)}")
            if time.monotonic() >= end:
                break
    return counts, list(failures.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0, help="how long to look for failures (default: 2)")
    parser.add_argument("--seed", type=int, default=0, help="another seed makes other inputs (default: 0)")
    parser.add_argument("--only", metavar="NAME", help="only targets with NAME in their name")
    parser.add_argument("--quick", action="store_true", help="half a minute")
    parser.add_argument("--json", metavar="FILE", help="write the results to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    chosen = {name: target for name, target in targets() if options.only is None or options.only in name}
    if not chosen:
        parser.error(f"--only: expected a part of one of {', '.join(name for name, _ in targets())}")
    memory = Path("/dev/shm")  # a file system in memory: cases write and remove many small files
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        fuzzer = Fuzzer(Path(folder), chosen)
        counts, failures = fuzz(fuzzer, 60.0 * (0.5 if options.quick else options.minutes), options.seed)
    rows = [
        row(f"{name}, {count.total()} inputs, {count['refused']} refused", "failures", count["fails"], 0, "limit")
        for name, count in counts.items()
    ]
    total = sum(counts.values(), Counter[str]())
    rows.append(row(f"all, {total.total()} inputs, {total['refused']} refused", "failures", total["fails"], 0, "limit"))
    print_rows(rows)
    if options.json is not None:
        write_measurements(options.json, "fuzz", rows, {"seed": options.seed, "failures": failures})
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
