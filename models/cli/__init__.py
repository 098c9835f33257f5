"""The commands of models, hung into `chandler`. Decide nothing; each calls one function of `models`."""

from __future__ import annotations

import typer

from models.cli import judging, registry, train


def attach(app: typer.Typer) -> None:
    """Hang the commands in."""
    for command in (train.train, judging.score, judging.anomalies):
        app.command()(command)
    app.add_typer(registry.app, name="models")
