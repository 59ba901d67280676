"""The options of cells: what they make, and what is refused."""

import dataclasses

import pytest
import torch

from ulmkit.config import to_dict
from ulmkit.errors import ConfigError
from ulmkit.model.awd_lstm import AWDLSTM, AWDLSTMConfig
from ulmkit.model.cells import (
    CELLS,
    LSTM,
    QRNN,
    Mogrifier,
    cell_from_dict,
    cell_from_options,
    cell_options,
)
from ulmkit.model.int8_encoder import Int8Encoder
from ulmkit.model.transfer import transfer_encoder

V = 11
SIZES = {"embedding_size": 6, "hidden_size": 9, "layers": 3}


def shapes(**options) -> dict[str, tuple[int, ...]]:
    model = AWDLSTM(AWDLSTMConfig(**SIZES, **options), V)
    return {name: tuple(value.shape) for name, value in model.state_dict().items() if name != "embedding.weight"}


def test_an_lstm_is_the_default_and_has_no_extra_parameters():
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    assert list(shapes()) == [f"layers.{number}.{name}" for number in range(3) for name in names]
    torch.manual_seed(3)
    drawn = AWDLSTM(AWDLSTMConfig(**SIZES), V).state_dict()
    torch.manual_seed(3)
    torch.nn.init.uniform_(torch.empty(11, 6))
    assert torch.equal(drawn["layers.0.weight_ih"], torch.empty(36, 6).uniform_(-1 / 3, 1 / 3))


def test_a_qrnn_reads_two_inputs_in_its_first_layer():
    assert shapes(cell=QRNN()) == {
        "layers.0.weight": (27, 12),
        "layers.0.bias": (27,),
        "layers.1.weight": (27, 9),
        "layers.1.bias": (27,),
        "layers.2.weight": (18, 9),
        "layers.2.bias": (18,),
    }
    model = AWDLSTM(AWDLSTMConfig(**SIZES, cell=QRNN()), V)
    assert [(tuple(a.shape), tuple(c.shape)) for a, c in model.initial_state(4)] == [
        ((4, 6), (4, 9)),
        ((4, 0), (4, 9)),
        ((4, 0), (4, 6)),
    ]
    assert model.layers[0].weight.abs().max() <= 12**-0.5
    assert model.layers[0].weight.abs().max() > 0.9 * 12**-0.5


def test_the_mogrifiers_matrices_are_whole_or_of_the_rank():
    def matrices(**options):
        found = shapes(cell=Mogrifier(**options))
        return {
            name.removeprefix("layers.0.modulations."): shape for name, shape in found.items() if "layers.0.m" in name
        }

    assert matrices(rounds=3, rank=None) == {"0.0": (6, 9), "1.0": (9, 6), "2.0": (6, 9)}
    assert matrices(rounds=3, rank=6) == {"0.0": (6, 9), "1.0": (9, 6), "2.0": (6, 9)}
    assert matrices(rounds=2, rank=5) == {
        "0.0": (6, 5),
        "0.1": (5, 9),
        "1.0": (9, 5),
        "1.1": (5, 6),
    }
    assert matrices(rounds=0) == {}


def test_a_mogrifier_without_rounds_is_an_lstm():
    mogrifier = AWDLSTM(AWDLSTMConfig(**SIZES, cell=Mogrifier(rounds=0)), V).double().eval()
    lstm = AWDLSTM(AWDLSTMConfig(**SIZES), V).double().eval()
    lstm.load_state_dict(mogrifier.state_dict())
    ids = torch.randint(11, (5, 2))
    torch.testing.assert_close(lstm(ids).raw, mogrifier(ids).raw)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cell_from_options("gru", {}), "cell: got 'gru'; there are: lstm, qrnn, mogrifier"),
        (lambda: cell_from_options("qrn", {}), "cell: got 'qrn'; did you mean 'qrnn'"),
        (lambda: cell_from_dict({}, "x"), "cell: got None; there are: lstm, qrnn, mogrifier"),
        (lambda: cell_from_dict({"name": "lstm", "rank": 3}, "x"), "x: cell: unknown key 'rank'"),
        (lambda: Mogrifier(rounds=-1), "mogrifier_rounds: expected a whole number of at least 0, got -1"),
        (lambda: Mogrifier(rank=-1), "mogrifier_rank: expected a whole number of at least 0, got -1"),
        (lambda: AWDLSTMConfig(cell="qrnn"), r"cell: expected a cell such as LSTM\(\), QRNN\(\) or .*, got 'qrnn'"),
    ],
)
def test_impossible_cells(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize("cell", [LSTM(), QRNN(), Mogrifier(), Mogrifier(rounds=2, rank=0)], ids=str)
def test_a_cell_is_read_as_it_was_written(cell):
    assert cell_from_dict(to_dict(cell), "here") == cell
    assert cell_from_options(cell.name, {"mogrifier_rounds": 2, "mogrifier_rank": None} | cell_options(cell)) == cell


@pytest.mark.parametrize("cell", ["qrnn", "mogrifier"])
@pytest.mark.parametrize("backend", ["fused", "torch"])
def test_kernels_of_the_lstm_are_refused(cell, backend):
    model = AWDLSTM(AWDLSTMConfig(**SIZES, cell=CELLS[cell]()), V)
    model.backend = backend
    with pytest.raises(
        ConfigError, match=f"backend: expected auto, stepwise or reference for the cell '{cell}', got '{backend}'"
    ):
        model.prepare(2)


@pytest.mark.parametrize("cell", ["qrnn", "mogrifier"])
def test_int8_is_refused(cell):
    model = AWDLSTM(AWDLSTMConfig(**SIZES, cell=CELLS[cell]()), V)
    with pytest.raises(ConfigError, match=f"int8: expected the cell 'lstm', which has int8 kernels, got '{cell}'"):
        Int8Encoder(model)


@pytest.mark.parametrize(("name", "ours"), [("rounds", 4), ("rank", 5)])
def test_mogrifiers_of_other_options(name, ours):
    cell = Mogrifier(rounds=4, rank=5)
    target = AWDLSTM(AWDLSTMConfig(**SIZES, cell=dataclasses.replace(cell, **{name: ours - 1})), V)
    message = f"mogrifier_{name}: expected {ours - 1} as in the target encoder, got {ours} in the source"
    with pytest.raises(ConfigError, match=message):
        transfer_encoder(AWDLSTM(AWDLSTMConfig(**SIZES, cell=cell), V), target)
