"""Our decoder as a model of lm-eval (EleutherAI), where that is installed: its tasks as they are published, scored by us.

A request is scored as everything here is: after an end-of-text token, alone, in windows where it is longer than the context.
Text is generated greedily; tasks that sample are refused.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stages.errors import SpecError
from trainer.evaluate import Scorer, summed
from trainer.probes import Encode, continued, split
from trainer.windows import Sequences

if TYPE_CHECKING:
    from tokenizers import Tokenizer  # type: ignore[import-untyped]  # it has no stubs

#: What a task that names no limit may generate, as in lm-eval.
MOST_TOKENS = 256


def benchmarks(
    scorer: Scorer, tokenizer: "Tokenizer", encode: Encode, tasks: Sequence[Any], **options: Any
) -> Mapping[str, Mapping[str, Any]]:
    """What lm-eval says of the model in each task.

    Args:
        scorer: the model, and how it is scored.
        tokenizer: decodes what is generated.
        encode: how texts become tokens, as in training.
        tasks: names, or tasks as lm-eval takes them.
        options: further ones of `lm_eval.simple_evaluate`: `num_fewshot`, `limit`, `task_manager`, ...

    Raises:
        SpecError: lm-eval is not installed, or a task samples.
    """
    library = _library()
    answer = library.simple_evaluate(model=adapter(scorer, tokenizer, encode), tasks=list(tasks), **options)
    results: Mapping[str, Mapping[str, Any]] = answer["results"]
    return results


def _library() -> Any:
    try:
        import lm_eval  # type: ignore[import-not-found]  # it may be absent  # noqa: PLC0415 - heavy, and for those who ask for benchmarks
    except ModuleNotFoundError as error:
        if error.name != "lm_eval":
            raise
        raise SpecError("benchmarks are run by lm-eval, which is not installed; run: pip install lm-eval") from error
    return lm_eval


def adapter(scorer: Scorer, tokenizer: "Tokenizer", encode: Encode) -> Any:
    """An `lm_eval.api.model.LM` that scores with the model.

    Raises:
        SpecError: lm-eval is not installed.
    """
    _library()
    from lm_eval.api.model import LM  # type: ignore[import-not-found]  # noqa: PLC0415 - the same

    class TamisLM(LM):  # type: ignore[misc]  # what is not installed has no type
        """Answers lm-eval's three kinds of request."""

        def loglikelihood(self, requests: Sequence[Any], **_: Any) -> list[tuple[float, bool]]:
            """For each (context, continuation): the continuation's log-probability, and whether greed would write it."""
            if not requests:
                return []
            prompts, choices = zip(*(split(*request.args) for request in requests), strict=True)
            sequences = continued(encode, prompts, choices)
            nats, likeliest = scorer.score(sequences, greedy=True)
            total = summed(nats, sequences.offsets_S1)
            greedy = [bool(likeliest[a:b].all()) for a, b in pairwise(sequences.offsets_S1.tolist())]
            return list(zip((-total).tolist(), greedy, strict=True))

        def loglikelihood_rolling(self, requests: Sequence[Any], **_: Any) -> list[float]:
            """For each (text,): its log-probability."""
            texts = [request.args[0] for request in requests]
            sequences = continued(encode, [""] * len(texts), texts)
            nats = scorer.score(Sequences.whole(sequences.ids, sequences.offsets_S1))[0]
            return (-summed(nats, sequences.offsets_S1)).tolist()  # type: ignore[no-any-return]  # numpy's

        def generate_until(self, requests: Sequence[Any], **_: Any) -> list[str]:
            """For each (context, settings): what is generated before the first of the texts that end it."""
            return [_generated(scorer, tokenizer, encode, *request.args) for request in requests]

    return TamisLM()


def _generated(scorer: Scorer, tokenizer: "Tokenizer", encode: Encode, prompt: str, settings: Mapping[str, Any]) -> str:
    """Greedy text after a prompt, until one of `until`, the end of text, or `max_gen_toks` tokens."""
    if settings.get("do_sample") or settings.get("temperature", 0.0) > 0:
        raise SpecError("this task samples its answers, and only greedy ones can be generated; choose another task")
    until = settings.get("until") or []
    stops = [until] if isinstance(until, str) else list(until)
    own = continued(encode, [""], [prompt]).ids
    made: list[int] = []
    for _ in range(int(settings.get("max_gen_toks", MOST_TOKENS))):
        token = _next(scorer, np.concatenate([[scorer.end_of_text], own, made]))
        if token == scorer.end_of_text:
            break
        made.append(token)
        text: str = tokenizer.decode(made)
        ends = [text.index(stop) for stop in stops if stop and stop in text]
        if ends:
            return text[: min(ends)]
    return str(tokenizer.decode(made))


def _next(scorer: Scorer, ids: np.ndarray) -> int:
    """The likeliest token after the last `context` of some."""
    device = next(scorer.model.parameters()).device
    tokens = torch.from_numpy(ids[-scorer.context :].astype(np.int64))[None].to(device)
    with scorer.measuring():
        logits = scorer.model(tokens, torch.zeros_like(tokens, dtype=torch.int32))
    return int(logits[0, -1].argmax())
