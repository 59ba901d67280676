"""Behaviour that the estimators share: parameters, threads, seeds, and pickling by the files of a model folder."""

import contextlib
import os
import tempfile
import warnings
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from ulmkit.api import LanguageModel, TextClassifier
from ulmkit.config import check_fraction
from ulmkit.errors import ConfigError
from ulmkit.estimator.inputs import check_texts
from ulmkit.pipeline import (
    CLASSIFY,
    DEFAULT_MODEL,
    ClassifierRecipe,
    DataOptions,
    RunOptions,
    ladder_text_parts,
    setting_of_networks,
    trains_networks,
    usual_recipe,
    why_no_networks,
)
from ulmkit.tasks import find_label_kind
from ulmkit.text import Document, EncodedCorpus, SplitPolicy, build_corpus
from ulmkit.training import Budget, make_progress

NO_LANGUAGE_MODEL = "none"
DEFAULT_MINUTES = 5.0
"""Length of a training for which no budget is given."""

_MODEL = "model_"


class TextEstimator(BaseEstimator):
    """An estimator on text that holds a model in `model_` once it is fitted.

    A pickle, a joblib file or a deep copy holds the files of the model's folder: JSON, safetensors and the tokenizer's.

    Subclasses document the parameters.
    """

    model_: TextClassifier | LanguageModel

    def __init__(
        self,
        language_model: str | os.PathLike[str] | None = DEFAULT_MODEL,
        *,
        device: str = "auto",
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.language_model = language_model
        self.device = device
        self.n_jobs = n_jobs
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if _MODEL in state:
            state[_MODEL] = model_files(state[_MODEL])
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        state = dict(state)
        files = state.pop(_MODEL, None)
        super().__setstate__(state)
        if files is not None:
            self.model_ = self._load_files(files)

    @abstractmethod
    def _load_files(self, files: Mapping[str, bytes]) -> TextClassifier | LanguageModel:
        """Load the model from the files of its folder."""

    def _run_options(self, seed: int = 0) -> RunOptions:
        return RunOptions(
            device=self.device,
            seed=seed,
            threads=None if self.n_jobs is None else effective_n_jobs(self.n_jobs),
            progress=make_progress() if self.verbose else None,
        )

    def _names_language_model(self) -> bool:
        return self.language_model is not None and self.language_model != NO_LANGUAGE_MODEL

    def _load_language_model(self) -> LanguageModel | None:
        """Load the language model; None if the parameter is None or "none".

        Raises:
            ConfigError: If the parameter is neither a name nor a folder.
            FolderError: If there is no such model.
        """
        name = self.language_model
        if not self._names_language_model():
            return None
        if not isinstance(name, str | os.PathLike):
            raise ConfigError(
                f"language_model: expected a name, a folder or {NO_LANGUAGE_MODEL!r}, got {type(name).__name__}; save "
                "the model to a folder and give that"
            )
        return LanguageModel.load(name, self._run_options())


class TrainedTextEstimator(TextEstimator):
    """An estimator whose model is trained on labelled texts. Subclasses document the parameters."""

    model_: TextClassifier

    def __init__(
        self,
        language_model: str | os.PathLike[str] | None = DEFAULT_MODEL,
        *,
        epochs: float | None = None,
        steps: int | None = None,
        minutes: float | None = None,
        recipe: ClassifierRecipe | None = None,
        validation_fraction: float = 0.1,
        device: str = "auto",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(language_model, device=device, n_jobs=n_jobs, verbose=verbose)
        self.epochs = epochs
        self.steps = steps
        self.minutes = minutes
        self.recipe = recipe
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def _load_files(self, files: Mapping[str, bytes]) -> TextClassifier:
        with folder_of(files) as folder:
            return TextClassifier.load(folder, self._run_options())

    def _train(
        self,
        documents: Sequence[Document],
        label_names: Sequence[str],
        *,
        task: str,
        method: str,
        recipe: ClassifierRecipe,
    ) -> TextClassifier:
        """Train a classifier; documents with a label have no split yet, the others have the unsupervised one."""
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        budget = asdict(self._budget())
        if not trains_networks(method, task, has_language_model=self._names_language_model()):
            why = why_no_networks(method, instead="give a language model")
            ignored = next((name for name in budget if getattr(self, name) is not None), None)
            if ignored is not None:
                warnings.warn(f"{ignored}: has no effect: {why}", UserWarning, stacklevel=3)
            if (setting := setting_of_networks(recipe)) is not None:
                warnings.warn(f"recipe: {setting} has no effect: {why}", UserWarning, stacklevel=3)
            budget = {}
            recipe = replace(CLASSIFY, class_weights=recipe.class_weights)
        check_fraction("validation_fraction", self.validation_fraction)
        run = self._run_options(seed)
        with limited_threads(self.n_jobs), torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
            language_model = self._load_language_model()
            if language_model is None and method == "finetune":
                raise ConfigError(
                    f"language_model: expected one to fine-tune, got {self.language_model!r}; give a name or a folder"
                )
            corpus = self._build_corpus(documents, Path(folder) / "corpus", language_model, label_names, task, seed)
            return TextClassifier.train(
                corpus,
                language_model,
                method=method,
                task=task,
                recipe=recipe,
                run=run,
                **budget,
            )

    def _build_corpus(
        self,
        documents: Sequence[Document],
        folder: Path,
        language_model: LanguageModel | None,
        label_names: Sequence[str],
        task: str,
        seed: int,
    ) -> EncodedCorpus:
        """Encode documents in a temporary folder, since the cache would keep every fold of a search."""
        options = DataOptions()
        parts = None if language_model is None else language_model.parts
        vocabulary, tokenizer = ladder_text_parts(documents, options, parts)
        return build_corpus(
            documents,
            folder,
            tokenizer=options.tokenizer_settings() if tokenizer is None else tokenizer,
            vocabulary=vocabulary,
            min_freq=1 if vocabulary is None else None,
            split_policy=SplitPolicy(kind="random", valid_fraction=self.validation_fraction, seed=seed),
            label_kind=find_label_kind(task),
            label_names=label_names,
            workers=1 if self.n_jobs is None else effective_n_jobs(self.n_jobs),
            count_near_duplicates=False,
        )

    def _outputs(self, X: Iterable[object]) -> np.ndarray:
        """Check texts and compute the model's outputs for them: probabilities (n, C) or numbers (n,), float64."""
        check_is_fitted(self)
        texts = check_texts(X)
        with limited_threads(self.n_jobs):
            return np.asarray(self.model_.predict_proba(texts), dtype=np.float64)

    def _budget(self) -> Budget:
        lengths = {name: getattr(self, name) for name in ("epochs", "steps", "minutes")}
        if all(value is None for value in lengths.values()):
            return Budget(minutes=DEFAULT_MINUTES)
        return Budget(**lengths)

    def _recipe(self, method: str, task: str) -> ClassifierRecipe:
        if self.recipe is not None and not isinstance(self.recipe, ClassifierRecipe):
            raise ConfigError(f"recipe: expected a ClassifierRecipe or None, got {type(self.recipe).__name__}")
        return self.recipe or usual_recipe(method, task, has_language_model=self._names_language_model())


def model_files(model: TextClassifier | LanguageModel) -> dict[str, bytes]:
    """The files of a model's folder by their paths in it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        model.save(folder)
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@contextlib.contextmanager
def folder_of(files: Mapping[str, bytes]) -> Iterator[Path]:
    """Folder with files by their paths in it, for as long as the context lasts.

    Raises:
        ConfigError: If a path leads out of the folder.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        for name, content in files.items():
            path = (folder / name).resolve()
            if not path.is_relative_to(folder):
                raise ConfigError(f"state: expected the path of a file in a model folder, got {name!r}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        yield folder


@contextlib.contextmanager
def limited_threads(n_jobs: int | None) -> Iterator[None]:
    """Context in which torch and the linear algebra of NumPy use a number of CPU threads.

    Args:
        n_jobs: Number of threads; -1 for one per processor, None to leave it as it is.
    """
    if n_jobs is None:
        yield
        return
    threads = effective_n_jobs(n_jobs)
    with threadpool_limits(limits=threads):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
