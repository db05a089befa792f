"""Adapters: nothing changes before training, peft loads what we save, merging changes nothing, and only the named parts learn."""

import warnings

import peft
import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Lfm2Config,
    Lfm2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from stages.errors import SpecError, StorageError
from trainer.adapters import LoraSettings
from trainer.hugging_face import HuggingFace
from trainer.lora import adapt, is_tied, linear_layers, load, merged, save, trainable_parameters
from trainer.model import Decoder, initialize
from trainer.settings import ModelSettings

TINY = ModelSettings(vocabulary=61, context=32, layers=2, width=32, heads=4, kv_heads=2, hidden=48)
KINDS = ("lora", "rslora", "dora")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def decoder(*, tied=True):
    model = Decoder(TINY.model_copy(update={"tied": tied}))
    initialize(model, 3)
    return model


SMALL = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "attn_implementation": "sdpa",
}


def llama(*, tied=True, attention="sdpa", layers=2):
    torch.manual_seed(4)
    config = LlamaConfig(
        vocab_size=61,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
        attn_implementation=attention,
    )
    return HuggingFace(LlamaForCausalLM(config))


BASES = {"decoder": decoder, "llama": llama}


def batch(seed=0):
    made = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, 61, (3, 33), generator=made)
    starts = torch.zeros(3, 32, dtype=torch.int32)
    for row, first in [(0, 7), (0, 8), (0, 20), (2, 1), (2, 31)]:
        starts[row, first:] = first
    return tokens[:, :-1], tokens[:, 1:], starts


