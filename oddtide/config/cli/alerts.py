"""``oddtide alerts``: what needs attention, and what a person says about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import rich_click as click

from oddtide.config.cli.bus import ask, now, who
from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command, group
from oddtide.config.cli.output import emit, emit_one, note
from oddtide.domain.errors import NotFoundError

if TYPE_CHECKING:
    from oddtide.domain.observability.events import AcknowledgeAlert, ResolveAlert

__all__ = ["alerts"]


@group("alerts", examples=[("oddtide alerts list", "what is open now")])
def alerts() -> None:
    """Alerts: one per series and episode; opened by what was found, closed by quiet or by a person."""


@command(
    "list",
    parent=alerts,
    output=True,
    examples=[
        ("oddtide alerts list", "open and acknowledged ones, newest first"),
        ("oddtide alerts list --state all -n 100", "the resolved ones too"),
        ("oddtide alerts list --state withheld", "what the day's budget was not for"),
        ("oddtide alerts list --severity critical --output json", "for a program"),
    ],
)
@click.option(
    "--state", type=click.Choice(["active", "open", "acknowledged", "resolved", "withheld", "all"]), default="active",
    show_default=True, help="active: open or acknowledged; withheld: the day's budget was for stronger ones.",
)  # fmt: skip
@click.option("--severity", type=click.Choice(["info", "warning", "critical"]), help="Only of this severity.")
@click.option("--series", help="Only of this series.")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@pass_cli
def list_(cli: Cli, state: str, severity: str | None, series: str | None, limit: int) -> None:
    """List alerts."""
    states = {"active": ("open", "acknowledged"), "all": ()}.get(state, (state,))
    with cli.composition().read_models() as queries:
        rows = queries.alerts(states=states, severity=severity or "", series=series or "", limit=limit)
    columns = ["alert", "severity", "state", "kind", "stream", "series", "count", "opened", "last", "summary"]
    emit(rows, output=cli.output, columns=columns, empty="no alerts")


@command("show", parent=alerts, output=True, examples=[("oddtide alerts show 4f2a", "any unique beginning will do")])
@click.argument("alert")
@pass_cli
def show(cli: Cli, alert: str) -> None:
    """Show one ALERT with its history."""
    with cli.composition().read_models() as queries:
        emit_one(queries.alert(_full(queries, alert)), output=cli.output)


_WAIT = click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0.1),
    default=15.0,
    show_default=True,
    help="Seconds to wait.",
)
_NOTE = click.option("--note", "text", default="", help="A remark to keep with it.")


@command("ack", parent=alerts, output=True, examples=[("oddtide alerts ack 4f2a --note 'on it'", "seen by me")])
@click.argument("alert")
@_NOTE
@_WAIT
@pass_cli
def ack(cli: Cli, alert: str, text: str, wait_s: float) -> None:
    """Say that you have seen ALERT."""
    from oddtide.domain.observability.events import AcknowledgeAlert

    _decide(cli, AcknowledgeAlert, alert, text, wait_s)


@command("resolve", parent=alerts, output=True, examples=[("oddtide alerts resolve 4f2a", "close it")])
@click.argument("alert")
@_NOTE
@_WAIT
@pass_cli
def resolve(cli: Cli, alert: str, text: str, wait_s: float) -> None:
    """Close ALERT. A later cause on the same series opens a new one."""
    from oddtide.domain.observability.events import ResolveAlert

    _decide(cli, ResolveAlert, alert, text, wait_s)


def _decide(cli: Cli, kind: type[AcknowledgeAlert | ResolveAlert], alert: str, text: str, wait_s: float) -> None:
    from oddtide.domain.observability.events import AlertAcknowledged, AlertResolved

    composition = cli.composition()
    with composition.read_models() as queries:
        target = _full(queries, alert)
    request = kind(alert=target, by=who(), time=now(composition), note=text)
    wanted = (AlertAcknowledged, AlertResolved)
    answer = ask(composition, request, target=target, answers="alerts", wanted=wanted, wait_s=wait_s)
    emit_one({"event": type(answer).__name__, **msgspec.to_builtins(answer)}, output=cli.output)
    note(f"{type(answer).__name__}: {target}")


def _full(queries: Any, alert: str) -> str:
    """The one alert whose id begins with ``alert``."""
    found = queries.alert_ids(alert)
    if not found:
        raise NotFoundError(f"There is no alert {alert!r}.", remedy="`oddtide alerts list --state all` shows all.")
    if len(found) > 1 and alert not in found:
        raise NotFoundError(f"{alert!r} begins the ids of {len(found)} alerts.", remedy="Write more of the id.")
    return alert if alert in found else found[0]
