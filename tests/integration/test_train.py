"""One training loop: resumed, branched, accumulated, guarded, refused."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from training_runs import MODEL, make_data, make_job, result, steps, tensors

from stages.errors import DataError, SpecError, StorageError
from trainer.checkpoint import load_model
from trainer.job import Job, Outcome
from trainer.journal import entries
from trainer.parameters import flops_per_token
from trainer.settings import Schedule
from trainer.train import Built, decoder, train


@pytest.fixture(autouse=True)
def data(tmp_path):
    make_data(tmp_path)


WSD = {"steps": 24, "warmup_steps": 4, "decay_steps": 6}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_stopped_three_times_ends_with_the_same_bits(tmp_path, precision, optimizer):
    changes = {"precision": precision, "optimizer": {"kind": optimizer, "learning_rate": 3e-3}}
    undisturbed = train(make_job(tmp_path, "undisturbed", **changes))
    for stop in (5, 6, 17, None):
        outcome = train(make_job(tmp_path, "stopped", stop_after=stop, **changes))
        assert outcome.steps == (stop or 24)
    assert result(outcome) == result(undisturbed)


def test_a_finished_run_answers_at_once_with_the_same_outcome(tmp_path):
    job = make_job(tmp_path)
    outcome = train(job)
    assert train(job) == outcome
    assert Outcome.model_validate_json((tmp_path / "run" / "outcome.json").read_bytes()) == outcome


def test_when_checkpoints_are_written_changes_no_bit(tmp_path):
    seldom = train(make_job(tmp_path, "seldom"))
    often = train(make_job(tmp_path, "often", checkpoint_seconds=1e-9))
    assert result(often) == result(seldom)
    assert (steps(tmp_path / "seldom"), steps(tmp_path / "often")) == ([24], [23, 24])


def test_checkpoints_to_keep_stay_beside_the_last_two(tmp_path):
    train(make_job(tmp_path, checkpoint_every=2, keep_steps=(5, 8)))
    assert steps(tmp_path / "run") == [5, 8, 22, 24]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("begin", [10, 18])
def test_a_branch_of_a_trunk_is_the_undisturbed_run_bit_for_bit(tmp_path, precision, begin):
    trunk = {"steps": 100, "warmup_steps": 4}
    train(make_job(tmp_path, "trunk", schedule=trunk, keep_steps=(begin,), stop_after=20, precision=precision))
    undisturbed = train(make_job(tmp_path, "undisturbed", schedule=WSD, precision=precision))
    job = make_job(
        tmp_path, "branch", schedule=WSD, precision=precision, begin_from=str(tmp_path / f"trunk/step-{begin:08d}")
    )
    branch = train(job)
    assert result(branch) == result(undisturbed)
    assert 0 < branch.inherited_cpu_seconds < branch.cpu_seconds
    assert 0 < branch.inherited_seconds < branch.seconds
    assert [entry["step"] for entry in entries(tmp_path / "branch")] == list(range(begin + 1, 25))


def test_the_mfu_is_what_was_computed_of_what_the_device_could(tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.devices.PEAK_BF16", (("cpu", 1e12),))
    outcome = train(make_job(tmp_path, precision="bf16"))
    last = entries(tmp_path / "run")[-1]
    assert outcome.mfu == pytest.approx(outcome.tokens_per_second * flops_per_token(MODEL) / 1e12, rel=1e-9)
    assert 0 < last["mfu"] < 1
    assert train(make_job(tmp_path, "fp32")).mfu is None  # the peak is one of bf16


def test_a_constant_trunk_is_averaged_in_a_branch(tmp_path):
    constant = {"kind": "constant", "steps": 20}
    average = {"kind": "last", "count": 4, "every": 2}
    trunk = {
        "schedule": {**constant, "steps": 100},
        "averaging": {"kind": "ema"},
        "keep_steps": (10,),
        "stop_after": 14,
    }
    train(make_job(tmp_path, "trunk", **trunk))
    whole = train(make_job(tmp_path, "whole", schedule=constant, averaging=average))
    branch = make_job(tmp_path, "branch", schedule=constant, averaging=average)
    outcome = train(branch.model_copy(update={"begin_from": str(tmp_path / "trunk/step-00000010")}))
    assert result(outcome) == result(whole)
    late = make_job(
        tmp_path, "late", schedule=constant, averaging=average, begin_from=str(tmp_path / "trunk/step-00000014")
    )
    with pytest.raises(SpecError, match="has done 14 steps, but this run averages its weights from step 14 on"):
        train(late)


def test_a_branch_that_its_trunk_cannot_have_begun_is_refused(tmp_path):
    train(make_job(tmp_path, "trunk", schedule={"steps": 100, "warmup_steps": 4}, keep_steps=(20,), stop_after=20))
    job = make_job(tmp_path, "branch", schedule=WSD, begin_from=str(tmp_path / "trunk/step-00000020"))
    with pytest.raises(SpecError) as caught:
        train(job)
    assert caught.value.message == (
        f"{tmp_path}/trunk/step-00000020 has done 20 steps, but its schedule differs from this one's at step 19; "
        "begin from an earlier checkpoint, or change the schedule after it alone"
    )


OTHERS = {
    "view": ({"view": "half"}, "another training run: data.view is "),
    "seed": ({"seed": 2}, "another seed: seed is 1 there and 2 here"),
    "batch": ({"batch_sequences": 2}, "another training run: batch_sequences is 4 there and 2 here"),
    "optimizer": (
        {"optimizer": {"kind": "muon", "learning_rate": 3e-3}},
        "another optimizer: optimizer.kind is 'adamw' there and 'muon' here",
    ),
    "learning rate": (
        {"optimizer": {"learning_rate": 1e-3}},
        "another optimizer: optimizer.learning_rate is 0.003 there and 0.001 here",
    ),
    "model": (
        {"model": MODEL.model_copy(update={"hidden": 64})},
        "another model: model.hidden is 48 there and 64 here",
    ),
    "schedule": (
        {"schedule": {**WSD, "decay_steps": 5}},
        "another schedule: schedule.decay_steps is 6 there and 5 here",
    ),
    "precision": ({"precision": "bf16"}, "another training run: precision is 'fp32' there and 'bf16' here"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_checkpoint_of_another_run_is_refused_in_one_sentence_that_says_what_differs(tmp_path, what):
    changes, sentence = OTHERS[what]
    train(make_job(tmp_path, stop_after=2))
    with pytest.raises(SpecError) as caught:
        train(make_job(tmp_path, **changes))
    assert caught.value.message.startswith(f"{tmp_path}/run/step-00000002 is a checkpoint of {sentence}")
    assert caught.value.message.endswith("use another folder, or the settings that it was made with")


def test_a_checkpoint_of_another_pack_is_refused(tmp_path):
    train(make_job(tmp_path, stop_after=2))
    make_data(tmp_path, seed=1)
    with pytest.raises(SpecError, match=r"is a checkpoint of another training run: data.pack is "):
        train(make_job(tmp_path))


def test_a_tokenizer_that_does_not_match_is_refused(tmp_path):
    small = MODEL.model_copy(update={"vocabulary": 32})
    with pytest.raises(
        SpecError, match="come from bpe-test, which has 64 entries, but the model has 32; give the model"
    ):
        train(make_job(tmp_path, model=small))


def test_a_view_with_fewer_tokens_than_the_budget_is_refused_before_anything_is_trained(tmp_path):
    long = Schedule(steps=10_000)
    with pytest.raises(DataError, match="but 10,000 steps need 1,280,000"):
        train(make_job(tmp_path, schedule=long, exhausted="refuse"))
    assert not (tmp_path / "run").exists()


def test_parts_of_a_batch_give_the_gradient_of_the_whole(tmp_path):
    whole, parts = (train(make_job(tmp_path, f"{n}", micro_sequences=n)) for n in (4, 3))
    assert parts.curve.nats_per_token == pytest.approx(whole.curve.nats_per_token, rel=1e-5)
    for name, value in tensors(whole).items():
        np.testing.assert_allclose(tensors(parts)[name], value, atol=2e-5)


def test_checkpointed_activations_change_no_bit(tmp_path):
    kept = train(make_job(tmp_path, "kept"))
    again = train(make_job(tmp_path, "again", checkpoint_activations=True))
    assert result(again) == result(kept)


@pytest.mark.long  # the compiler takes half a minute
@pytest.mark.filterwarnings("ignore")  # the compiler warns of what it does itself
def test_a_compiled_model_trains_like_the_other(tmp_path):
    plain = train(make_job(tmp_path, "plain", schedule={"steps": 2}))
    fast = train(make_job(tmp_path, "fast", schedule={"steps": 2}, compile=True))
    assert fast.curve.nats_per_token == pytest.approx(plain.curve.nats_per_token, rel=1e-4)


def test_training_learns_something_in_both_precisions(tmp_path):
    for precision in ("fp32", "bf16"):
        outcome = train(make_job(tmp_path, precision, precision=precision, schedule={"steps": 60}))
        losses = [entry["loss"] for entry in entries(tmp_path / precision)]
        assert losses[0] == pytest.approx(np.log(64), abs=0.3)
        assert losses[-1] < 2.5
        assert outcome.tokens == 60 * 4 * 32


def test_a_loaded_model_has_the_weights_of_the_checkpoint(tmp_path):
    outcome = train(make_job(tmp_path))
    model = load_model(Path(outcome.checkpoint))
    assert not model.training
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(parameter.detach().numpy(), tensors(outcome)[name])
    with pytest.raises(SpecError, match="has no averaged weights"):
        load_model(Path(outcome.checkpoint), averaged=True)


def test_averaged_weights_are_the_mean_of_the_last_ones(tmp_path):
    average = {"kind": "last", "count": 3, "every": 4}
    last = [train(make_job(tmp_path, "run", averaging=average, stop_after=stop)) for stop in (16, 20, 24)]
    assert [outcome.averaged for outcome in last] == [True, True, True]
    model = load_model(Path(last[-1].checkpoint), averaged=True)
    for stop in (16, 20, 24):
        train(make_job(tmp_path, "apart", stop_after=stop, keep_steps=(16, 20)))
    apart = [load_model(path) for path in sorted((tmp_path / "apart").glob("step-*"))]
    assert len(apart) == 3
    for name, parameter in model.named_parameters():
        mean = torch.stack([dict(other.named_parameters())[name] for other in apart]).mean(0)
        torch.testing.assert_close(parameter, mean)


def test_the_log_is_one_object_a_report_and_progress_says_the_same(tmp_path):
    seen = []
    outcome = train(make_job(tmp_path, log_every=10), progress=seen.append)
    assert [report.model_dump(mode="json") for report in seen] == entries(tmp_path / "run")
    assert [report.step for report in seen] == [10, 20, 24]
    assert [report.tokens for report in seen] == [1280, 2560, 3072] == list(outcome.curve.tokens)
    assert tuple(report.smoothed for report in seen) == outcome.curve.nats_per_token
    assert seen[-1].smoothed == outcome.loss
    assert {report.mfu for report in seen} == {None}
    assert seen[-1].seconds_left == 0


def test_reports_of_a_run_that_was_stopped_between_them_are_the_same(tmp_path):
    train(make_job(tmp_path, "whole", log_every=10))
    for stop in (7, 13, None):
        train(make_job(tmp_path, "stopped", log_every=10, stop_after=stop))
    whole, stopped = ({e["step"]: e["loss"] for e in entries(tmp_path / name)} for name in ("whole", "stopped"))
    assert {step: stopped[step] for step in whole} == whole


def test_event_files_hold_what_the_log_holds(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415  # heavy

    train(make_job(tmp_path, tensorboard=True, log_every=5))
    found = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    found.Reload()
    logged = [(entry["step"], entry["loss"]) for entry in entries(tmp_path / "run")]
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [
        (step, pytest.approx(loss)) for step, loss in logged
    ]


def test_what_the_process_had_set_comes_back(tmp_path):
    torch.set_num_threads(2)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train(make_job(tmp_path, stop_after=2))
    assert torch.get_num_threads() == 2
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory
    assert torch.equal(torch.rand(1), expected)
    torch.set_num_threads(1)


class Faulty(nn.Module):
    """A decoder whose loss is NaN on chosen calls."""

    def __init__(self, model, wrong):
        super().__init__()
        self.model, self.wrong, self.calls = model, wrong, 0

    def loss(self, tokens_BT, targets_BT, starts_BT):
        self.calls += 1
        nats_BT = self.model.loss(tokens_BT, targets_BT, starts_BT)
        return nats_BT * float("nan") if self.calls - 1 in self.wrong else nats_BT


def faulty(wrong):
    def build(job):
        built = decoder(job)
        return Built(Faulty(built.model, wrong), {"kind": "faulty"}, None)

    return build


def test_a_step_without_a_number_is_left_out_counted_and_logged(tmp_path):
    outcome = train(make_job(tmp_path), build=faulty({3, 9}))
    assert (outcome.steps, outcome.skipped, outcome.diverged) == (24, 2, None)
    assert [e["step"] for e in entries(tmp_path / "run") if e["loss"] is None] == [4, 10]
    assert all(np.isfinite(value).all() for value in tensors(outcome).values())


def test_a_diverged_run_ends_is_reported_and_stays_ended(tmp_path):
    job = make_job(tmp_path, guards={"most_skipped": 2})
    outcome = train(job, build=faulty(set(range(6, 24))))
    assert (outcome.steps, outcome.skipped) == (9, 3)
    assert outcome.diverged == (
        "the loss of step 8 is nan and the norm of its gradient nan, after 2 steps in a row that were left out; "
        "try a lower learning rate"
    )
    assert train(job, build=faulty(set())) == outcome


def test_a_branch_of_a_run_that_diverged_has_diverged_too_as_it_would_have_on_its_own(tmp_path):
    guards, longer = {"most_skipped": 2}, {"schedule": {"steps": 50, "warmup_steps": 4}}
    outcome = train(make_job(tmp_path, guards=guards, **longer), build=faulty(set(range(6, 24))))
    undisturbed = train(make_job(tmp_path, "undisturbed", guards=guards), build=faulty(set(range(6, 24))))
    job = make_job(tmp_path, "branch", guards=guards, begin_from=outcome.checkpoint)
    branch = train(job, build=faulty(set()))
    assert (branch.diverged, branch.steps) == (undisturbed.diverged, 9)
    assert result(branch) == result(undisturbed)
    assert train(job, build=faulty(set())) == branch


def test_a_branch_of_a_trunk_that_has_done_all_its_steps_has_a_checkpoint_of_its_own(tmp_path):
    trunk = train(make_job(tmp_path, "trunk", schedule={"steps": 100, "warmup_steps": 4}, stop_after=20))
    short = {"steps": 20, "warmup_steps": 4}
    undisturbed = train(make_job(tmp_path, "undisturbed", schedule=short))
    job = make_job(tmp_path, "branch", schedule=short, begin_from=trunk.checkpoint)
    branch = train(job)
    assert Path(branch.checkpoint).parent == tmp_path / "branch"
    assert result(branch) == result(undisturbed)
    assert branch.seconds == branch.inherited_seconds
    assert train(job) == branch


def test_a_learning_rate_that_is_far_too_high_is_reported_as_divergence(tmp_path):
    wild = {"learning_rate": 30.0, "clip": None}
    outcome = train(make_job(tmp_path, optimizer=wild, schedule={"steps": 400, "warmup_steps": 300}))
    assert outcome.diverged is not None
    assert outcome.steps < 400


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_disk_that_fills_up_ends_the_run_in_one_sentence_and_it_goes_on_when_there_is_room(tmp_path, small_disk):
    undisturbed = train(make_job(tmp_path, "undisturbed"))
    job = make_job(tmp_path, checkpoint_every=5).model_copy(update={"folder": str(small_disk / "run")})
    size = sum(path.stat().st_size for path in Path(undisturbed.checkpoint).iterdir())
    free = os.statvfs(small_disk)
    (small_disk / "ballast").write_bytes(b"x" * (free.f_bavail * free.f_bsize - 3 * size // 2))
    with pytest.raises(StorageError, match="step-00000010': No space left on device; free space there and run again"):
        train(job)
    assert steps(small_disk / "run") == [5]
    (small_disk / "ballast").unlink()
    assert result(train(job)) == result(undisturbed)


def test_a_damaged_checkpoint_is_named_in_the_outcome(tmp_path):
    undisturbed = train(make_job(tmp_path, "undisturbed"))
    train(make_job(tmp_path, checkpoint_every=5, stop_after=15))
    os.truncate(tmp_path / "run/step-00000015/optimizer.safetensors", 100)
    outcome = train(make_job(tmp_path))
    (note,) = outcome.notes
    assert note == (
        f"the checkpoint {tmp_path}/run/step-00000015 is damaged: optimizer.safetensors is not what was written; "
        "use the one before it"
    )
    assert result(outcome.model_copy(update={"notes": ()})) == result(undisturbed)


def test_a_job_survives_json(tmp_path):
    job = make_job(tmp_path, averaging={"kind": "ema"}, keep_steps=(3,), begin_from="x", stop_after=3)
    assert Job.model_validate(json.loads(job.model_dump_json())) == job


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_on_a_gpu_a_run_that_was_stopped_ends_with_the_same_bits(tmp_path, precision):
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    wide = MODEL.model_copy(update={"width": 128, "hidden": 192})
    undisturbed = train(make_job(tmp_path, "undisturbed", precision=precision, model=wide))
    train(make_job(tmp_path, "stopped", precision=precision, model=wide, stop_after=9))
    assert result(train(make_job(tmp_path, "stopped", precision=precision, model=wide))) == result(undisturbed)
