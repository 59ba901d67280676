"""What is loaded when: `import ulmkit` does no work, and heavy packages come only where they are used."""

import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support import tiny

from ulmkit.hub import EnsembleParts, TrainingFacts, save_ensemble
from ulmkit.members.combiner import Combiner
from ulmkit.members.linear import LinearMember
from ulmkit.members.ngrams import NGrams
from ulmkit.pipeline import prepare
from ulmkit.tasks import TASKS
from ulmkit.text import Vocabulary, WhitespaceTokenizer

HEAVY = ("torch", "spacy", "sentencepiece", "datasets", "pyarrow", "sklearn", "matplotlib", "rich", "typer", "fastapi")

NOT_FOR_LINEAR_MEMBERS = (
    *("torch", "sklearn", "pandas", "matplotlib", "spacy", "pyarrow", "datasets", "huggingface_hub"),
    *("scipy.stats", "scipy.optimize", "fastapi"),
)

REPORT = "import sys; print(*sorted(name for name in {names!r} if name in sys.modules))"

BLOCK = """
import sys
blocked = {names!r}
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)
sys.meta_path.insert(0, Block())
"""


def _run(code: str, folder: Path | None = None) -> str:
    """What a fresh interpreter prints."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


def test_import_ulmkit_loads_nothing_heavy_and_changes_no_environment() -> None:
    before = "import os, sys, warnings; old = dict(os.environ), list(warnings.filters), list(sys.path), os.getcwd()\n"
    after = "\nassert old == (dict(os.environ), list(warnings.filters), list(sys.path), os.getcwd())\n"
    assert _run(before + "import ulmkit" + after + REPORT.format(names=(*HEAVY, "numpy"))) == ""


def test_text_loads_no_torch() -> None:
    assert _run("import ulmkit.text\n" + REPORT.format(names=HEAVY)) == ""


@pytest.fixture(scope="module")
def linear_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of one linear member, which knows two words."""
    member = LinearMember(
        name="TF-IDF",
        words=("bad", "good"),
        joins_tokens=True,
        ngrams=NGrams(2),
        weighting="binary",
        feature_weights=None,
        coefficients=np.array([[-1.0], [2.0]], dtype=np.float32),
        intercept=np.zeros(1, dtype=np.float32),
        one_against_rest=False,
    )
    parts = EnsembleParts(
        TASKS["single"],
        Vocabulary(["<unk>", "<eos>", "bad", "good"]),
        WhitespaceTokenizer(),
        ("negative", "positive"),
        (member,),
        Combiner(np.ones(1), np.zeros(2)),
        TrainingFacts(),
    )
    return save_ensemble(tmp_path_factory.mktemp("linear") / "model", parts)


def test_linear_members_answer_without_torch(linear_folder: Path, tmp_path: Path) -> None:
    code = (
        "from ulmkit import TextClassifier\n"
        f"model = TextClassifier.load({str(linear_folder)!r})\n"
        "assert model.predict(['good', 'bad']) == ['positive', 'negative']\n"
        "stream = model.stream()\n"
        "stream.feed('go')\n"
        "stream.feed('od bad')\n"
        "assert (stream.finish() == model.predict_proba(['good bad'])[0]).all()\n"
        "(explanation,) = model.explain(['good bad'])\n"
        "assert [round(word.weight, 6) for word in explanation.words] == [2.0, -1.0]\n"
    )
    assert _run(code + REPORT.format(names=NOT_FOR_LINEAR_MEMBERS), tmp_path) == ""
    code += (
        "report = model.evaluate([('good', 'positive'), ('bad', 'positive')])\n"
        "assert report.accuracy == 0.5\n"
        "from ulmkit.pipeline import baseline_rows, linear_baselines\n"
        "from ulmkit.serve import create_app\n"
        "assert create_app(model).state.service.info().labels == ['negative', 'positive']\n"
    )
    assert _run(code + REPORT.format(names=("torch", "fastapi")), tmp_path) == "fastapi"


@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_a_network_answers_without_torchs_compiler(weights: str, tmp_path: Path) -> None:
    network = tiny.classifier()
    (network.to_int8() if weights == "int8" else network).save(tmp_path / "model")
    code = (
        "from ulmkit import TextClassifier\n"
        f"model = TextClassifier.load({str(tmp_path / 'model')!r})\n"
        "assert len(model.predict(['a film'])) == 1\n"
    )
    names = ("torch", "torch._dynamo", "sympy", "spacy", "sklearn")
    assert _run(code + REPORT.format(names=names), tmp_path) == "torch"


