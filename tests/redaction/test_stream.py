from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from asm_actors.redaction.pattern import HOLD, Pattern
from asm_actors.redaction.redactor import Redactor
from asm_actors.redaction.settings import Redaction
from asm_actors.redaction.stream import StreamRedactor
from tests.redaction.conftest import NEAR_MISSES, SECRETS

REDACTOR = Redactor(Redaction(environment=False), ["known-Secret-0815", "eleven elves"])
PROSE = "A conversation is a list of things that happened, in order; whoever reads it can go on where it stopped. "
KNOWN = "known-Secret-0815"


def fed(pieces, redactor=REDACTOR):
    stream = StreamRedactor(redactor)
    return [*map(stream.feed, pieces), stream.flush()]


def cut(text, places):
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


def leaks(hidden, shown):
    """Twelve characters in a row of what is to be hidden, in a shown text."""
    return [hidden[k : k + 12] for k in range(max(1, len(hidden) - 11)) if hidden[k : k + 12] in shown]


def assert_redacted(text, pieces, hidden=(), redactor=REDACTOR):
    shown = fed(pieces, redactor)
    assert "".join(shown) == redactor.text(text)
    for one in hidden:
        assert leaks(one, "".join(shown)) == []
        assert not any(leaks(one, piece) for piece in shown)


# --- Every secret, cut everywhere ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "around", ["say {} and go on", "{}", '{"a": "{}"}', "two: {}\n{}", "\\n{}\\n"], ids=repr
)
def test_a_secret_that_is_cut_in_two_is_not_seen(secret, around):
    text = around.replace("{}", secret.text)
    for place in range(len(text) + 1):
        assert_redacted(text, [text[:place], text[place:]], [secret.hidden])


def test_a_secret_that_comes_in_single_characters_is_not_seen(secret):
    text = f"say {secret.text} and go on"
    assert_redacted(text, text, [secret.hidden])
    assert_redacted(secret.text, secret.text, [secret.hidden])


@pytest.mark.parametrize("seed", range(5))
def test_a_secret_that_is_cut_into_many_pieces_is_not_seen(secret, seed):
    rng = random.Random(seed)
    text = f"so, {secret.text}: {secret.text}; {PROSE}"
    for _ in range(20):
        places = [rng.randrange(len(text)) for _ in range(rng.randint(2, 40))]
        assert_redacted(text, cut(text, places), [secret.hidden])


def test_a_secret_inside_of_a_word_is_not_seen_wherever_it_is_cut(secret):
    text = f"word{secret.text}"
    if secret.hidden in REDACTOR.text(text):
        return  # inside of a word it is none: `disk-…`
    for place in range(len(text) + 1):
        shown = fed([text[:place], text[place:]])
        assert leaks(secret.hidden, "".join(shown)) == []
    assert leaks(secret.hidden, "".join(fed(text))) == []


def test_a_secret_at_the_very_end_is_not_seen_in_what_comes_before_the_flush(secret):
    text = f"say {secret.text}"
    for end in range(len(text) + 1):
        stream = StreamRedactor(REDACTOR)
        before = "".join(map(stream.feed, text[:end]))
        assert leaks(secret.hidden, before) == []


# --- Anything, cut anywhere --------------------------------------------------------------------------------------

_fragments = st.one_of(
    st.sampled_from([secret.text for secret in SECRETS]),
    st.sampled_from([text for text, _ in NEAR_MISSES]),
    st.sampled_from([KNOWN, "eleven elves", "eleven", "known-"]),
    st.sampled_from(
        [
            "s",
            "sk",
            "sk-",
            "A",
            "AK",
            "e",
            "ey",
            "h",
            "hf",
            "g",
            "gh",
            "x",
            "xo",
            "b",
            "Bear",
            "p",
            "password",
        ]
    ),
    st.sampled_from(
        ["=", ":", ": ", '"', "\\", "-", "-----", "://", "@", " ", "\n", ".", ",", "\\n", "%20", "{", "}"]
    ),
    st.text(max_size=8),
)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    fragments=st.lists(_fragments, max_size=6), glue=st.sampled_from([" ", "\n", ", ", "; "]), data=st.data()
)
@example(fragments=["s", "k-x"], glue=" ", data=None)
def test_the_pieces_of_any_text_make_up_the_redacted_text(fragments, glue, data):
    text = glue.join(fragments)
    places = [] if data is None else data.draw(st.lists(st.integers(0, max(1, len(text))), max_size=12))
    assert_redacted(text, cut(text, places))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=30))
def test_nothing_is_lost_and_nothing_comes_twice_if_there_is_no_secret(pieces):
    text = "".join(pieces)
    if REDACTOR.text(text) == text:
        assert "".join(fed(pieces)) == text


# --- What is held back -------------------------------------------------------------------------------------------


def test_pieces_of_prose_pass_as_they_are():
    for size in (3, 5, 8, 13, 24):
        pieces = [PROSE[k : k + size] for k in range(0, len(PROSE), size)]
        words = [word + " " for word in PROSE.split()]
        for each in (pieces, words):
            shown = fed(each)
            held = [piece for piece, said in zip(each, shown, strict=False) if piece is not said]
            assert len(held) <= len(each) // 8
            assert "".join(shown) == "".join(each)


