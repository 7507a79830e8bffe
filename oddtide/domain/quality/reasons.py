"""Why a reading is refused, or left unscored: the one enumeration, from which the documentation is generated."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Reason"]


class Reason(StrEnum):
    """A reason as it stands in dead letters, ledgers and violations. ``meaning`` explains it in one line."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Reason:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    # The record as a whole
    NULL_VALUE = "null_value", "The record has no value (a tombstone)."
    EMPTY = "empty", "The value has no bytes but white space, or the batch has no rows."
    TOO_LARGE = "too_large", "One record holds more readings than 50,000, or than bytes."
    WRONG_ENCODING = "wrong_encoding", "The text is not UTF-8 without a byte order mark."
    NOT_JSON = "not_json", "The value is not one JSON document (RFC 8259)."
    TOO_DEEP = "too_deep", "JSON is nested deeper than 1,024 levels."
    NOT_AN_OBJECT = "not_an_object", "The JSON document, or an event's data, is not an object."
    UNKNOWN_CONTENT_TYPE = "unknown_content_type", "The content type is neither JSON, CloudEvents JSON nor Arrow IPC."
    UNSUPPORTED_SPECVERSION = "unsupported_specversion", "The CloudEvent's specversion is absent or not 1.0."
    UNKNOWN_EVENT_TYPE = "unknown_event_type", "The CloudEvent's type is neither oddtide.Reading nor oddtide.Readings."
    UNEQUAL_COLUMNS = "unequal_columns", "The columns of a batch are not all lists of one length."
    INVALID_ARROW = "invalid_arrow", "The Arrow data is truncated, corrupt, compressed or of unusable types."
    # One reading
    UNKNOWN_FIELD = "unknown_field", "A field or feature that the stream's contract does not declare."
    MISSING_SERIES = "missing_series", "Neither the reading nor the record's key names a series."
    INVALID_SERIES = "invalid_series", "The series is not a text, is empty, not UTF-8 or has control characters."
    SERIES_TOO_LONG = "series_too_long", "The series' name is longer than the contract allows."
    MISSING_TIME = "missing_time", "Neither the reading nor its CloudEvent has a time."
    INVALID_TIME = "invalid_time", "The time is neither RFC 3339 nor a Unix epoch, or outside the years 1678 to 2261."
    INVALID_FEATURES = "invalid_features", "The features are not an object, or value and features are both given."
    MISSING_FEATURE = "missing_feature", "A required feature is absent or null, or the reading has no feature at all."
    NOT_A_NUMBER = "not_a_number", "A feature is a text, a truth value, a list or an object instead of a number."
    NOT_FINITE = "not_finite", "A number is NaN, infinite or too large for a double."
    INVALID_LABELS = (
        "invalid_labels",
        "Labels are not an object of texts, have a null character, are too many or too long.",
    )
    # The contract
    TIME_TOO_OLD = "time_too_old", "The time lies further before the record's timestamp than the contract allows."
    TIME_TOO_NEW = "time_too_new", "The time lies further after the record's timestamp than the contract allows."
    LATE = "late", "The time is before that of the series' newest reading."
    DUPLICATE = "duplicate", "The time equals that of the series' newest reading."
    LOADED_BEFORE = "loaded_before", "The record is history (`oddtide warm`) that the partition has learnt already."
    OUT_OF_RANGE = "out_of_range", "A feature is below its minimum or above its maximum."
