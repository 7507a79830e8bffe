"""When a series that says nothing is absent: the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from oddtide.config.sections import Section

if TYPE_CHECKING:
    from oddtide.domain.detection.absence import AbsencePolicy

__all__ = ["Absence", "AbsenceSettings"]


class AbsenceSettings(Section):
    """When a series that says nothing is absent."""

    after_s: Annotated[float, Field(ge=1e-3, le=1e9)] | Literal["auto"] = Field(
        default="auto",
        description="How long a series may be silent (seconds of event time); auto: `factor` times the longest silence "
        "that it has lately had.",
    )
    factor: float = Field(default=3.0, ge=1.0, le=1e6, description="For auto: so many times that silence.")
    least_s: float = Field(default=60.0, ge=1e-3, le=1e9, description="For auto: at least so long (seconds).")

    def policy(self) -> AbsencePolicy:
        """The same as a plan has it."""
        from oddtide.domain.detection.absence import AbsencePolicy

        after = None if self.after_s == "auto" else float(self.after_s)
        return AbsencePolicy(after, self.factor, self.least_s)


def _after(value: Any) -> Any:
    """Lets a number of seconds, or auto, stand for the table."""
    return {"after_s": value} if isinstance(value, str | int | float) else value


#: A number of seconds, auto, or a table.
Absence = Annotated[
    AbsenceSettings, BeforeValidator(_after, json_schema_input_type=float | Literal["auto"] | AbsenceSettings)
]