@pytest.mark.parametrize(
    "text",
    [
        "say sk",
        "the disk",
        "I know bears",
        "he said: ",
        "x = 1",
        "3 - 2",
        "under_score",
        "see http://",
        "A plan",
    ],
)
def test_little_is_held_back_of_what_may_become_a_secret(text):
    stream = StreamRedactor(REDACTOR)
    assert len(text) - len(stream.feed(text)) <= 2
    assert stream.feed(". ") + stream.flush() != ""


@pytest.mark.parametrize(
    "opening",
    [
        "sk-" + "ant-",
        "ey" + "J",
        "password=",
        'password="',
        "postgres://u:",
        "-----BEGIN PRIVATE KEY-----",
        "Bearer ",
    ],
)
@pytest.mark.parametrize("feed", ["a", "a.", "a b", "-", "/", "\n", '"', "eyJ"])
def test_never_more_is_held_back_than_the_bound_but_for_a_secret(opening, feed):
    stream = StreamRedactor(REDACTOR)
    text = shown = ""
    for piece in [opening, *[feed] * 1000]:
        text += piece
        shown += stream.feed(piece)
        spans = REDACTOR.spans(text)
        if not spans or spans[-1].end < len(text) - HOLD:
            replaced = REDACTOR.text(text)
            assert len(replaced) - len(shown) <= HOLD
    assert shown + stream.flush() == REDACTOR.text(text)


@pytest.mark.parametrize("size", [7_000, 20_000, 100_000])
@pytest.mark.parametrize("step", [37, 4_000])
@pytest.mark.parametrize(
    ("before", "body", "after"),
    [
        ("key sk-" + "ant-", "aB3-", ", done"),
        ("api_key=", "aB3-", ", done"),
        ("-----BEGIN PRIVATE KEY-----\n", "aB3/" * 16 + "\n", "-----END PRIVATE KEY-----\n'done'"),
        ("key ey" + "JaaaaaaaaaaaJ.ey" + "Jaaaaaaaaaaa.", "aB3-", ", done"),
    ],
    ids=["token", "assignment", "pem", "jwt"],
)
def test_of_a_secret_without_end_nothing_is_seen_and_not_all_is_kept(size, step, before, body, after):
    secret = body * (size // len(body))
    text = before + secret + after
    stream = StreamRedactor(REDACTOR)
    shown, most = [], 0
    for k in range(0, len(text), step):
        shown.append(stream.feed(text[k : k + step]))
        most = max(most, len(stream._held) + len(stream._seen))
    shown.append(stream.flush())
    assert "".join(shown) == REDACTOR.text(text)
    assert body[:4] * 3 not in "".join(shown)
    assert most <= 8192 + 2 * step + 4096


def test_after_a_flush_a_new_text_begins():
    stream = StreamRedactor(REDACTOR)
    assert stream.feed("password=") == "password="
    assert stream.flush() == ""
    assert stream.feed("hunter2hunter2") == "hunter2hunter2"


def test_an_empty_piece_is_nothing():
    stream = StreamRedactor(REDACTOR)
    assert [stream.feed(piece) for piece in ("", "s", "", "k", "")] == ["", "", "", "", ""]
    assert stream.is_holding
    assert stream.flush() == "sk"
    assert not stream.is_holding


# --- Patterns of one's own ---------------------------------------------------------------------------------------

OWN = [
    Pattern("plain", "own", r"CUST-\d{8}"),
    Pattern("triggered", "own", r"CUST-\d{8}", triggers=["cust-"]),
    Pattern("opened", "own", r"CUST-\d{8}", triggers=["cust-"], opening=r"CUST-\d{0,8}"),
    Pattern("flagged", "own", r"(?i)cust-\d{8}", triggers=["cust-"], opening=r"(?i)cust-\d{0,8}"),
]


@pytest.mark.parametrize("pattern", OWN, ids=lambda pattern: pattern.name)
@pytest.mark.parametrize(
    "text", ["it is CUST-12345678.", "CUST-12345678CUST-12345678", "no CUST-1234 here", "xCUST-12345678"]
)
def test_a_pattern_of_ones_own_is_not_seen_in_pieces(pattern, text):
    redactor = Redactor(Redaction(patterns=[pattern], mode="replace", environment=False))
    for place in range(len(text) + 1):
        pieces = [text[:place], text[place:]]
        assert "12345678" not in "".join(fed(pieces, redactor))
        if text.startswith(("it", "no")):  # inside of a word the head is shown
            assert "".join(fed(pieces, redactor)) == redactor.text(text)
    assert "12345678" not in "".join(fed(text, redactor))


def test_a_pattern_with_an_opening_holds_nothing_else_back():
    redactor = Redactor(Redaction(patterns=[OWN[2]], environment=False))
    assert fed(["some text ", "and more, "], redactor) == ["some text ", "and more, ", ""]


def test_a_pattern_without_one_holds_the_last_of_each_stream_back():
    redactor = Redactor(Redaction(patterns=[OWN[0]], environment=False))
    stream = StreamRedactor(redactor)
    shown = "".join(stream.feed(PROSE) for _ in range(10))
    assert 10 * len(PROSE) - len(shown) == 256
    assert shown + stream.flush() == PROSE * 10
