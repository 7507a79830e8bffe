"""Questions about models, and about what people said."""

from __future__ import annotations

from sqlalchemy import desc, select

from oddtide.adapters.storage.columns import digest
from oddtide.adapters.storage.queries.base import Answer, Reader, event_of, picked, time_of
from oddtide.adapters.storage.tables import FEEDBACK, MODEL_ALIASES, MODEL_HISTORY, MODEL_VERSIONS, MODELS

__all__ = ["RegistryQueries"]

_OF_A_VERSION = (
    "rows", "features", "metrics", "parameters", "libraries", "lineage", "artifact", "digest", "duration_s",
)  # fmt: skip


class RegistryQueries(Reader):
    """Models with their versions, and feedback."""

    def models(self) -> list[Answer]:
        """Every model with its newest version and the versions in force (0: none)."""
        aliases: dict[str, dict[str, int]] = {}
        for row in self._all(select(MODEL_ALIASES)):
            aliases.setdefault(row["model_key"], {})[row["alias"]] = row["version"]
        versions: dict[str, list[int]] = {}
        for row in self._all(select(MODEL_VERSIONS.c.model_key, MODEL_VERSIONS.c.version)):
            versions.setdefault(row["model_key"], []).append(row["version"])
        rows = self._all(select(MODELS).order_by(MODELS.c.model))
        return [_model(row, versions.get(row["key"], []), aliases.get(row["key"], {})) for row in rows]

    def model(self, model: str) -> Answer | None:
        """One model with its versions (newest first: metrics, evaluations, lineage), aliases and history; or None."""
        key = digest(model)
        head = next((row for row in self.models() if row["model"] == model), None)
        if head is None:
            return None
        aliases = self._all(select(MODEL_ALIASES).where(MODEL_ALIASES.c.model_key == key))
        trained = self._all(
            select(MODEL_VERSIONS).where(MODEL_VERSIONS.c.model_key == key).order_by(desc(MODEL_VERSIONS.c.version))
        )
        history = self._all(
            select(MODEL_HISTORY).where(MODEL_HISTORY.c.model_key == key)
            .order_by(MODEL_HISTORY.c.log_offset, MODEL_HISTORY.c.id)
        )  # fmt: skip
        said = [_said(row) for row in history]
        return {
            **head,
            "aliases": {row["alias"]: row["version"] for row in sorted(aliases, key=lambda row: str(row["alias"]))},
            "versions": [_version(row, aliases, said) for row in trained],
            "history": said,
        }

    def feedback(self, *, limit: int = 50, verdict: str = "", standing: bool = False) -> list[Answer]:
        """What people said of verdicts, newest first; with ``standing`` only what was not withdrawn."""
        found = select(FEEDBACK).where(FEEDBACK.c.given.is_not(None))
        if verdict:
            found = found.where(FEEDBACK.c.verdict == verdict)
        if standing:
            found = found.where(FEEDBACK.c.withdrawn.is_(None))
        rows = self._all(found.order_by(desc(FEEDBACK.c.given_ns), FEEDBACK.c.key).limit(limit))
        return [_feedback(row) for row in rows]


def _feedback(row: Answer) -> Answer:
    withdrawn = {"withdrawn": time_of(row["withdrawn_ns"]), "withdrawn_by": event_of(row["withdrawn"]).get("by", "")}
    return event_of(row["given"]) | withdrawn


def _said(row: Answer) -> Answer:
    return {"type": row["type"], "time": time_of(row["time_ns"]), "event": event_of(row["document"])}


def _model(row: Answer, versions: list[int], aliases: dict[str, int]) -> Answer:
    return {
        **picked(row, ("model", "stream", "algorithm", "detector")),
        "versions": len(versions), "newest": max(versions, default=0),
        "champion": aliases.get("champion", 0), "challenger": aliases.get("challenger", 0),
        "registered": time_of(row["time_ns"]),
    }  # fmt: skip


def _version(row: Answer, aliases: list[Answer], history: list[Answer]) -> Answer:
    event = event_of(row["document"])
    return {
        "version": row["version"], "trained": time_of(row["time_ns"]),
        "aliases": sorted(alias["alias"] for alias in aliases if alias["version"] == row["version"]),
        **picked(event, _OF_A_VERSION),
        "evaluations": [
            picked(said["event"], ("data", "metrics", "time"))
            for said in history
            if said["type"] == "ModelEvaluated" and said["event"]["version"] == row["version"]
        ],
    }  # fmt: skip
