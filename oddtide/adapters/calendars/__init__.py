"""Public holidays of a country, from the library ``holidays`` (an extra: ``oddtide[holidays]``)."""

from __future__ import annotations

from functools import lru_cache

from oddtide.domain.errors import ConfigurationError, MissingExtraError

__all__ = ["FIRST_YEAR", "LAST_YEAR", "holiday_dates"]

FIRST_YEAR, LAST_YEAR = 1990, 2060


@lru_cache(maxsize=64)
def holiday_dates(code: str) -> tuple[str, ...]:
    """The public holidays of ``DE`` or ``US-CA`` (a country's ISO code, and one of its parts) from :data:`FIRST_YEAR`
    to :data:`LAST_YEAR`, as ISO dates, sorted. Another release of the library may say otherwise.

    Raises ``MissingExtraError`` where the library is not installed, ``ConfigurationError`` for a code unknown to it.
    """
    try:
        import holidays
    except ImportError:
        raise MissingExtraError(
            f"The holidays of {code!r} need the library holidays, which is not installed.",
            remedy="Install the extra: pip install 'oddtide[holidays]'; or list the dates.",
        ) from None
    country, _, part = code.partition("-")
    try:
        found = holidays.country_holidays(country, subdiv=part or None, years=range(FIRST_YEAR, LAST_YEAR + 1))
    except NotImplementedError as error:
        raise ConfigurationError(
            f"Parameter holidays is {code!r}: {error}.",
            remedy='Give a code such as "DE" or "US-CA", or list the dates.',
        ) from None
    return tuple(sorted(day.isoformat() for day in found))
