"""AdamW and Muon behind one object, against their formulas written out."""

import numpy as np
import pytest
import torch
from torch import nn

from trainer.model import Decoder, initialize
from trainer.optimizers import Optimizer, blocks, sorted_parameters
from trainer.settings import ModelSettings, OptimizerSettings

SETTINGS = ModelSettings(vocabulary=16, context=8, layers=2, width=16, heads=2, kv_heads=1, hidden=24, tied=False)
ADAMW = OptimizerSettings(learning_rate=0.01, weight_decay=0.1, clip=None)
MUON = OptimizerSettings(kind="muon", learning_rate=0.01, weight_decay=0.1, clip=None)


def made(settings=SETTINGS):
    model = Decoder(settings)
    initialize(model, 1)
    return model


def with_gradients(model, seed):
    chance = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=chance)
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def values(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def adamw(weights, gradients, steps, decay, fraction):
    """Loshchilov and Hutter, algorithm 2, in float64."""
    w, m, v = weights.double().numpy(), 0.0, 0.0
    for step, gradient in enumerate(gradients, 1):
        g = gradient.double().numpy()
        m, v = 0.9 * m + 0.1 * g, 0.95 * v + 0.05 * g * g
        rate = 0.01 * fraction
        w = w - rate * decay * w - rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.95**step)) + 1e-8)
    assert steps == len(gradients)
    return w


def test_parameters_are_sorted_by_what_they_are():
    hidden, matrices, rest = sorted_parameters(made())
    assert all(name.startswith("blocks.") and p.ndim == 2 for name, p in hidden.items())
    assert list(matrices) == ["head.weight"]
    assert "embedding.weight" in rest
    assert {name for name in rest if "norm" not in name} == {"embedding.weight"}
    assert len(hidden) + len(matrices) + len(rest) == len(list(made().parameters()))


def test_a_tied_output_layer_is_the_embedding():
    _, matrices, rest = sorted_parameters(made(SETTINGS.model_copy(update={"tied": True})))
    assert not matrices
    assert "embedding.weight" in rest


def test_frozen_parameters_are_in_no_group():
    model = made()
    model.embedding.weight.requires_grad_(False)
    assert "embedding.weight" not in {name for group in sorted_parameters(model) for name in group}


def test_blocks_are_the_longest_list_of_modules():
    model = nn.ModuleDict({"short": nn.ModuleList([nn.Linear(1, 1)]), "long": nn.ModuleList([nn.Linear(2, 2)] * 3)})
    assert blocks(model) == list(model["long"])
    assert blocks(nn.Linear(1, 1)) == []


def test_adamw_follows_its_formula_and_decays_matrices_alone():
    model = made()
    optimizer = Optimizer(model, ADAMW)
    before, seen = values(model), []
    for step in range(3):
        seen.append(with_gradients(model, step))
        optimizer.step(0.5, norm=1.0)
    hidden, matrices, _ = sorted_parameters(model)
    for name, parameter in model.named_parameters():
        decay = 0.1 if name in hidden or name in matrices else 0.0
        expected = adamw(before[name], [gradients[name] for gradients in seen], 3, decay, 0.5)
        np.testing.assert_allclose(parameter.detach().numpy(), expected, atol=1e-6)


def test_muon_moves_the_matrices_of_blocks_and_adamw_the_rest():
    model, other = made(), made()
    muon, adam = Optimizer(model, MUON), Optimizer(other, ADAMW)
    for step in range(3):
        with_gradients(model, step)
        with_gradients(other, step)
        muon.step(0.5, norm=1.0)
        adam.step(0.5, norm=1.0)
    hidden, matrices, rest = sorted_parameters(model)
    moved, like = dict(model.named_parameters()), dict(other.named_parameters())
    assert all(torch.equal(moved[name], like[name]) for name in [*matrices, *rest])
    assert not any(torch.equal(moved[name], like[name]) for name in hidden)


def test_a_step_of_muon_is_nearly_orthogonal():
    model = made()
    optimizer = Optimizer(model, MUON.model_copy(update={"weight_decay": 0.0}))
    before = values(model)
    with_gradients(model, 1)
    optimizer.step(1.0, norm=1.0)
    name = "blocks.0.attention.out.weight"
    step = (before[name] - dict(model.named_parameters())[name].detach()) / MUON.muon_learning_rate
    assert np.linalg.svd(step.numpy(), compute_uv=False) == pytest.approx(
        np.ones(16), abs=0.4
    )  # five Newton-Schulz steps


def test_the_norm_is_of_the_whole_gradient_and_is_clipped():
    model, other = made(), made()
    clipped = Optimizer(model, ADAMW.model_copy(update={"clip": 0.25, "epsilon": 1.0}))
    free = Optimizer(other, ADAMW.model_copy(update={"epsilon": 1.0}))
    gradients = with_gradients(model, 0)
    size = clipped.norm().item()
    assert size == pytest.approx(np.sqrt(sum(float((g.double() ** 2).sum()) for g in gradients.values())))
    for name, parameter in other.named_parameters():
        parameter.grad = gradients[name] * (0.25 / size)
    clipped.step(1.0, size)
    free.step(1.0, 0.25)
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(model.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("settings", [ADAMW, MUON], ids=["adamw", "muon"])
def test_an_optimizer_goes_on_from_its_state_bit_for_bit(settings):
    model, other = made(), made()
    one = Optimizer(model, settings)
    with_gradients(model, 0)
    one.step(1.0, 1.0)
    other.load_state_dict(model.state_dict())
    two = Optimizer(other, settings)
    two.load({name: value.clone() for name, value in one.state().items()})
    for optimizer, trained in ((one, model), (two, other)):
        with_gradients(trained, 1)
        optimizer.step(0.5, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert one.state().keys() == two.state().keys()


def test_state_of_other_parameters_is_refused():
    with pytest.raises(ValueError, match=r"the optimizer has no parameter 'blocks.9.x'"):
        Optimizer(made(), ADAMW).load({"blocks.9.x/exp_avg": torch.zeros(1)})


def test_a_model_without_trainable_parameters_is_refused():
    with pytest.raises(ValueError, match="the model has no trainable parameters"):
        Optimizer(made().requires_grad_(False), ADAMW)
    with pytest.raises(ValueError, match="Muon trains the matrices of a model's blocks, and this one has none"):
        Optimizer(nn.Linear(2, 2), MUON)
