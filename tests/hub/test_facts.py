"""Training facts: written, read back strictly, upgraded from the format before."""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import pytest
from support import tiny

from ulmkit.errors import ConfigError
from ulmkit.evaluation import PairedComparison
from ulmkit.hub import (
    ContinuationFacts,
    DataFacts,
    MachineFacts,
    RunFacts,
    SplitFacts,
    TrainingFacts,
    facts_from_json,
    facts_to_json,
)
from ulmkit.hub.format_1 import upgrade_facts
from ulmkit.model.transfer_report import TransferReport
from ulmkit.text import SplitPolicy
from ulmkit.text.corpus.facts import SharedDocuments
from ulmkit.training import Budget

MACHINE = MachineFacts(
    device="cpu", precision="fp32", backend="fused", architecture="x86_64", processors=2, threads=1, processes=2
)
RUN = RunFacts(
    budget=Budget(minutes=1.5),
    minutes=1.49,
    steps=120,
    epochs=2.5,
    tokens=9_000,
    tokens_per_second=100,
    stopped_because="budget",
    weights_of_step=100,
    averaged_steps=7,
    seed=3,
    machine=MACHINE,
)
DATA = DataFacts(
    name="reviews.csv",
    splits=(
        SplitFacts(
            name="train",
            use="training",
            documents=90,
            labelled=80,
            words=900,
            tokens=1_000,
            unknown_rate=0.01,
            fingerprint="7392d66dc62d90be",
        ),
        SplitFacts(name="valid", use="held out", documents=10),
    ),
    cleanness="other data",
    split_policy=SplitPolicy(kind="group", valid_fraction=0.1, seed=2, column="author"),
    near_duplicates={"valid": {"train": SharedDocuments(documents=10, exact=1, near=2)}},
)
FACTS = TrainingFacts(
    stage="classification",
    description="Tells good from bad.",
    license="cc0-1.0",
    language="en",
    data=DATA,
    run=RUN,
    recipe={"batch_size": 8, "optimizer": {"name": "adamw", "betas": [0.7, 0.99]}},
    base=TrainingFacts(stage="pretraining", data=DATA, base=None, validation={"perplexity": 61.5}),
    continuation=ContinuationFacts(
        kept=("good",),
        added=("so-so",),
        removed=("bad",),
        without_documents=("good",),
        old_data="10 labelled documents",
        old_documents=PairedComparison("accuracy", 10, 0.9, 0.8, -0.1, (-0.3, 0.1), 0, 1, 0.5),
        kept_held_out=2,
        seen_before=1,
    ),
    vocabulary_transfer=TransferReport(vocabulary_size=50, matched=40, corpus_share=0.9),
    labelled_documents=80,
    validation_before={"loss": 0.7},
    validation={"loss": 0.4, "accuracy": 0.9},
    validation_documents=10,
    baselines={"NB-SVM": {"accuracy": 0.85}},
    ladder=tiny.LADDER,
    int8=PairedComparison("accuracy", 10, 0.9, 0.9, 0.0, (-0.01, 0.01), 0, 0, 1.0),
    limits=("Only short texts.",),
    notes={"paper": "a name", "pages": [1, 2]},
)
VERSION_1 = json.loads((Path(__file__).parent / "data" / "facts_version_1.json").read_text())


def test_every_field_comes_back_from_json():
    assert all(getattr(FACTS, field.name) not in (None, (), {}) for field in dataclasses.fields(TrainingFacts)), (
        "a field is not tested"
    )
    assert facts_from_json(json.loads(json.dumps(facts_to_json(FACTS)))) == FACTS


def test_the_accuracy_on_held_out_labels_is_cross_validated_if_the_training_was():
    assert FACTS.held_out_accuracy == tiny.LADDER.kept.accuracy == 0.9
    few = replace(FACTS, validation={"accuracy": 1.0})
    assert few.held_out_accuracy == 0.9
    assert replace(few, ladder=replace(tiny.LADDER, is_cross_validated=False)).held_out_accuracy == 1.0
    assert replace(few, ladder=None).held_out_accuracy == 1.0
    assert replace(FACTS, ladder=None, validation={"loss": 0.4}).held_out_accuracy is None


