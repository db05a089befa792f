"""Losses on a panel, against one document at a time, and what must not change them."""

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from stages.errors import SpecError
from trainer.adapters import LoraSettings
from trainer.evaluate import Scorer, bits_per_byte, domain_bits_per_byte, evaluate, summed
from trainer.hugging_face import HuggingFace
from trainer.lora import adapt
from trainer.model import Decoder, initialize
from trainer.panel import Panel
from trainer.settings import ModelSettings
from trainer.windows import Sequences

CONTEXT, VOCABULARY, END = 16, 40, 0
LENGTHS = (1, 3, 16, 17, 40, 2, 5, 100, 8, 1, 31, 32, 33)


def decoder(**changes):
    settings = {"layers": 2, "width": 16, "heads": 2, "kv_heads": 1, "hidden": 32, **changes}
    model = Decoder(ModelSettings(vocabulary=VOCABULARY, context=CONTEXT, **settings))
    initialize(model, 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # so that losses differ
    return model


def llama(vocabulary=VOCABULARY):
    torch.manual_seed(2)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.3,  # so that losses differ
        attn_implementation="sdpa",
    )
    return HuggingFace(LlamaForCausalLM(config).eval())


def panel(lengths=LENGTHS, **changes):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = np.random.default_rng(5).integers(1, VOCABULARY, offsets[-1]).astype(np.uint32)
    facts = {
        "key": "panel",
        "tokenizer": "bpe-1",
        "vocabulary": VOCABULARY,
        "end_of_text": END,
        "domains": ("books", "manuals"),
        "doc_ids": tuple(f"{n:032x}" for n in range(len(lengths))),
        "domain_D": np.arange(len(lengths)) % 2,
        "bytes_D": 3 * np.array(lengths, np.int64),
        "ids": ids,
        "offsets_D1": offsets,
    }
    return Panel(**{**facts, **changes})


def one_by_one(model, found):
    """The losses of each document's tokens, window after window, as the rule says it."""
    losses = []
    for begin, end in zip(found.offsets_D1, found.offsets_D1[1:], strict=False):
        own = found.ids[begin:end].astype(np.int64)
        before = np.concatenate([[END], own[:-1]])
        nats, first = [], 0
        while len(nats) < len(own):
            stop = min(first + CONTEXT, len(own))
            tokens, targets = (torch.from_numpy(x[first:stop])[None] for x in (before, own))
            with torch.no_grad():
                window = model.loss(tokens, targets, torch.zeros_like(tokens, dtype=torch.int32))[0].tolist()
            nats += window[len(nats) - first :]
            first += CONTEXT - CONTEXT // 2
        losses.append(sum(nats))
    return losses


@pytest.mark.parametrize("positions", ["rope", "alibi", "none"])
def test_a_documents_loss_is_that_of_its_own_tokens_window_after_window(positions):
    model, found = decoder(positions=positions), panel()

    nats_D = evaluate(model, found)

    np.testing.assert_allclose(nats_D, one_by_one(model, found), rtol=2e-6)
    assert nats_D.dtype == np.float64


@pytest.mark.parametrize("positions", ["rope", "alibi", "none"])
def test_losses_are_bit_equal_however_documents_are_packed_and_batched(positions):
    model, found = decoder(positions=positions), panel()
    sequences = Sequences.whole(found.ids, found.offsets_D1)
    alone = summed(Scorer(model, END, batch_sequences=1, pack=False).score(sequences)[0], found.offsets_D1)

    for batch in (1, 2, 5, 64):
        assert np.array_equal(evaluate(model, found, batch_sequences=batch), alone)


@pytest.mark.parametrize("adapted", [False, True])
def test_a_model_of_transformers_and_adapters_on_it_are_evaluated_by_the_same_rule(adapted):
    model, found = llama(), panel()
    if adapted:
        model = adapt(model, LoraSettings(rank=2), seed=1).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.01 if parameter.requires_grad else 0.0)

    nats_D = evaluate(model, found)

    np.testing.assert_allclose(nats_D, one_by_one(model, found), rtol=1e-5)
    for batch in (1, 5, 64):
        assert np.array_equal(evaluate(model, found, batch_sequences=batch), nats_D)


