"""How an arm is trained on a budget: steps, schedule, and where the run of one budget leaves the trunk of all."""

from dataclasses import dataclass

from pipelines.ablation.request import AblateRequest
from stages.errors import SpecError
from trainer.dial import dial, dial_training
from trainer.settings import Averaging, ModelSettings, OptimizerSettings, Precision, Schedule, TrainSettings

#: Most weights that are averaged at the end of a run whose learning rate never falls.
AVERAGED = 10


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is the same for every arm: the model, the global batch, warm-up and optimizer."""

    model: ModelSettings
    batch_sequences: int
    warmup_steps: int
    learning_rate: float
    precision: Precision
    request: AblateRequest

    @property
    def batch_tokens(self) -> int:
        """Tokens of one optimizer step."""
        return self.batch_sequences * self.model.context

    def steps(self, tokens: int) -> int:
        """Optimizer steps nearest to a number of tokens.

        Raises:
            SpecError: there are too few for a schedule.
        """
        steps = max(1, round(tokens / self.batch_tokens))
        if steps <= self.warmup_steps + 1:
            raise SpecError(
                f"{tokens:,} tokens are {steps} steps of {self.batch_tokens:,} tokens, no more than the warm-up of "
                f"{self.warmup_steps}; raise the smallest budget or take a smaller batch",
                budget=tokens,
            )
        return steps

    def decay_steps(self, steps: int) -> int:
        """Steps over which the learning rate falls to nothing, at the end of a run of `steps`."""
        return max(1, round(self.request.decay * steps))

    def endpoint(self, tokens: int, seed: int, learning_rate: float) -> TrainSettings:
        """The settings of a fully decayed run; under a constant learning rate, of one that ends in averaged weights."""
        steps = self.steps(tokens)
        decay = self.decay_steps(steps) if self.request.schedule == "wsd" else 0
        schedule = Schedule(
            kind=self.request.schedule,
            steps=steps,
            warmup_steps=self.warmup_steps,
            decay_steps=decay,
            final_fraction=0.0,
        )
        settings = self._settings(schedule, seed, learning_rate)
        return settings.model_copy(update={"averaging": self._averaging(steps)})

    def _averaging(self, steps: int) -> Averaging | None:
        """Under a constant rate, weights of the steps over which it would fall elsewhere: all after the trunk."""
        if self.request.schedule != "constant":
            return None
        over = self.decay_steps(steps)
        count = min(AVERAGED, over)
        return Averaging(kind="last", count=count, every=over // count)

    def trunk(self, tokens: int, seed: int, learning_rate: float, keep: tuple[int, ...]) -> TrainSettings:
        """The settings of the trunk that the runs of all budgets leave, whose checkpoints at `keep` stay."""
        schedule = Schedule(kind="wsd", steps=self.steps(tokens), warmup_steps=self.warmup_steps, decay_steps=0)
        return self._settings(schedule, seed, learning_rate).model_copy(update={"keep_steps": keep})

    def leaves_at(self, tokens: int) -> int:
        """The step of the trunk at which the run of a budget leaves it."""
        steps = self.steps(tokens)
        return steps - self.decay_steps(steps)

    def _settings(self, schedule: Schedule, seed: int, learning_rate: float) -> TrainSettings:
        optimizer = OptimizerSettings(kind=self.request.optimizer, learning_rate=learning_rate)
        return TrainSettings(
            schedule=schedule,
            optimizer=optimizer,
            batch_sequences=self.batch_sequences,
            seed=seed,
            precision=self.precision,
        )


def recipe_of(request: AblateRequest, vocabulary: int) -> Recipe:
    """The recipe that the dial gives for a request's parameters; the smallest budget bounds the batch and the warm-up.

    Raises:
        SpecError: the parameters are too few for the vocabulary.
    """
    try:
        model = dial(request.parameters, vocabulary=vocabulary, context=request.context)
    except ValueError as error:
        raise SpecError(
            f"no model has {request.parameters:,} parameters with {vocabulary:,} tokens: {error}"
        ) from error
    if request.budgets[0] < request.context:
        raise SpecError(
            f"the smallest budget of {request.budgets[0]:,} tokens is less than one sequence of {request.context:,}; raise the "
            "budgets or shorten the context"
        )
    told = dial_training(model, tokens=request.budgets[0])
    sequences = request.batch_sequences or told.batch_sequences
    steps = max(1, request.budgets[0] // (sequences * request.context))
    return Recipe(
        model, sequences, min(told.warmup_steps, steps // 10), told.learning_rate, _precision(request), request
    )


def _precision(request: AblateRequest) -> Precision:
    """The precision of all runs, asked once: runs that are compared need one."""
    if request.precision != "auto":
        return request.precision
    from trainer.devices import device, fast_precision  # noqa: PLC0415 - torch takes seconds to load

    return fast_precision(device(0))
