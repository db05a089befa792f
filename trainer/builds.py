"""What the training loop can train beside a new decoder: one that goes on, adapters on it, a Hugging Face model, adapters on that.

    train(job, build=decoder_from(base))
    train(job, build=decoder_from(base, LoraSettings(rank=16)))
    train(job, build=hugging_face_from(folder))
    train(job, build=hugging_face_from(folder, LoraSettings(rank=16)))

A run's identity holds the hash of the weights that it began from, so a folder whose base was replaced is refused on resume.
The base is only read. `trained` gives the model back with the weights of a checkpoint.
"""

from pathlib import Path
from typing import Any

import xxhash
from torch import nn

from stages.errors import SpecError
from trainer.adapters import LoraSettings
from trainer.checkpoint import decoder_identity, load_model, load_weights, read
from trainer.hugging_face import HuggingFace
from trainer.job import Job
from trainer.lora import Base, adapt, ends, trainable_parameters
from trainer.model import Decoder
from trainer.tensor_file import fingerprint
from trainer.train import Build, Built


def decoder_from(base: Path, adapters: LoraSettings | None = None) -> Build:
    """Train a checkpoint of our decoder further, in full or by adapters; the optimizer, schedule and data begin anew."""

    def build(job: Job) -> Built:
        model = load_model(base).train()
        if model.settings != job.model:
            raise SpecError(
                f"{base} is a checkpoint of another model than this job's: {_difference(model.settings, job.model)};"
                " give the job the settings of its base"
            )
        facts = {"base": read(base).record["files"]["model"]["xxh3"]}
        return _built(
            model, {**decoder_identity(job.model), "kind": "decoder from a checkpoint", **facts}, adapters, job
        )

    return build


def hugging_face_from(folder: Path, adapters: LoraSettings | None = None) -> Build:
    """Pretrain a Hugging Face model in a folder further, in full or by adapters.

    The job's `model` says vocabulary and context; the rest of it is not read. The vocabulary must be the model's.
    """

    def build(job: Job) -> Built:
        model = HuggingFace.load(folder)
        if model.settings.vocabulary != job.model.vocabulary:
            raise SpecError(
                f"the model in {folder} has a vocabulary of {model.settings.vocabulary}, and the job's is {job.model.vocabulary};"
                " tokenize with the model's own tokenizer, and give the job its vocabulary"
            )
        if model.settings.context < job.model.context:
            raise SpecError(
                f"the model in {folder} was made for {model.settings.context} tokens, and the job's context is"
                f" {job.model.context}; give the job that context or less"
            )
        digest = xxhash.xxh3_128()
        for path in sorted([*folder.glob("config.json"), *folder.glob("*.safetensors"), *folder.glob("*.bin")]):
            digest.update(f"{path.name} {fingerprint(path)}".encode())
        facts = {"kind": "hugging face", "base": digest.hexdigest(), "context": job.model.context}
        return _built(model, facts, adapters, job)

    return build


def trained(build: Build, job: Job, checkpoint: Path, *, averaged: bool = False) -> nn.Module:
    """The model of a build with the weights of one of its run's checkpoints, ready to be evaluated, merged or saved.

    Raises:
        SpecError: the checkpoint is of another build, or has no averaged weights.
        StorageError: it is missing or damaged.
    """
    built, saved = build(job), read(checkpoint)
    theirs, mine = saved.record["model"], dict(built.identity)
    if theirs != mine:
        differs = next(name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name))
        raise SpecError(
            f"{checkpoint} is a checkpoint of another model: {differs} is {theirs.get(differs)!r} there and"
            f" {mine.get(differs)!r} here; give what it was trained from"
        )
    load_weights(built.model, saved, averaged=averaged)
    return built.model.eval()


def _built(model: Base, facts: dict[str, Any], adapters: LoraSettings | None, job: Job) -> Built:
    """A base in full, or what adapts it: forward 2 N, gradients of activations 2 N, of what is trained 2 more each."""
    size = sum(p.numel() for p in model.parameters()) - _only_looked_up(model)
    ours = isinstance(model, Decoder)
    if adapters is None:
        return Built(model, facts, 6.0 * size, ours)
    adapted = adapt(model, adapters, seed=job.settings.seed)
    identity = {**facts, "adapters": adapters.model_dump(mode="json"), "seed": job.settings.seed}
    return Built(adapted, identity, 4.0 * size + 6.0 * trainable_parameters(adapted), ours)


def _only_looked_up(model: Base) -> int:
    """Parameters of an input embedding that multiply nothing."""
    embedding, head = ends(model)
    return 0 if head.weight is embedding.weight else int(embedding.weight.numel())


def _difference(theirs: Any, mine: Any) -> str:
    there, here = theirs.model_dump(), mine.model_dump()
    name = next(name for name in there if there[name] != here[name])
    return f"{name} is {there[name]!r} there and {here[name]!r} here"
