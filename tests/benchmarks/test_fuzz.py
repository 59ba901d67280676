"""The fuzzer tells failures from refusals, and finds none in a few inputs of each kind of file."""

import itertools
import json
import os
import random
import signal
import time
from pathlib import Path

import fuzz
import pytest
from fuzz import Case, Fuzzer
from fuzz_mutations import mutate_file, mutate_folder
from fuzz_targets import Target, targets

from ulmkit.errors import FolderError

CASE = Case("planted", (1, 2, 3))


def planted(tmp_path, use):
    def make(folder: Path) -> None:
        (folder / "a.json").write_text('{"a": [1, 2, 3], "b": "text"}')

    def use_twice(folder: Path, draw: random.Random) -> None:
        if folder.name != f"copy-{parent}":  # the fuzzer itself loads the original once
            use()

    parent = os.getpid()
    return Fuzzer(tmp_path, {"planted": Target(make, use_twice)})


def refuse():
    raise FolderError("a.json: was altered")


def fail():
    raise KeyError("a")


def exhaust():
    bytearray(600 << 20)


@pytest.mark.parametrize(
    ("use", "kind", "failure"),
    [
        (lambda: None, "loads", ""),
        (refuse, "refused", ""),
        (fail, "fails", "KeyError in elsewhere"),
        (exhaust, "fails", "more than 400 MB of memory"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "fails", "crash: -11"),
    ],
)
def test_outcomes(tmp_path, use, kind, failure):
    fuzzer = planted(tmp_path, use)
    outcomes = list(fuzzer.run([CASE, CASE]))
    assert [(outcome.kind, outcome.failure) for outcome in outcomes] == [(kind, failure)] * 2
    assert all(outcome.mutations for outcome in outcomes)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("copy-")] == [f"copy-{os.getpid()}"]


def test_an_endless_wait_is_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "SECONDS", 1.0)
    (outcome,) = planted(tmp_path, lambda: time.sleep(60)).run([CASE])
    assert (outcome.kind, outcome.failure) == ("fails", "more than 1 s")


def test_too_much_computing_is_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "CPU_SECONDS", -1.0)
    (outcome,) = planted(tmp_path, lambda: None).run([CASE])
    assert outcome.failure == "more than -1 s of CPU time"


def test_the_smallest_case_has_one_mutation(tmp_path):
    fuzzer = planted(tmp_path, fail)
    (outcome,) = fuzzer.run([CASE])
    case, smaller = fuzzer.smallest(CASE, outcome)
    assert (len(case.seeds), len(smaller.mutations), smaller.failure) == (1, 1, outcome.failure)


def test_a_seed_always_makes_the_same_mutation(tmp_path):
    contents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "c.json"
        changes = []
        for seed in range(30):
            path.write_text(json.dumps({"a": [1, 2], "b": {"c": "text"}}))
            changes.append((mutate_file(random.Random(seed), path), path.read_bytes()))
        contents.append(changes)
    assert contents[0] == contents[1]
    assert len({content for _, content in contents[0]}) > 20


def test_a_folder_can_be_mutated_again_and_again(tmp_path):
    for seed in range(60):
        mutate_folder(random.Random(seed), tmp_path)
    assert any(tmp_path.iterdir())


def test_a_few_inputs_of_every_kind(tmp_path):
    fuzzer = Fuzzer(tmp_path, dict(targets()))
    cases = list(itertools.islice(fuzzer.cases(seed=3), 2 * len(fuzzer.targets)))
    for case, outcome in zip(cases, fuzzer.run(cases), strict=True):
        assert outcome.kind != "fails", (case, outcome)
