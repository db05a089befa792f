"""`tamis learn`: fit an artifact from data and print its id. Each learner's command is a file of its own."""

import typer

from pipelines.commands.learn_frequencies import frequencies
from pipelines.commands.learn_importance import importance
from pipelines.commands.learn_ngram import ngram
from pipelines.commands.learn_quality import quality
from pipelines.commands.learn_tokenizer import tokenizer
from pipelines.commands.shared import Several

learn = typer.Typer(help="Fit an artifact (a model, weights) from data; prints its id.", no_args_is_help=True)
learn.command("quality", cls=Several)(quality)
learn.command("importance", cls=Several)(importance)
learn.command("frequencies", cls=Several)(frequencies)
learn.command("ngram", cls=Several)(ngram)
learn.command("tokenizer", cls=Several)(tokenizer)
