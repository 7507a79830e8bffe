"""``oddtide models``: the registry, training, promotion."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import rich_click as click

from oddtide.config.cli.bus import ask, now, who
from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command, group
from oddtide.config.cli.output import emit, emit_one, note
from oddtide.domain.errors import CommandRefusedError, NotFoundError, UsageError

if TYPE_CHECKING:
    from oddtide.config.composition import Composition

__all__ = ["models"]

_EXAMPLE = 'Write e.g. {"n_estimators": 200}.'


@group("models", examples=[("oddtide models train readings-pyod-IForest --promote", "train and put in force")])
def models() -> None:
    """Trained models: versions, which one is in force, training, promotion."""


@command("list", parent=models, output=True, examples=[("oddtide models list", "every model and its champion")])
@pass_cli
def list_(cli: Cli) -> None:
    """List the models."""
    with cli.composition().read_models() as queries:
        emit(queries.models(), output=cli.output, empty="no models yet; `oddtide models train` makes one")


@command(
    "show",
    parent=models,
    output=True,
    examples=[("oddtide models show readings-pyod-IForest", "versions, metrics")],
)
@click.argument("model")
@pass_cli
def show(cli: Cli, model: str) -> None:
    """Show one MODEL with its versions, their metrics and what they were trained on."""
    with cli.composition().read_models() as queries:
        found = queries.model(model)
    if found is None:
        raise NotFoundError(f"There is no model {model!r}.", remedy="`oddtide models list` shows all.")
    emit_one(found, output=cli.output)


@command(
    "train",
    parent=models,
    output=True,
    examples=[
        ("oddtide models train", "the only pyod detector of the only stream"),
        ("oddtide models train readings-pyod-IForest --window 50000", "on more of the log"),
        ("oddtide models train readings-pyod-IForest --promote", "and put it in force"),
    ],
)
@click.argument("model", required=False)
@click.option("--window", type=click.IntRange(min=10), default=10_000, show_default=True, help="Readings to train on.")
@click.option("--parameters", default="{}", metavar="JSON", help="Parameters instead of the declared ones.")
@click.option("--promote", is_flag=True, help="Put it in force when it is trained.")
@click.option("--wait", "wait_s", type=click.FloatRange(min=0.1), default=300.0, show_default=True, help="Seconds.")
@pass_cli
def train(cli: Cli, model: str | None, window: int, parameters: str, promote: bool, wait_s: float) -> None:
    """Have the mlops agent train MODEL, named <stream>-<detector>, on the newest readings of its stream.

    A model's first version is put in force at once, a later one with --promote or `oddtide models promote`.
    """
    from oddtide.domain.mlops.events import ModelTrained, TrainModel

    composition = cli.composition()
    name, stream, spec = _trainable(composition.plans(), model)
    request = TrainModel(
        model=name,
        stream=stream,
        algorithm=spec.kind.removeprefix("pyod:"),
        time=now(composition),
        by=who(),
        window=window,
        parameters={**spec.parameters, **_parameters(parameters)},
        promote=promote,
    )
    note(f"training {name} ({spec.kind}) on the newest {window} readings of {stream} ...")
    answer = ask(composition, request, target=name, answers="models", wanted=(ModelTrained,), wait_s=wait_s)
    emit_one({"event": type(answer).__name__, **msgspec.to_builtins(answer)}, output=cli.output)


@command(
    "promote",
    parent=models,
    output=True,
    examples=[
        ("oddtide models promote readings-pyod-IForest 3", "version 3 is in force from the next batch on"),
        ("oddtide models promote readings-pyod-IForest 4 --alias challenger", "in the shadow"),
    ],
)
@click.argument("model")
@click.argument("version", type=click.IntRange(min=1))
@click.option(
    "--alias", type=click.Choice(["champion", "challenger"]), default="champion", show_default=True, help="How."
)
@click.option("--wait", "wait_s", type=click.FloatRange(min=0.1), default=15.0, show_default=True, help="Seconds.")
@pass_cli
def promote(cli: Cli, model: str, version: int, alias: str, wait_s: float) -> None:
    """Put VERSION of MODEL in force."""
    from oddtide.domain.mlops.events import ModelPromoted, PromoteModel

    composition = cli.composition()
    request = PromoteModel(model=model, version=version, time=now(composition), by=who(), alias=alias)
    try:
        answer = ask(composition, request, target=model, answers="models", wanted=(ModelPromoted,), wait_s=wait_s)
    except CommandRefusedError as refused:
        if not _is_known(composition, model, version):
            raise NotFoundError(str(refused), remedy="`oddtide models list` shows all.") from None
        raise
    emit_one({"event": type(answer).__name__, **msgspec.to_builtins(answer)}, output=cli.output)


def _is_known(composition: Composition, model: str, version: int) -> bool:
    with composition.read_models() as queries:
        found = queries.model(model)
    return found is not None and any(each["version"] == version for each in found["versions"])


def _trainable(plans: Any, model: str | None) -> tuple[str, str, Any]:
    """(model, stream, detector) of the one that is meant."""
    from oddtide.domain.mlops.registry import default_name

    known = {
        default_name(plan.name, spec.name): (plan.name, spec)
        for plan in plans
        for spec in plan.detectors
        if spec.kind.startswith("pyod:")
    }
    if model is None and len(known) == 1:
        model = next(iter(known))
    if model in known:
        stream, spec = known[model]
        return model, stream, spec
    if not known:
        raise NotFoundError(
            "No stream declares a detector that is trained.", remedy='Add one to its detectors, e.g. "pyod:IForest".'
        )
    raise NotFoundError(f"There is no model {model or ''!r} to train.", remedy=f"There are: {', '.join(known)}.")


def _parameters(text: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"--parameters {text!r} is no JSON: {error}.", remedy='Write e.g. {"n_estimators": 200}.'
        ) from None
    if not isinstance(value, dict):
        raise UsageError(f"--parameters {text!r} is no JSON object.", remedy=_EXAMPLE)
    return value
