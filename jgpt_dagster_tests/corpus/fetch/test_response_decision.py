"""Decisions about answers, without a server: `test_download_parts.py` tries the same with one."""

import pytest

from jgpt_dagster.corpus.fetch.response_decision import Action, Held, decide, range_headers, wrong_type

HELD = Held(size=100, total=None, validator='"a"')
GZIP = b"\x1f\x8b\x08"


@pytest.mark.parametrize(
    ("status", "headers", "action"),
    [
        (200, {}, Action.COMPARE),
        (200, {"content-length": "300"}, Action.COMPARE),
        (200, {"content-length": "299"}, Action.RETRY),
        (200, {"content-length": "9" * 5000}, Action.COMPARE),
        (206, {"content-range": "bytes 100-299/300", "etag": '"a"'}, Action.APPEND),
        (206, {"content-range": "bytes 100-199/300", "etag": '"a"'}, Action.APPEND),
        (206, {"content-range": "bytes 100-299/*", "etag": '"a"'}, Action.APPEND),
        (206, {"content-range": "bytes 100-299/300"}, Action.ASK_WHOLE),
        (206, {"content-range": "bytes 100-299/300", "etag": '"b"'}, Action.ASK_WHOLE),
        (206, {"content-range": "bytes 100-299/300", "etag": '"a"', "content-encoding": "gzip"}, Action.ASK_WHOLE),
        (
            206,
            {"content-range": "bytes 100-299/300", "etag": '"a"', "content-type": "text/html; charset=x"},
            Action.ASK_WHOLE,
        ),
        (206, {"content-range": "bytes 100-300/300", "etag": '"a"'}, Action.ASK_WHOLE),
        (206, {"content-range": "bytes 100-298/299", "etag": '"a"'}, Action.ASK_WHOLE),
        (206, {"content-range": "bytes 99-299/300", "etag": '"a"'}, Action.ASK_WHOLE),
        (206, {"content-range": "bytes 100-99/300", "etag": '"a"'}, Action.ASK_WHOLE),
        (206, {"content-range": "bytes */300", "etag": '"a"'}, Action.ASK_WHOLE),
        (206, {"etag": '"a"', "content-type": "multipart/byteranges; boundary=x"}, Action.ASK_WHOLE),
        (416, {"content-range": "bytes */100"}, Action.ASK_WHOLE),
        (416, {"content-range": "bytes */300"}, Action.ASK_WHOLE),
        (416, {}, Action.ASK_WHOLE),
    ],
)
def test_an_answer_is_used_only_if_it_fits_what_is_held_of_a_file_of_300_bytes(
    status: int, headers: dict[str, str], action: Action
) -> None:
    decision = decide(status, headers, HELD, 300)
    assert decision.action is action
    assert bool(decision.reason) == (action in (Action.RETRY, Action.ASK_WHOLE))


def test_what_earlier_answers_said_about_the_size_is_checked_but_may_change() -> None:
    held = Held(size=100, total=300, validator=None)
    assert decide(206, {"content-range": "bytes 100-399/400"}, held, None).action is Action.ASK_WHOLE
    assert decide(416, {"content-range": "bytes */100"}, held, None).action is Action.KEEP
    assert decide(200, {"content-length": "400"}, held, None).action is Action.COMPARE


def test_a_date_need_not_be_repeated_and_without_a_validator_the_hash_decides() -> None:
    span = {"content-range": "bytes 100-299/300"}
    for held in (Held(100, 300, "Fri, 01 Aug 2025 00:00:00 GMT"), Held(100, 300, None)):
        assert decide(206, span, held, None).action is Action.APPEND


def test_only_a_strong_validator_makes_a_range_conditional() -> None:
    assert range_headers(HELD) == {"Range": "bytes=100-", "If-Range": '"a"'}
    assert range_headers(Held(100, None, 'W/"a"')) == range_headers(Held(100, None, None)) == {"Range": "bytes=100-"}


@pytest.mark.parametrize(
    ("headers", "head", "magic", "says"),
    [
        ({}, b"BZh9", b"BZh", None),
        ({"content-type": "text/html", "content-encoding": "x-bzip2"}, b"BZh9", b"BZh", None),
        ({}, b"busy", b"BZh", "does not begin"),
        ({}, b"", b"BZh", "does not begin"),
        ({}, b"anything", b"", None),
        ({"content-type": "Text/HTML;charset=utf-8"}, b"anything", b"", "web page"),
        ({}, b"\xef\xbb\xbf\r\n <!DOCTYPE html>", b"", "web page"),
        ({"content-encoding": "gzip"}, GZIP, b"", "compressed on the way"),
        ({"content-encoding": "gzip"}, b"BZh9", b"", None),
        ({}, GZIP, b"", None),
    ],
)
def test_a_body_is_taken_for_the_file_by_its_beginning(
    headers: dict[str, str], head: bytes, magic: bytes, says: str | None
) -> None:
    reason = wrong_type(headers, head, magic)
    assert reason is None if says is None else reason and says in reason