def train(model, steps=4, rate=1e-2):
    """A few steps on one batch; gives the loss before each."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    losses = []
    for _ in range(steps):
        loss = model.loss(*batch()).mean()
        loss.backward()
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def logits(model):
    tokens, _, starts = batch()
    with torch.no_grad():
        return model(tokens, starts)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("base", BASES)
def test_adapters_train_load_in_peft_and_merge_without_changing_logits(base, kind, full, tied, tmp_path):
    made = BASES[base]
    model = made(tied=tied)
    before, names = logits(model), list(model.state_dict())
    adapted = adapt(model, LoraSettings(kind=kind, rank=4, norms=full, embeddings=full), seed=1)
    torch.testing.assert_close(logits(adapted), before, rtol=0, atol=1e-6)
    losses = train(adapted)
    assert losses[-1] < losses[0]
    after = logits(adapted)
    save(adapted, tmp_path)

    again = load(made(tied=tied), tmp_path)
    torch.testing.assert_close(logits(again), after, rtol=0, atol=1e-5)
    assert trainable_parameters(again) == 0
    theirs = made(tied=tied)
    inner = theirs if base == "decoder" else theirs.model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = peft.PeftModel.from_pretrained(inner, str(tmp_path))
    tokens, _, starts = batch()
    found = wrapped(tokens, starts) if base == "decoder" else logits(theirs)
    torch.testing.assert_close(found.detach(), after, rtol=0, atol=1e-5)

    plain = merged(adapted)
    torch.testing.assert_close(logits(plain), after, rtol=0, atol=1e-5)
    assert list(plain.state_dict()) == names
    assert is_tied(plain) is tied


def test_training_goes_on_from_saved_adapters_as_if_it_had_not_stopped(tmp_path):
    adapted = adapt(decoder(), LoraSettings(rank=4, embeddings=True), seed=1)
    train(adapted)
    save(adapted, tmp_path)

    again = load(decoder(), tmp_path, trainable=True)

    assert trainable_parameters(again) == trainable_parameters(adapted)
    assert train(again) == train(adapted)


def test_only_adapters_learn_unless_norms_and_embeddings_are_named():
    rank = 4
    shapes = [
        (part.in_features, part.out_features) for part in decoder().modules() if isinstance(part, torch.nn.Linear)
    ]
    low_rank = sum(rank * (a + b) for a, b in shapes if b != 61)
    norms = sum(p.numel() for name, p in decoder().named_parameters() if p.ndim == 1)

    def count(**changes):
        return trainable_parameters(adapt(decoder(), LoraSettings(rank=rank, **changes), seed=1))

    assert count() == low_rank
    assert count(norms=True) == low_rank + norms
    assert count(embeddings=True) == low_rank + 61 * 32
    assert count(kind="dora") == low_rank + sum(b for _, b in shapes if b != 61)


def test_every_linear_layer_but_the_output_layer_is_adapted():
    layers = ["attention.qkv", "attention.out", "feed_forward.gate_up", "feed_forward.down"]
    assert linear_layers(decoder()) == [f"blocks.{i}.{name}" for i in range(2) for name in layers]
    theirs = linear_layers(llama(layers=1))
    assert [name.rpartition(".")[2] for name in theirs] == [
        *("q_proj", "k_proj", "v_proj", "o_proj"),
        *("gate_proj", "up_proj", "down_proj"),
    ]


def test_the_scale_is_alpha_over_rank_or_over_its_root():
    def scale(kind):
        adapted = adapt(decoder(), LoraSettings(kind=kind, rank=16, alpha=8), seed=1)
        return adapted.base.blocks[0].attention.qkv.scaling["default"]

    assert (scale("lora"), scale("rslora"), scale("dora")) == (0.5, 2, 0.5)


def test_the_seed_alone_decides_the_adapters():
    def made(seed):
        return adapt(decoder(), LoraSettings(rank=4), seed=seed).adapter_state()

    torch.manual_seed(0)
    one = made(1)
    torch.manual_seed(5)
    same, other = made(1), made(2)

    assert all(torch.equal(one[name], same[name]) for name in one)
    assert all(torch.equal(one[name], other[name]) == ("lora_B" in name) for name in one)


def test_a_folder_without_fitting_adapters_is_refused(tmp_path):
    with pytest.raises(StorageError, match="holds no adapters that fit"):
        load(decoder(), tmp_path)
    save(adapt(decoder(), LoraSettings(rank=4), seed=1), tmp_path)
    wider = Decoder(TINY.model_copy(update={"width": 64}))
    with pytest.raises(StorageError, match="holds no adapters that fit"):
        load(wider, tmp_path)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_hugging_face_models_documents_never_feel_each_other(attention):
    model = llama(attention=attention)
    tokens, _, starts = batch()
    before = logits(model)
    for row, first in [(0, 0), (0, 8), (0, 20), (2, 1)]:
        inside = torch.zeros(3, 32, dtype=torch.bool)
        inside[row] = starts[row] == first
        with torch.no_grad():
            after = model(torch.where(inside, (tokens + 1) % 61, tokens), starts)
        assert torch.equal(before[~inside], after[~inside])
        assert not torch.equal(before[inside], after[inside])


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_packed_document_has_the_logits_that_transformers_gives_it_alone(attention):
    model = llama(attention=attention)
    tokens = batch()[0]
    alone = model.model(input_ids=tokens[:1, 8:20]).logits

    torch.testing.assert_close(logits(model)[:1, 8:20], alone, rtol=1e-4, atol=1e-5)


def test_a_hugging_face_model_is_pretrained_further_from_its_folder(tmp_path):
    llama().model.save_pretrained(tmp_path)
    model = HuggingFace.load(tmp_path)

    assert model.settings == (61, 64)
    nats = model.loss(*batch())
    assert (nats.shape, nats.dtype) == ((3, 32), torch.float32)
    losses = train(model)
    assert losses[-1] < losses[0]


def test_a_hugging_face_model_that_was_saved_in_16_bits_is_trained_in_32(tmp_path):
    llama().model.bfloat16().save_pretrained(tmp_path)

    model = HuggingFace.load(tmp_path)

    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not model.training


def test_a_hugging_face_models_context_is_what_all_of_its_layers_see():
    inner = MistralForCausalLM(MistralConfig(**SMALL, sliding_window=8)).eval()
    model = HuggingFace(inner)
    tokens = batch()[0][:1]

    with torch.no_grad():
        found, theirs = model(tokens, torch.zeros(1, 32, dtype=torch.int32)), inner(input_ids=tokens).logits
    difference = (found - theirs).abs()[0].amax(-1)

    assert model.settings == (61, 8)
    assert difference[:8].max() < 1e-5 < difference[8:].min()


@pytest.mark.parametrize("base", BASES)
def test_the_head_of_the_hidden_state_gives_the_logits(base):
    for model in (BASES[base](), adapt(BASES[base](), LoraSettings(rank=4, embeddings=True), seed=1)):
        tokens, _, starts = batch()
        with torch.no_grad():
            assert torch.equal(model.head(model.hidden(tokens, starts)), model(tokens, starts))
        assert (model.settings.vocabulary, model.settings.context) == (61, 32 if base == "decoder" else 64)


def test_models_that_cannot_be_used_are_refused(tmp_path):
    capped = HuggingFace(Gemma2ForCausalLM(Gemma2Config(**SMALL, head_dim=8, final_logit_softcapping=0.1)))
    with pytest.raises(SpecError, match="changes its logits after the output layer"):
        capped.hidden(batch()[0], batch()[2])
    with pytest.raises(SpecError, match="packed documents change each other in this model"):
        HuggingFace(Lfm2ForCausalLM(Lfm2Config(**SMALL, layer_types=["conv", "full_attention"])))
    with pytest.raises(SpecError, match="holds no causal language model"):
        HuggingFace.load(tmp_path)
    with pytest.raises(SpecError, match="kept apart by a mask"):
        HuggingFace(llama(attention="flex_attention").model)
