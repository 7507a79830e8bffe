# An optional extra, not installed where types are checked.
from collections.abc import Iterable, Iterator
from datetime import date

class HolidayBase:
    def __iter__(self) -> Iterator[date]: ...

def country_holidays(
    country: str, subdiv: str | None = None, years: int | Iterable[int] | None = None
) -> HolidayBase: ...
