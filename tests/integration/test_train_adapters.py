"""The training loop trains a checkpoint further, adapters on it, a Hugging Face model, and adapters on that; all resume."""

from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from training_runs import MODEL, make_data, make_job, result, tensors
from transformers import LlamaConfig, LlamaForCausalLM

from stages.errors import SpecError
from trainer.adapters import LoraSettings
from trainer.builds import decoder_from, hugging_face_from, trained
from trainer.checkpoint import load_model
from trainer.lora import merged, save
from trainer.train import train

LORA = LoraSettings(rank=4, norms=True)


@pytest.fixture
def base(tmp_path):
    """The checkpoint of a small decoder; its data are in `tmp_path` too."""
    make_data(tmp_path)
    return Path(train(make_job(tmp_path, "base")).checkpoint)


@pytest.fixture
def llama(tmp_path):
    make_data(tmp_path)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


def interrupted_and_not(folder, build, **changes):
    """The results of a run in one go and in three."""
    whole = train(make_job(folder, "whole", **changes), build=build)
    for stop in (5, 11, None):
        pieces = train(make_job(folder, "pieces", stop_after=stop, **changes), build=build)
    return result(whole), result(pieces), whole


def learned(outcome):
    """Whether the last third of a run had less loss than the first: single steps have other documents."""
    nats = np.array(outcome.curve.nats_per_token)
    return nats[-len(nats) // 3 :].mean() < nats[: len(nats) // 3].mean()


@pytest.mark.parametrize("adapters", [None, LORA, LoraSettings(rank=2, kind="dora", dropout=0.1)])
def test_a_checkpoint_is_trained_further_and_resumes_bit_for_bit(base, tmp_path, adapters):
    build = decoder_from(base, adapters)
    whole, pieces, outcome = interrupted_and_not(tmp_path, build, optimizer={"learning_rate": 0.01})

    assert whole == pieces
    matrices = [name for name in tensors(outcome) if "norm" not in name]
    assert all(("lora" in name) == (adapters is not None) for name in matrices)
    assert learned(outcome)


@pytest.mark.parametrize("adapters", [None, LORA])
def test_a_hugging_face_model_is_trained_further_and_resumes_bit_for_bit(llama, tmp_path, adapters):
    whole, pieces, outcome = interrupted_and_not(tmp_path, hugging_face_from(llama, adapters))

    assert whole == pieces
    assert learned(outcome)


def test_a_runs_adapters_are_saved_for_peft_and_merged(base, tmp_path):
    job, build = make_job(tmp_path), decoder_from(base, LORA)
    outcome = train(job, build=build)
    adapted = trained(build, job, Path(outcome.checkpoint))
    tokens, starts = torch.arange(32)[None] % 64, torch.zeros(1, 32, dtype=torch.int32)
    with torch.no_grad():
        expected = adapted(tokens, starts)
        save(adapted, tmp_path / "adapters")

        theirs = peft.PeftModel.from_pretrained(load_model(base), str(tmp_path / "adapters"))
        torch.testing.assert_close(theirs(tokens, starts), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(merged(adapted)(tokens, starts), expected, rtol=0, atol=1e-5)


def test_another_base_is_refused(base, llama, tmp_path):
    with pytest.raises(SpecError, match="layers is 2 there and 3 here"):
        train(make_job(tmp_path, model=MODEL.model_copy(update={"layers": 3})), build=decoder_from(base))
    with pytest.raises(SpecError, match="has a vocabulary of 64, and the job's is 65"):
        train(make_job(tmp_path, model=MODEL.model_copy(update={"vocabulary": 65})), build=hugging_face_from(llama))
    with pytest.raises(SpecError, match="was made for 64 tokens"):
        train(make_job(tmp_path, model=MODEL.model_copy(update={"context": 65})), build=hugging_face_from(llama))
    job = make_job(tmp_path, stop_after=2)
    outcome = train(job, build=decoder_from(base, LORA))
    with pytest.raises(SpecError, match="is a checkpoint of another model"):
        trained(decoder_from(base), job, Path(outcome.checkpoint))
    other = Path(train(make_job(tmp_path, "base2", stop_after=3)).checkpoint)
    with pytest.raises(SpecError, match=r"model\.base is"):
        train(make_job(tmp_path), build=decoder_from(other, LORA))
