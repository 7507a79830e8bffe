"""What a consumer of blocks asks the broker for; what it makes of the answers is in the framing laws."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.consumer.fetcher import Fetcher

from oddtide.streams.fetching import _BRIEF_WAIT_MS, _BlockFetcher


@pytest.mark.parametrize(
    ("waiting", "patience_ms"), [({}, 1_500), ({"of a partition that is behind": "some"}, _BRIEF_WAIT_MS)]
)
def test_a_request_that_leaves_partitions_out_is_not_kept_long(
    monkeypatch: pytest.MonkeyPatch, waiting: dict[Any, Any], patience_ms: int
) -> None:
    """Else those would stand still until the others have something new, or as long as an idle one may wait."""
    monkeypatch.setattr(Fetcher, "_get_actions_per_node", lambda self, _: ([self._fetch_max_wait_ms], {}, 0))
    fetcher = object.__new__(_BlockFetcher)
    fetcher._records, fetcher.patience_ms = waiting, 1_500
    assert fetcher._get_actions_per_node(None) == ([patience_ms], {}, 0)
