"""A new cell takes this file alone: nothing in the package is edited."""

from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from ulmkit.config import to_dict
from ulmkit.errors import ConfigError
from ulmkit.hub import LanguageModelParts, load_language_model, save_language_model
from ulmkit.hub.facts import TrainingFacts
from ulmkit.kernels import choose_loop_backend
from ulmkit.model.awd_lstm import AWDLSTM, AWDLSTMConfig
from ulmkit.model.cells import CELLS, LSTM
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.heads import SingleLabelConfig
from ulmkit.model.int8_encoder import Int8Encoder
from ulmkit.model.language_model import AWDLSTMLanguageModel, LanguageModelConfig
from ulmkit.model.transfer import transfer_encoder
from ulmkit.text.tokens.tokenizers import WhitespaceTokenizer
from ulmkit.text.tokens.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class LeakyCell:
    """h_t = decay * h_{t-1} + tanh(W x_t)."""

    name: str = field(default="leaky", init=False)
    title: ClassVar[str] = "AWD-leaky"
    decay: float = 0.5

    def __str__(self) -> str:
        return f"leaky, decay {self.decay:g}"

    def make_layer(self, number: int, input_size: int, hidden_size: int) -> nn.Module:
        return LeakyLayer(input_size, hidden_size, self.decay)


@dataclass(frozen=True)
class PackedLeaky:
    weight: Tensor
    decay: float
    skips_padding: ClassVar[bool] = False

    def run(self, x: Tensor, h: Tensor, c: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        outputs = []
        for t, x_t in enumerate(x):
            valid = torch.ones(len(c), 1, dtype=torch.bool) if lengths is None else (t < lengths).unsqueeze(1)
            c = torch.where(valid, self.decay * c + (x_t @ self.weight.T).tanh().to(c.dtype), c)
            outputs.append(torch.where(valid, c, 0.0).to(x.dtype))
        return torch.stack(outputs) if outputs else x.new_empty(0, *c.shape), h, c


class LeakyLayer(nn.Module):
    def __init__(self, input_size: int, hidden_size: int, decay: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(hidden_size, input_size) * input_size**-0.5)
        self.decay = decay

    @property
    def input_weight(self) -> nn.Parameter:
        return self.weight

    def initial_state(self, batch_size: int) -> tuple[Tensor, Tensor]:
        return self.weight.new_zeros(batch_size, 0), self.weight.new_zeros(batch_size, len(self.weight))

    def pack(self, dtype, backend, weight_dropout, generator) -> PackedLeaky:
        choose_loop_backend(backend, "leaky")
        return PackedLeaky(self.weight.to(dtype), self.decay)


V = 11
SIZES = {"embedding_size": 16, "hidden_size": 24, "layers": 2}
CONFIG = LanguageModelConfig(encoder=AWDLSTMConfig(cell=LeakyCell(decay=0.8), **SIZES).without_dropout())


def language_model() -> AWDLSTMLanguageModel:
    torch.manual_seed(0)
    return AWDLSTMLanguageModel(CONFIG, V)


def test_it_learns():
    model = language_model()
    stream = (torch.arange(97)[:, None] * 3 + torch.arange(4)[None]) % V
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for step in range(80):
        start = 8 * (step % 12)
        loss = model.loss(stream[start : start + 8], stream[start + 1 : start + 9], ar=0.0, tar=0.0)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        losses.append(loss.nll.item())
    assert losses[-1] < 0.5 * losses[0]


def test_a_classifier_takes_the_encoder_over():
    model = language_model().eval()
    classifier = AWDLSTMClassifier(CONFIG.encoder, V, SingleLabelConfig(classes=2), chunk_steps=3).eval()
    transfer_encoder(model.encoder, classifier.encoder)
    ids, lengths = torch.randint(V, (9, 3)), torch.tensor([9, 4, 0])
    with torch.no_grad():
        outputs = classifier(ids, lengths)
        for number, length in enumerate(lengths.tolist()):
            alone = classifier(ids[:length, number : number + 1], lengths[number : number + 1])
            torch.testing.assert_close(outputs[number : number + 1], alone)


def test_encoders_that_do_not_fit_are_told_apart():
    encoder = AWDLSTM(CONFIG.encoder, V)
    with pytest.raises(ConfigError, match="cell: expected lstm as in the target encoder, got leaky in the source"):
        transfer_encoder(encoder, AWDLSTM(AWDLSTMConfig(cell=LSTM(), **SIZES), V))
    with pytest.raises(ConfigError, match=r"leaky_decay: expected 0.5 as in the target encoder, got 0.8 in the source"):
        transfer_encoder(encoder, AWDLSTM(AWDLSTMConfig(cell=LeakyCell(), **SIZES), V))
    with pytest.raises(ConfigError, match="int8: expected the cell 'lstm', which has int8 kernels, got 'leaky'"):
        Int8Encoder(encoder)


def test_a_model_folder_is_saved_described_and_read(monkeypatch, tmp_path):
    monkeypatch.setitem(CELLS, "leaky", LeakyCell)  # the one place that knows cells by name
    vocabulary = Vocabulary(["<unk>", "<eos>", *(f"w{number}" for number in range(V - 2))])
    parts = LanguageModelParts(language_model().eval(), vocabulary, WhitespaceTokenizer(), "forward", TrainingFacts())
    folder = save_language_model(tmp_path / "lm", parts)
    loaded = load_language_model(folder).model
    assert loaded.config == CONFIG
    assert to_dict(loaded.config)["encoder"]["cell"] == {"name": "leaky", "decay": 0.8}
    ids = torch.randint(V, (5, 2))
    with torch.no_grad():
        assert torch.equal(loaded(ids)[0], parts.model(ids)[0])
    card = (folder / "README.md").read_text()
    assert "(AWD-leaky)" in card
    assert "leaky, decay 0.8" in card
