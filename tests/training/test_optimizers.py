import copy

import pytest
import torch
from torch import nn

from ulmkit.errors import ConfigError
from ulmkit.training import OptimizerConfig, discriminative_rates, make_optimizer
from ulmkit.training.optimizers import load_optimizer_state, optimizer_state, set_rates


def parameters():
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(3, 2, generator=generator)), nn.Parameter(torch.randn(3, generator=generator))]


def give_gradients(members, number):
    for parameter in members:
        parameter.grad = torch.full_like(parameter, 0.5) * number + parameter.detach() * 0.1


def adam_by_hand(p, config, rate, steps):
    m, v = torch.zeros_like(p), torch.zeros_like(p)
    b1, b2 = config.betas
    for t in range(1, steps + 1):
        g = torch.full_like(p, 0.5) * t + p * 0.1
        if config.decay == "l2":
            g = g + config.weight_decay * p
        else:
            p = p - rate * config.weight_decay * p
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        p = p - rate * (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + config.eps)
    return p


def sgd_by_hand(p, config, rate, steps):
    buffer = None
    for t in range(1, steps + 1):
        g = torch.full_like(p, 0.5) * t + p * 0.1
        if config.decay == "l2":
            g = g + config.weight_decay * p
        else:
            p = p - rate * config.weight_decay * p
        buffer = g if buffer is None else config.momentum * buffer + g
        p = p - rate * buffer
    return p


@pytest.mark.parametrize("decay", ["decoupled", "l2"])
@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_steps_against_the_formulas(name, decay):
    config = OptimizerConfig(name=name, decay=decay, weight_decay=0.3, momentum=0.9, betas=(0.7, 0.99))
    members = parameters()
    start = [p.detach().clone() for p in members]
    optimizer = make_optimizer([[members[0]], [members[1]]], config, [0.1, 0.2])
    for number in range(1, 5):
        give_gradients(members, number)
        optimizer.step()
    naive = adam_by_hand if name == "adamw" else sgd_by_hand
    for parameter, before, rate in zip(members, start, (0.1, 0.2), strict=True):
        torch.testing.assert_close(parameter.detach(), naive(before, config, rate, 4))


def test_discriminative_rates_by_hand():
    assert discriminative_rates(0.01, 4) == pytest.approx([0.01 / 17.576, 0.01 / 6.76, 0.01 / 2.6, 0.01])
    assert discriminative_rates(0.3, 2, factor=1.0) == [0.3, 0.3]


def test_rates_and_momentum_reach_their_groups():
    members = parameters()
    config = OptimizerConfig(betas=(0.7, 0.98))
    optimizer = make_optimizer([[members[0]], [members[1]]], config, [0.0, 0.0])
    set_rates(optimizer, [0.5, 0.25], 0.85, config)
    assert [(g["lr"], g["betas"]) for g in optimizer.param_groups] == [(0.5, (0.85, 0.98)), (0.25, (0.85, 0.98))]
    set_rates(optimizer, [0.5, 0.25], None, config)
    assert optimizer.param_groups[0]["betas"] == (0.7, 0.98)
    config = OptimizerConfig(name="sgd", momentum=0.6)
    optimizer = make_optimizer([members], config, [0.0])
    set_rates(optimizer, [0.5], 0.9, config)
    assert optimizer.param_groups[0]["momentum"] == 0.9
    set_rates(optimizer, [0.5], None, config)
    assert optimizer.param_groups[0]["momentum"] == 0.6


def test_momentum_of_a_parameter_that_joins_later():
    members = parameters()
    start = [p.detach().clone() for p in members]
    config = OptimizerConfig(name="sgd", momentum=0.9, weight_decay=0.3)
    optimizer = make_optimizer([members], config, [0.1])
    for number in range(1, 6):
        give_gradients(members, number)
        if number < 3:
            members[1].grad = None
        optimizer.step()
    torch.testing.assert_close(members[0].detach(), sgd_by_hand(start[0], config, 0.1, 5))
    assert not torch.equal(members[1], start[1])


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_state_by_name_resumes_exactly(name):
    config = OptimizerConfig(name=name, momentum=0.9)
    members = parameters()
    names = dict(zip(members, ["matrix", "vector"], strict=True))
    optimizer = make_optimizer([members], config, [0.1])
    members[0].grad = torch.ones_like(members[0])  # the vector has no gradient, so no state
    optimizer.step()
    saved = copy.deepcopy(optimizer_state(optimizer, names))
    assert list(saved) == ["matrix"]
    copies = [nn.Parameter(p.detach().clone()) for p in members]
    other = make_optimizer([copies], config, [0.1])
    load_optimizer_state(other, dict(zip(copies, ["matrix", "vector"], strict=True)), saved)
    for opt, group in ((optimizer, members), (other, copies)):
        give_gradients(group, 2)
        opt.step()
    assert all(torch.equal(a, b) for a, b in zip(members, copies, strict=True))
    with pytest.raises(ConfigError, match="there is no parameter 'strange'"):
        load_optimizer_state(other, dict(zip(copies, ["matrix", "vector"], strict=True)), {"strange": {}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "adam"}, "optimizer: got 'adam'; did you mean 'adamw'"),
        ({"decay": "L2"}, "decay: got 'L2'"),
        ({"betas": (0.9,)}, r"betas: expected two numbers, got \(0.9,\)"),
        ({"betas": (0.9, 1.0)}, "betas: expected 0 <= p < 1, got 1.0"),
        ({"eps": 0.0}, "eps: expected a number above 0, got 0.0"),
        ({"weight_decay": -1.0}, "weight_decay: expected a number of at least 0, got -1.0"),
        ({"momentum": 1.0}, "momentum: expected 0 <= p < 1, got 1.0"),
    ],
)
def test_config_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        OptimizerConfig(**options)


def test_refused():
    with pytest.raises(ConfigError, match="rates: expected one for each of 1 groups, got 2"):
        make_optimizer([parameters()], OptimizerConfig(), [0.1, 0.2])
    with pytest.raises(ConfigError, match="factor: expected a number above 0, got 0"):
        discriminative_rates(0.1, 3, factor=0)
    with pytest.raises(ConfigError, match="peak: expected a number above 0, got -0.1"):
        discriminative_rates(-0.1, 3)
    with pytest.raises(ConfigError, match="groups: expected a whole number of at least 1, got 0"):
        discriminative_rates(0.1, 0)