def test_unknown_facts_are_left_out():
    assert facts_to_json(TrainingFacts()) == {}
    assert facts_to_json(TrainingFacts(base=TrainingFacts())) == {"base": {}}
    assert facts_from_json({"base": {}}) == TrainingFacts(base=TrainingFacts())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stge": "pretraining"}, "facts: unknown key 'stge'; did you mean 'stage'"),
        ({"data": {"name": "a", "split": []}}, r"facts\.data: unknown key 'split'; did you mean 'splits'"),
        ({"run": {"minutes": 3}}, r"facts\.run: missing key 'budget'"),
        ({"run": {"budget": {"minutes": -1}, "minutes": 3}}, "minutes: expected a number above 0, got -1"),
        ({"stage": "pretrainin"}, r"facts\.stage: got 'pretrainin'; did you mean 'pretraining'"),
        ({"labelled_documents": "10"}, r"facts\.labelled_documents: expected int, got '10'"),
        ({"labelled_documents": True}, r"facts\.labelled_documents: expected int, got True"),
        ({"labelled_documents": 1.5}, r"facts\.labelled_documents: expected int, got 1\.5"),
        ({"validation": {"loss": None}}, r"facts\.validation\.loss: expected float, got None"),
        ({"validation": [1]}, r"facts\.validation: expected an object, got \[1\]"),
        ({"limits": "short"}, r"facts\.limits: expected list, got 'short'"),
        ({"base": 3}, r"facts\.base: expected an object, got 3"),
        ({"int8": {**facts_to_json(FACTS)["int8"], "interval": [1.0]}}, r"interval: expected 2 values, got 1"),
    ],
)
def test_invalid_facts_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        facts_from_json({**facts_to_json(FACTS), **changes})


def test_baselines_are_added_to_a_copy():
    facts = TrainingFacts(baselines={"NB-SVM": {"accuracy": 0.85}})
    both = facts.with_baselines({"TF-IDF": {"accuracy": 0.8}})
    assert list(both.baselines) == ["NB-SVM", "TF-IDF"]
    assert list(facts.baselines) == ["NB-SVM"]


def test_facts_of_a_base_model_leave_out_its_settings():
    kept = FACTS.as_base()
    assert (kept.stage, kept.data, kept.run, kept.base) == (FACTS.stage, FACTS.data, FACTS.run, FACTS.base)
    assert kept == replace(TrainingFacts(), **{name: getattr(FACTS, name) for name in facts_to_json(kept)})
    assert not kept.recipe


def test_facts_of_a_language_model_of_version_1():
    facts = facts_from_json(upgrade_facts(VERSION_1["fine-tuning"]))
    assert (facts.stage, facts.run.budget, facts.run.steps, facts.run.tokens) == (
        "fine-tuning",
        Budget(steps=2),
        2,
        256,
    )
    assert facts.run.machine == replace(MACHINE, processes=1)
    assert facts.recipe["batch_size"] == 8
    assert facts.validation_before["perplexity"] == pytest.approx(20.19, abs=0.01)
    assert facts.validation["perplexity"] == pytest.approx(20.92, abs=0.01)
    assert facts.vocabulary_transfer == TransferReport(vocabulary_size=25, matched=25, corpus_share=1.0)
    assert facts.data.split_policy == SplitPolicy(kind="random", valid_fraction=0.1, seed=0)
    assert facts.data.cleanness == "clean"
    assert [(split.name, split.use, split.documents) for split in facts.data.splits] == [
        ("train", "training", 108),
        ("valid", "held out", 12),
    ]
    assert facts.base == TrainingFacts(
        stage="pretraining",
        data=DataFacts(name=facts.data.name, splits=facts.data.splits),
        run=RunFacts(budget=Budget(steps=3), minutes=0.0),
    )
    assert facts.notes == {}


def test_facts_of_a_classifier_of_version_1():
    facts = facts_from_json(upgrade_facts(VERSION_1["classification"]))
    assert facts.base.validation["perplexity"] == pytest.approx(20.92, abs=0.01)
    assert (facts.labelled_documents, facts.validation_documents) == (108, 12)
    assert facts.validation == {"loss": pytest.approx(0.734, abs=0.001), "accuracy": 0.5}
    assert facts.baselines == {"TF-IDF + logistic regression": {"loss": 0.4, "accuracy": 0.8}}
    assert facts.notes == {}
    scratch = facts_from_json(upgrade_facts({**VERSION_1["classification"], "pretrained": False, "base": {}}))
    assert scratch == replace(facts, base=None)


def test_facts_of_version_1_on_several_processes():
    old = {**VERSION_1["pretraining"], "machine": "x86_64, 2 processors, 1 threads, 2 processes"}
    assert facts_from_json(upgrade_facts(old)).run.machine == MACHINE


@pytest.mark.parametrize(
    "old",
    [
        {"of": "forward"},
        {"figures": {"accuracy": 0.5}},
        {"budget": {"minutes": 15, "reached": None}},
        {"data": [{"name": "made up"}]},
        {"splits": 3},
    ],
)
def test_facts_of_version_1_that_no_training_wrote_become_notes(old):
    facts = facts_from_json(upgrade_facts(old))
    assert facts == TrainingFacts(notes=facts.notes)
    assert facts.notes.items() <= old.items()


def test_names_of_version_1_that_no_training_wrote_become_notes():
    facts = facts_from_json(upgrade_facts({"description": "Tells good from bad.", "paper": "a name"}))
    assert facts == TrainingFacts(description="Tells good from bad.", notes={"paper": "a name"})
