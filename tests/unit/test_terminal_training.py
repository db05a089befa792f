"""Training on a terminal."""

import io

from rich.console import Console

from pipelines.terminal.training import TrainingScreen, standing
from trainer.job import Progress

NOW = Progress(
    step=120,
    steps=600,
    tokens=491_520,
    loss=3.5,
    smoothed=3.4821,
    learning_rate=1e-3,
    gradient_norm=0.7,
    tokens_per_second=5871.2,
    mfu=None,
    wait=0.001,
    skipped=0,
    spikes=0,
    seconds_left=65.2,
)
END = NOW.model_copy(
    update={"step": 600, "tokens": 2_457_600, "mfu": 0.41, "skipped": 2, "spikes": 1, "smoothed": None}
)


def plain(text):
    return text.replace("\N{NARROW NO-BREAK SPACE}", " ")


def test_a_standing_has_loss_throughput_and_the_time_left():
    assert plain(standing(NOW)) == "120/600 · 3.482 nats · 491,520 tokens · 5,871 tokens/s · 1 min 05 s left"
    assert plain(standing(END)) == (
        "600/600 · no loss yet · 2,457,600 tokens · 5,871 tokens/s · 41.0 % MFU · 2 steps left out · 1 spike · done"
    )


def test_without_a_terminal_a_finished_run_is_one_line():
    console = Console(file=io.StringIO(), width=200)
    with TrainingScreen(console) as screen:
        for now in (NOW, END):
            screen.listener("curated\x1b[31m")(now)
    (line,) = console.file.getvalue().splitlines()
    assert line.startswith("curated⟨U+001B⟩[31m: 600/600")


def test_on_a_terminal_every_run_has_a_bar():
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    with TrainingScreen(console) as screen:
        for name in ("curated", "random"):
            screen.listener(name)(NOW)
    shown = console.file.getvalue()
    assert all(f"{name}" in shown for name in ("curated", "random", "491,520 tokens"))