def test_a_model_with_more_entries_than_its_tokenizer_is_evaluated_where_that_is_named():
    model, found = llama(VOCABULARY + 8), panel()

    nats_D = evaluate(model, found, tokenizer="bpe-1")

    np.testing.assert_allclose(nats_D, one_by_one(model, found), rtol=1e-5)
    with pytest.raises(SpecError, match="or name that where the model only has entries to spare"):
        evaluate(model, found)


def test_a_documents_loss_does_not_depend_on_the_other_documents():
    model, found = decoder(), panel()
    some = [7, 2, 11]
    lengths = np.diff(found.offsets_D1)[some]
    ids = np.concatenate([found.ids[found.offsets_D1[d] : found.offsets_D1[d + 1]] for d in some])

    fewer = panel(lengths, ids=ids)

    assert np.array_equal(evaluate(model, fewer), evaluate(model, found)[some])


def test_the_end_of_a_document_is_not_scored_and_its_first_token_is():
    model, found = decoder(), panel((1, 2))

    nats, _ = Scorer(model, END).score(Sequences.whole(found.ids, found.offsets_D1))

    with torch.no_grad():
        first = model(torch.tensor([[END]]), torch.tensor([[0]], dtype=torch.int32))[0, 0].log_softmax(-1)
    assert len(nats) == 3
    np.testing.assert_allclose(nats[:2], [-first[found.ids[0]].item(), -first[found.ids[1]].item()], rtol=1e-6)


def test_bits_per_byte_are_of_all_nats_over_all_bytes():
    found = panel((2, 4, 6))
    nats_D = np.log(2) * np.array([6.0, 12.0, 9.0])

    assert bits_per_byte(nats_D, found) == pytest.approx(27 / 36)
    assert domain_bits_per_byte(nats_D, found) == pytest.approx({"books": 15 / 24, "manuals": 1.0})


def test_evaluating_leaves_the_model_training_and_its_weights_as_they_are():
    model = decoder().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}

    evaluate(model, panel())

    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_panel_of_another_vocabulary_is_refused():
    with pytest.raises(SpecError, match=r"the panel was tokenized with bpe-1 with 41 entries.*trained on tokens of a"):
        evaluate(decoder(), panel(vocabulary=41))


def test_a_panel_of_another_tokenizer_of_the_same_size_is_refused_where_both_are_known():
    with pytest.raises(SpecError, match="tokens of bpe-2 with 40 entries, so its losses would mean nothing"):
        evaluate(decoder(), panel(), tokenizer="bpe-2")


def test_sixteen_bits_give_nearly_the_losses_of_thirty_two_however_documents_are_packed():
    model, found = decoder(), panel()

    nats_D = evaluate(model, found, precision="bf16")

    np.testing.assert_allclose(nats_D, evaluate(model, found), rtol=0.05)
    assert np.array_equal(evaluate(model, found, precision="bf16", batch_sequences=3), nats_D)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_gives_nearly_the_losses_of_a_processor(precision):
    model, found = decoder(), panel()
    wanted = evaluate(model, found)

    nats_D = evaluate(model.cuda(), found, precision=precision)

    np.testing.assert_allclose(nats_D, wanted, rtol=1e-3 if precision == "fp32" else 0.05)


@pytest.mark.parametrize("context", [0, CONTEXT + 1])
def test_a_context_that_the_model_was_not_made_for_is_refused(context):
    with pytest.raises(SpecError, match=f"with a context of {context} tokens, because it was made for 1 to {CONTEXT}"):
        evaluate(decoder(), panel(), context=context)


def test_a_diverged_model_has_unknown_losses():
    model = decoder()
    with torch.no_grad():
        model.head.weight.fill_(torch.nan)

    assert np.isnan(evaluate(model, panel())).all()
