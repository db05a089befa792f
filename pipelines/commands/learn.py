"""`tamis learn`: fit an artifact from data and print its id. Each learner's command is a file of its own."""

import typer

from pipelines.commands.learn_importance import importance

learn = typer.Typer(help="Fit an artifact (a model, weights) from data; prints its id.", no_args_is_help=True)
learn.command("importance")(importance)
