import json
import random

import numpy as np
import torch

from ulmkit.training import Checkpoint, load_checkpoint, save_checkpoint, seed_everything
from ulmkit.training.rng import capture_rng, restore_rng


def draw():
    return random.random(), np.random.rand(), np.random.randn(), torch.rand(1).item(), random.gauss(0, 1)


def test_states_go_through_a_checkpoint(tmp_path):
    draw()
    state = capture_rng()
    expected = draw()
    path = save_checkpoint(tmp_path, 1, Checkpoint({}, {"rng": state}))
    restore_rng(load_checkpoint(path).state["rng"])
    assert draw() == expected
    json.dumps({**state, "torch": None, "cuda": None})


def test_seed():
    seed_everything(2**40)
    first = draw()
    seed_everything(2**40)
    assert draw() == first