def _command(*arguments: object) -> str:
    """Code that runs the command line to its end."""
    return (
        f"import sys\nsys.argv = {['ulmkit', *map(str, arguments)]!r}\n"
        "from ulmkit.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
    )


def test_predict_loads_no_torch_for_linear_members(linear_folder: Path, tmp_path: Path) -> None:
    machine = ("--device", "cpu", "--precision", "fp32", "--threads", 1)
    code = _command("predict", linear_folder, "--text", "good", *machine)
    [row] = _run(code + REPORT.format(names=NOT_FOR_LINEAR_MEMBERS), tmp_path).splitlines()
    assert '"label": "positive"' in row


def test_serve_loads_no_torch_for_linear_members(linear_folder: Path, tmp_path: Path) -> None:
    replaced = "import ulmkit.serve\nulmkit.serve.serve = lambda load, folder, *_: print(load(folder).labels)\n"
    code = replaced + _command("serve", linear_folder, "--threads", 1)
    assert _run(code + REPORT.format(names=("torch", "sklearn")), tmp_path) == "('negative', 'positive')"


@pytest.mark.parametrize("package", ["api", "hub", "pipeline", "text", "training"])
def test_every_lazy_export_exists_and_shares_no_name_with_a_module_beside_it(package: str) -> None:
    imported = importlib.import_module(f"ulmkit.{package}")
    modules = {module.name for module in pkgutil.iter_modules(imported.__path__)}
    assert not modules & set(imported.__all__)
    assert all(getattr(imported, name) is not None for name in imported.__all__)
    with pytest.raises(AttributeError, match=f"module 'ulmkit.{package}' has no attribute 'nothing'"):
        _ = imported.nothing


def test_classes_are_found_and_training_from_an_encoded_corpus_needs_no_data_packages(tmp_path: Path) -> None:
    for tokenizer in ("spacy", "whitespace", "sentencepiece"):
        options = tiny.data_options(tokenizer)
        prepare(tiny.reviews(40), options, folder=tmp_path / tokenizer, task="single")
    classes = "(name for name in ulmkit.__all__ if not name.startswith('ULMFiT'))"  # those are scikit-learn's
    found = f"import ulmkit; assert all(getattr(ulmkit, name) for name in {classes})\n" + REPORT.format(names=HEAVY)
    code = (
        "\nimport torch; torch.set_num_threads(1)\n"
        "from ulmkit.pipeline import *\n"
        "from ulmkit.model.awd_lstm import AWDLSTMConfig\n"
        "from ulmkit.model.language_model import LanguageModelConfig\n"
        "from ulmkit.training import Budget\n"
        "sizes = LanguageModelConfig(encoder=AWDLSTMConfig(embedding_size=8, hidden_size=8, layers=2))\n"
        "recipe = LanguageModelRecipe(batch_size=4, bptt=10)\n"
        "for name in ('spacy', 'whitespace', 'sentencepiece'):\n"
        "    if name == 'sentencepiece': blocked.remove(name)\n"
        "    run = RunOptions(folder=f'run-{name}')\n"
        "    parts = pretrain(name, budget=Budget(steps=2), sizes=sizes, recipe=recipe, run=run)\n"
        "    print(parts.tokenizer.name)\n"
        "    assert parts.tokenizer.fingerprint\n"
    )
    blocked = ["spacy", "sentencepiece", "datasets", "pyarrow", "matplotlib", "rich", "typer"]
    told = _run(BLOCK.format(names=blocked) + found + code, tmp_path).split()
    assert told == ["torch", "spacy", "whitespace", "sentencepiece"]


def test_an_attribute_that_there_is_not() -> None:
    import ulmkit

    with pytest.raises(AttributeError, match="module 'ulmkit' has no attribute 'Languagemodel'"):
        _ = ulmkit.Languagemodel


def test_the_module_is_the_command() -> None:
    found = subprocess.run([sys.executable, "-m", "ulmkit", "--help"], capture_output=True, text=True, check=False)
    assert (found.returncode, "quickstart" in found.stdout) == (0, True), found.stderr
