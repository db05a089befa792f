"""The decoder: positions against hand-written references, documents that never feel each other, seeds that decide all."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.fused import Turn, rotate
from trainer.model import Decoder, count_parameters, flops_per_token, initialize, rotations
from trainer.settings import ModelSettings

TINY = ModelSettings(vocabulary=61, context=32, layers=2, width=32, heads=4, kv_heads=2, hidden=48)
POSITIONS = ("rope", "alibi", "none")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def decoder(seed=3, **changes):
    model = Decoder(TINY.model_copy(update=changes))
    initialize(model, seed)
    with torch.no_grad():  # so that every part has an effect on the logits
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


def batch(seed=0):
    made = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, 61, (3, 33), generator=made)
    starts = torch.zeros(3, 32, dtype=torch.int32)
    for row, first in [(0, 7), (0, 8), (0, 20), (2, 1), (2, 31)]:
        starts[row, first:] = first
    return tokens[:, :-1], tokens[:, 1:], starts


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("backend", ["documents", "dense"])
@pytest.mark.parametrize("positions", POSITIONS)
def test_a_changed_document_leaves_every_bit_of_other_documents_logits(positions, backend, precision):
    model = decoder(positions=positions)
    for block in model.blocks:
        block.attention.backend = backend
    tokens, _, starts = batch()

    def logits(tokens):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            return model(tokens, starts)

    before = logits(tokens)
    for row, first in [(0, 0), (0, 7), (0, 8), (0, 20), (1, 0), (2, 0), (2, 1), (2, 31)]:
        inside = torch.zeros(3, 32, dtype=torch.bool)
        inside[row] = starts[row] == first
        after = logits(torch.where(inside, (tokens + 1) % 61, tokens))

        assert torch.equal(before[~inside], after[~inside])
        assert not torch.equal(before[inside], after[inside])


@pytest.mark.parametrize("positions", POSITIONS)
def test_a_document_has_the_same_logits_wherever_it_lies(positions):
    model = decoder(positions=positions)
    tokens, _, starts = batch()
    alone = model(tokens[:1, 8:20], torch.zeros(1, 12, dtype=torch.int32))

    torch.testing.assert_close(model(tokens, starts)[:1, 8:20], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("positions", POSITIONS)
def test_no_token_sees_the_future(positions):
    model = decoder(positions=positions)
    tokens, _, starts = batch()
    changed = tokens.clone()
    changed[1, 16] = (changed[1, 16] + 1) % 61

    before, after = model(tokens, starts), model(changed, starts)

    assert torch.equal(before[1, :16], after[1, :16])
    assert not torch.equal(before[1, 17], after[1, 17])


def by_hand(model, tokens):
    """One document through the decoder, written out with loops over heads and tokens; [T, V]."""
    shape = model.settings
    width = shape.width // shape.heads

    def norm(x, module):
        return x / (x.square().mean(-1, keepdim=True) + shape.norm_epsilon).sqrt() * module.weight

    def turned(x, position):
        if shape.positions != "rope":
            return x
        pairs = [complex(a, b) for a, b in zip(x[: width // 2].tolist(), x[width // 2 :].tolist(), strict=True)]
        angles = [position * shape.rope_theta ** (-2 * i / width) for i in range(width // 2)]
        made = [p * complex(math.cos(a), math.sin(a)) for p, a in zip(pairs, angles, strict=True)]
        return torch.tensor([p.real for p in made] + [p.imag for p in made], dtype=x.dtype)

    x = model.embedding.weight[tokens]
    for block in model.blocks:
        attention, feed = block.attention, block.feed_forward
        normed = norm(x, block.attention_norm)
        q, k, v = attention.qkv.weight.split([shape.width, shape.kv_heads * width, shape.kv_heads * width])
        mixed = torch.zeros_like(x)
        for h in range(shape.heads):
            rows = slice(h * width, (h + 1) * width)
            g = h * shape.kv_heads // shape.heads
            shared = slice(g * width, (g + 1) * width)
            keys = [turned(norm(k[shared] @ n, attention.k_norm), j) for j, n in enumerate(normed)]
            for t, n in enumerate(normed):
                query = turned(norm(q[rows] @ n, attention.q_norm), t)
                scores = torch.stack([query @ keys[j] / math.sqrt(width) for j in range(t + 1)])
                if shape.positions == "alibi":
                    slope = 2 ** (-8 * (h + 1) / shape.heads)
                    scores = scores - slope * torch.arange(t, -1, -1)
                values = torch.stack([v[shared] @ normed[j] for j in range(t + 1)])
                mixed[t, rows] = scores.softmax(0) @ values
        x = x + mixed @ attention.out.weight.T
        gate, up = (norm(x, block.feed_forward_norm) @ feed.gate_up.weight.T).chunk(2, dim=-1)
        x = x + (gate * gate.sigmoid() * up) @ feed.down.weight.T
    return norm(x, model.norm) @ model.head.weight.T


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("positions", POSITIONS)
def test_logits_are_those_of_a_decoder_written_out(positions, tied):
    model = decoder(positions=positions, tied=tied).double()
    if positions == "rope":
        model.tables_2TE = exact_rotations()
    tokens = batch()[0][:1, :9]

    with torch.no_grad():
        found = model(tokens, torch.zeros(1, 9, dtype=torch.int32))[0]
        expected = by_hand(model, tokens[0])

    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def exact_rotations():
    angles = torch.tensor([[p * 10_000 ** (-2 * i / 8) for i in range(4)] for p in range(32)], dtype=torch.float64)
    return torch.stack((angles.cos(), angles.sin()))


def test_rotations_keep_lengths_and_depend_on_distance_alone():
    tables = rotations(64, 16, 10_000.0)
    made = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, 16, generator=made)

    def at(x, position):
        return rotate(x, Turn(tables, torch.tensor([[position]]))).flatten()

    torch.testing.assert_close(at(q, 40).norm(), q.norm())
    torch.testing.assert_close(at(q, 13) @ at(k, 3), at(q, 50) @ at(k, 40), rtol=1e-4, atol=1e-4)
    assert torch.equal(at(q, 0), q.flatten())


def test_losses_are_cross_entropies_of_the_logits_and_so_are_their_gradients():
    model = decoder(positions="alibi").double()
    tokens, targets, starts = batch()
    weights = torch.linspace(0, 1, 96, dtype=torch.float64).view(3, 32)
    expected = torch.nn.functional.cross_entropy(model(tokens, starts).transpose(1, 2), targets, reduction="none")
    expected_gradients = torch.autograd.grad((expected * weights).sum(), list(model.parameters()))

    found = model.loss(tokens, targets, starts)
    found_gradients = torch.autograd.grad((found * weights).sum(), list(model.parameters()))

    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found_gradients, expected_gradients, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_runs_and_checkpointed_activations_give_the_same_bits(precision):
    def trained(*, checkpoint):
        model = decoder()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            nats = model.loss(*batch(), checkpoint=checkpoint)
        nats.mean().backward()
        return [nats, *(p.grad for p in model.parameters())]

    once = trained(checkpoint=False)
    for again in (trained(checkpoint=False), trained(checkpoint=True)):
        assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert once[0].dtype == torch.float32


def test_the_seed_alone_decides_the_weights():
    def weights(seed):
        model = Decoder(TINY)
        initialize(model, seed)
        return model.state_dict()

    torch.manual_seed(0)
    state = torch.get_rng_state()
    one = weights(1)
    torch.manual_seed(5)
    same, other = weights(1), weights(2)
    torch.manual_seed(0)
    initialize(Decoder(TINY), 1)

    assert all(torch.equal(one[name], same[name]) for name in one)
    matrices = [name for name in one if one[name].ndim == 2]
    assert not any(torch.equal(one[name], other[name]) for name in matrices)
    torch.manual_seed(0)
    assert torch.equal(state, torch.get_rng_state())


def test_weights_have_the_deviations_that_are_said():
    model = Decoder(TINY.model_copy(update={"width": 256, "hidden": 512, "vocabulary": 500, "layers": 8}))
    initialize(model, 0)
    block = model.blocks[3]

    deviations = [
        weight.std().item() / expected
        for weight, expected in [
            (model.embedding.weight, 0.02),
            (block.attention.qkv.weight, 0.5 / 16),
            (block.attention.out.weight, 0.5 / 16 / 4),
            (block.feed_forward.gate_up.weight, 0.5 / 16),
            (block.feed_forward.down.weight, 0.5 / 512**0.5 / 4),
        ]
    ]
    assert deviations == pytest.approx([1] * 5, rel=0.02)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(POSITIONS), st.booleans(), st.booleans(), st.sampled_from([1, 2, 4]), st.integers(1, 3))
def test_parameters_are_counted_without_making_them(positions, tied, query_key_norm, kv_heads, layers):
    changes = {
        "positions": positions,
        "tied": tied,
        "query_key_norm": query_key_norm,
        "kv_heads": kv_heads,
        "layers": layers,
    }
    shape = TINY.model_copy(update=changes)
    model = Decoder(shape)

    found = count_parameters(shape)

    assert found.total == sum(p.numel() for p in model.parameters())
    assert found.embedding == 61 * 32 * (1 if tied else 2)
    assert found.body == found.total - found.embedding
    assert flops_per_token(shape) == 6 * (found.body + 61 * 32)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"heads": 3, "kv_heads": 3}, "do not divide"),
        ({"kv_heads": 3}, "do not divide"),
        ({"width": 36, "heads": 4}, "odd one"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(changes, reason):
    with pytest.raises(ValueError, match=reason):
        Decoder(TINY.model_copy(update=changes))


def test_sequences_longer_than_the_context_are_refused():
    with pytest.raises(ValueError, match="longer than the model's context of 32"):
        decoder()(torch.zeros(1, 33, dtype=torch.int64), torch.zeros(1, 33, dtype=torch.int32))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("positions", POSITIONS)
def test_gpu_losses_are_those_of_the_cpu(positions, precision):
    model = decoder(positions=positions, width=256, layers=1)
    expected = model.loss(*batch())
    with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
        found = model.cuda().loss(*(x.cuda() for x in batch()))
    found.mean().backward()

    torch.testing.assert_close(found.cpu(), expected, rtol=0.05 if precision == "bf16" else 1e-3, atol=0.05)
