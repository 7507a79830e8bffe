from collections.abc import Sequence
from enum import IntEnum

class ConfigResourceType(IntEnum):
    TOPIC = 2

class ConfigResource:
    def __init__(self, resource_type: ConfigResourceType, name: str, configs: Sequence[str] | None = None) -> None: ...

class OffsetSpec(IntEnum):
    EARLIEST = -2
    LATEST = -1
