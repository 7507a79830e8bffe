"""Codecs: what lies between bytes on a topic and columns of readings.

A producer may write a reading in any of four forms; :class:`~oddtide.streams.codecs.readings.ReadingDecoder` takes them
mixed, on one topic:

1. a **bare JSON reading** (:mod:`~oddtide.streams.codecs.json_reading`);
2. a **CloudEvent 1.0**, binary or structured, around one (:mod:`~oddtide.streams.codecs.cloudevent`);
3. a **batch in JSON columns** (:mod:`~oddtide.streams.codecs.columns`);
4. a **batch in Arrow IPC**, known by its content type or its first bytes (:mod:`~oddtide.streams.codecs.arrow`).

There is one definition of what a reading means, ``read_one``. The fast path for plain JSON and the column-wise paths
for batches take what is plainly in order and hand everything else to it, so that they cannot disagree with it. Each
record is decoded on its own: two broken records joined could complete each other and smuggle in a third reading.

Bad input harms nobody: no bytes raise an error out of the decoder. What does not become a reading becomes a
:class:`~oddtide.streams.codecs.decoded.Refusal` with one of the reasons of
:class:`oddtide.domain.quality.reasons.Reason`. JSON is what orjson takes (RFC 8259, UTF-8): NaN and Infinity literals,
lone surrogates, byte order marks, numbers beyond a double and nesting beyond 1,024 levels are refused; of duplicate
keys the last wins; whole numbers beyond 64 bits are read as doubles.
"""

from __future__ import annotations
