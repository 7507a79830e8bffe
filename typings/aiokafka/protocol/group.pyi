from collections.abc import Sequence

class SyncGroupRequest:
    def __init__(
        self,
        group: str,
        generation_id: int,
        member_id: str,
        group_instance_id: str | None,
        group_assignment: Sequence[tuple[str, bytes]],
    ) -> None: ...
