"""What becomes of the answer to a download: pure decisions from its status, header fields and first bytes.

No byte on disk is given up for an answer that is not known to be the file. HTTP semantics are those of RFC 9110: a
range request (section 14) asks for the missing bytes, and `If-Range` (13.1.5) for the whole file instead if its
validator (8.8) has changed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

# A size has at most 19 digits: more than any file has bytes.
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,19})-(\d{1,19})|\*)/(\d{1,19}|\*)", re.ASCII)
_LENGTH = re.compile(r"\d{1,19}", re.ASCII)
_MAX_VALIDATOR_CHARACTERS = 1000
_PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_PAGE_BEGINNINGS = (b"<!doctype", b"<html", b"<head", b"<body", b"<?xml", b"<!--")
_GZIP = b"\x1f\x8b"

HEAD_BYTES = 512
"""How many bytes from the beginning of a file `wrong_type` wants to see."""


class Action(Enum):
    """What to do with an answer."""

    KEEP = auto()
    """416: what is on disk is the whole file."""
    APPEND = auto()
    """206: the body follows the bytes on disk."""
    COMPARE = auto()
    """200: the body is the file from byte 0. What is on disk need not be written again; if it differs, the file has
    changed, and the body begins another part."""
    RETRY = auto()
    """This is not the file."""
    ASK_WHOLE = auto()
    """This is not the range that was asked for: ask for the whole file."""


@dataclass(frozen=True)
class Held:
    """What is on disk: its size, the size of the whole file if known, and the validator of the answer it came from."""

    size: int
    total: int | None
    validator: str | None


@dataclass(frozen=True)
class Decision:
    """An action, its reason in words if the answer is of no use, and the size of the whole file if it is known."""

    action: Action
    reason: str = ""
    total: int | None = None


def decide(status: int, headers: Mapping[str, str], held: Held, expected_size: int | None) -> Decision:
    """Return what to do with an answer of status 200, 206 or 416; names of `headers` are in lower case.

    `expected_size` is known before the download, `held.total` from earlier answers.
    """
    if status == 200:
        return _decide_whole(headers, expected_size)
    first, last, total = _content_range(headers)
    known_total = held.total if expected_size is None else expected_size
    if is_page(headers):
        reason = "a web page"
    elif held.validator and not _is_same_file(status, validator_of(headers), held.validator):
        reason = "a range of another file"
    elif is_encoded(headers):
        reason = "a range of a compressed copy"
    elif status == 416 and total == held.size and expected_size in (None, total):
        return Decision(Action.KEEP, total=total)
    elif total is not None and known_total is not None and total != known_total:
        reason = f"a range of {total:,} bytes"
    elif status == 206 and first == held.size and last is not None and first <= last < (total or last + 1):
        return Decision(Action.APPEND, total=known_total if total is None else total)
    else:
        reason = "no range"
    return Decision(Action.ASK_WHOLE, f"HTTP {status} is not the rest of the file from byte {held.size:,}: {reason}")


def _is_same_file(status: int, validator: str | None, held: str) -> bool:
    """Return whether an answer is about the file that is held. A 206 repeats an ETag, and may leave out a date."""
    is_etag = held.startswith(('"', "W/"))
    return validator == held or (validator is None and not (is_etag and status == 206))


def _decide_whole(headers: Mapping[str, str], expected_size: int | None) -> Decision:
    length = headers.get("content-length", "")
    total = int(length) if _LENGTH.fullmatch(length) else None
    if total is not None and expected_size is not None and total != expected_size:
        page = ": a web page" if is_page(headers) else ""
        return Decision(Action.RETRY, f"the server's copy has {total:,} bytes, expected {expected_size:,}{page}")
    return Decision(Action.COMPARE, total=expected_size if total is None else total)


def wrong_type(headers: Mapping[str, str], head: bytes, magic: bytes) -> str | None:
    """Return why a body is not the file, in words, or None.

    `head` is its first HEAD_BYTES bytes, `magic` what the file is known to begin with. Without it, pages of portals and
    proxies are recognized by their type, and a body that was compressed on the way by its beginning.
    """
    if magic and head.startswith(magic):
        return None
    if is_page(headers) or head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_PAGE_BEGINNINGS):
        return "a web page came instead of the file; a proxy or the login page of a network may have sent it"
    if is_encoded(headers) and head.startswith(_GZIP):
        return "the file was compressed on the way, which was not asked for; a proxy may do that"
    return "what came does not begin as such a file does" if magic else None


def validator_of(headers: Mapping[str, str]) -> str | None:
    """Return the ETag or Last-Modified of an answer, if it has one of a sensible length."""
    validator = headers.get("etag") or headers.get("last-modified")
    return validator if validator and len(validator) <= _MAX_VALIDATOR_CHARACTERS else None


def range_headers(held: Held) -> dict[str, str]:
    """Return the header fields that ask for the bytes after those on disk."""
    headers = {"Range": f"bytes={held.size}-"}
    if held.validator and not held.validator.startswith("W/"):  # If-Range allows strong validators only
        headers["If-Range"] = held.validator
    return headers


def range_end(headers: Mapping[str, str]) -> int | None:
    """Return the offset after the last byte of a 206 answer."""
    last = _content_range(headers)[1]
    return None if last is None else last + 1


def is_page(headers: Mapping[str, str]) -> bool:
    """Return whether an answer calls itself a web page."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() in _PAGE_TYPES


def is_encoded(headers: Mapping[str, str]) -> bool:
    """Return whether an answer declares a Content-Encoding."""
    return headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")


def _content_range(headers: Mapping[str, str]) -> tuple[int | None, int | None, int | None]:
    """Return first byte, last byte and total size of a Content-Range; None for what it does not tell."""
    found = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    if not found:
        return None, None, None
    first, last, total = (int(text) if text and text != "*" else None for text in found.groups())
    return first, last, total
