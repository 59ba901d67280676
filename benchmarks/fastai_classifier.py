"""fastai's text classifier as a peer that answers requests: AWD-LSTM on spaCy's words, asked by `Learner.predict`.

Its weights are random: fastai downloads those that it would start from, and an answer takes as long with any.
"""

import json
import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SIZES = {"emb_sz": 400, "n_hid": 1152, "n_layers": 3}
"""fastai's default sizes."""

_LEARNER_FILE = "learner.pkl"
_NAMES = {"embedding_size": "emb_sz", "hidden_size": "n_hid", "layers": "n_layers"}


def network_sizes(classifier: Path) -> dict[str, int]:
    """Sizes of a classifier's network by fastai's names; fastai's own if the folder is not that of one network."""
    encoder = json.loads((classifier / "config.json").read_text(encoding="utf-8")).get("encoder")
    return SIZES if encoder is None else {theirs: encoder[ours] for ours, theirs in _NAMES.items()}


class FastaiClassifier:
    """A `frontier_peers.Peer` that is not trained, so that its labels mean nothing.

    Args:
        sizes: Sizes of the network, by fastai's names.
        learner: A learner; None leaves that to `fit`.
    """

    name = "fastai"
    modules = ("fastai",)

    def __init__(self, sizes: Mapping[str, int] = SIZES, learner: Any = None) -> None:
        self.sizes = sizes
        self.learner = learner
        self._lock = threading.Lock()

    def fit(self, texts: Sequence[str], labels: Sequence[str], unlabelled: Sequence[str]) -> None:
        """Collect the vocabulary and the labels, and make the network."""
        import pandas
        from fastai.text.all import AWD_LSTM, TextDataLoaders, awd_lstm_clas_config, text_classifier_learner

        table = pandas.DataFrame({"text": list(texts), "label": list(labels)})
        loaders = TextDataLoaders.from_df(table, text_col="text", label_col="label", seed=0)
        config = {**awd_lstm_clas_config, **self.sizes}
        self.learner = text_classifier_learner(loaders, AWD_LSTM, config=config, pretrained=False)

    def predict(self, texts: Sequence[str]) -> list[str]:
        """Return the label of each text; one after the other, since a learner keeps what it works on in itself."""
        with self._lock, self.learner.no_bar():
            return [str(self.learner.predict(text)[0]) for text in texts]

    def save(self, folder: Path) -> None:
        """Export the learner."""
        self.learner.export(folder / _LEARNER_FILE)

    @classmethod
    def load(cls, folder: Path) -> "FastaiClassifier":
        """Read what `save` wrote."""
        from fastai.text.all import load_learner

        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of pickle, which `save` wrote
            return cls(learner=load_learner(folder / _LEARNER_FILE))
