"""One dial: a parameter count gives the shape of a decoder; shape and budget give learning rate, batch and warm-up."""

import math
from dataclasses import dataclass

from trainer.parameters import count_parameters
from trainer.settings import ModelSettings

#: Width of a head. Attention on CPUs is about twice as fast with heads of 64 as of 32; GPUs want 64 or more.
HEAD = 64
#: Most that a decoder's count may be off what was asked.
TOLERANCE = 0.03
#: Fewest optimizer steps of a run: a batch as large as the ladder's leaves tiny budgets with too few to learn anything.
FEWEST_STEPS = 240


def dial(parameters: int, *, vocabulary: int, context: int) -> ModelSettings:
    """The decoder with about so many parameters in all, embeddings (tied) included.

    Width grows with depth as in common families (about 32 x layers at 2 million parameters, 80 x layers at a billion); the
    hidden layer, near 8/3 of the width, takes up what is left. Query heads share keys and values in pairs from 16 heads on.

    Raises:
        ValueError: no decoder with this vocabulary is within 3 % of that count.
    """
    found = [
        (_strangeness(settings, parameters), settings)
        for width in range(16, 16385, 16)
        if vocabulary * width < parameters
        for settings in _of_width(width, parameters, vocabulary, context)
    ]
    if not found:
        raise ValueError(
            f"no decoder with a vocabulary of {vocabulary} has about {parameters} parameters, because embeddings alone take"
            f" {16 * vocabulary} or more; ask for more parameters, or use a smaller vocabulary"
        )
    return min(found, key=lambda pair: pair[0])[1]


def _of_width(width: int, parameters: int, vocabulary: int, context: int) -> list[ModelSettings]:
    """Decoders of a width and about the right size, one for each depth that there can be."""
    heads = max(2, round(width / HEAD))
    if width % (2 * heads) or (width >= 2 * HEAD and width % HEAD):
        return []
    shares = heads >= 16 and heads % 2 == 0  # noqa: PLR2004  # [J] below that keys and values cost little
    found = []
    smallest = 8 * width * width  # a block with the least hidden width
    for layers in range(1, min(128, (parameters - vocabulary * width) // smallest + 1) + 1):
        settings = ModelSettings(
            vocabulary=vocabulary,
            context=context,
            layers=layers,
            width=width,
            heads=heads,
            kv_heads=heads // 2 if shares else heads,
            hidden=8,
        )
        rest = parameters - count_parameters(settings).total
        hidden = 8 + round(rest / (3 * width * layers) / 8) * 8
        if not 2 * width <= hidden <= 4 * width:
            continue
        settings = settings.model_copy(update={"hidden": hidden})
        if abs(count_parameters(settings).total / parameters - 1) <= TOLERANCE:
            found.append(settings)
    return found


def _strangeness(settings: ModelSettings, parameters: int) -> float:
    """How far a shape is from the usual ones, in natural logarithms."""
    usual = 32 * (parameters / 2e6) ** 0.15
    aspect = math.log(settings.width / settings.layers / usual)
    ratio = math.log(settings.hidden / settings.width / (8 / 3))
    return abs(aspect) + 2 * abs(ratio)


@dataclass(frozen=True, slots=True)
class TrainingDial:
    """What follows from a model's size and its budget."""

    learning_rate: float
    batch_sequences: int
    batch_tokens: int
    steps: int
    warmup_steps: int


def dial_training(settings: ModelSettings, *, tokens: int) -> TrainingDial:
    """Learning rate, batch and warm-up for a budget of tokens, by OLMo-core's ladder.

    With N parameters of the body: a batch of 2048 x 160 x (N / 108M)^(2/3) tokens, a learning rate of
    0.0047 x (N / 108M)^(-1/3) / 2, a warm-up of N tokens. Three clamps make it sane at tiny sizes: a batch that would leave
    fewer than 240 steps is made smaller, and the learning rate with it by the square root (arXiv:2205.10287); the rate is
    at most 0.01; the warm-up is at most a tenth of the steps. The batch is a power of two of sequences. For several
    budgets dial the smallest, because branches of one trunk share all of this.

    Raises:
        ValueError: the budget is not one sequence.
    """
    if tokens < settings.context:
        raise ValueError(f"a budget of {tokens} tokens is less than one sequence of {settings.context}")
    scale = count_parameters(settings).body / 108e6
    ladder_batch = 2048 * 160 * scale ** (2 / 3)
    ladder_rate = min(0.0047 * scale ** (-1 / 3) / 2, 0.01)
    wanted = min(ladder_batch, tokens / FEWEST_STEPS) / settings.context
    sequences = 2 ** max(0, round(math.log2(wanted)))
    batch = sequences * settings.context
    rate = ladder_rate * min(1.0, batch / ladder_batch) ** 0.5
    steps = max(1, tokens // batch)
    warmup = min(math.ceil(count_parameters(settings).body / batch), steps // 10)
    return TrainingDial(float(f"{rate:.3g}"), sequences, batch, steps, warmup)
