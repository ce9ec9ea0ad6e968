from __future__ import annotations

import json
import re
import time
from string import ascii_letters

import pytest

from asm_actors.errors import AsmError
from asm_actors.redaction.defaults import DEFAULT_PATTERNS
from asm_actors.redaction.pattern import Pattern
from asm_actors.redaction.redactor import Redactor
from asm_actors.redaction.settings import Redaction
from tests.redaction.conftest import NEAR_MISSES, SECRETS

SEED_PATTERNS = {
    "aws_access_key", "aws_secret_key", "gcp_api_key", "anthropic_key", "openai_key", "openai_legacy_key", "github_pat",
    "github_oauth", "github_app", "github_refresh", "github_fine_pat", "gitlab_token", "jwt_token", "bearer_token",
    "password", "api_key_generic", "secret_key", "access_token", "auth_token", "connection_string", "private_key",
    "env_secret",
}  # fmt: skip


def test_the_classic_patterns_are_there_and_each_pattern_has_a_secret_to_show():
    names = {pattern.name for pattern in DEFAULT_PATTERNS}
    assert names >= SEED_PATTERNS
    assert names == {secret.name for secret in SECRETS}


def test_a_secret_is_found_by_its_pattern_alone(secret):
    (pattern,) = [pattern for pattern in DEFAULT_PATTERNS if pattern.name == secret.name]
    alone = Redactor(Redaction(patterns=[pattern], mode="replace", environment=False))
    assert alone.text(f"see {secret.text} there") == f"see {secret.shown} there"


@pytest.mark.parametrize(
    "around", ["{}", "x {} y", '"{}"', "({})", "k: {}\n", "{}\n{}", "héllo {} wörld", "\\n{}", "%20{}"]
)
def test_a_secret_is_found_wherever_it_stands(redactor, secret, around):
    text = redactor.text(around.replace("{}", secret.text))
    assert secret.hidden not in text
    assert "[REDACTED]" in text


def test_nothing_but_the_secret_goes(redactor, secret):
    assert redactor.text(f"see {secret.text} there") == f"see {secret.shown} there"


def test_redacting_twice_changes_nothing(redactor, secret):
    once = redactor.text(f"see {secret.text} there")
    assert redactor.text(once) is once or redactor.text(once) == once


@pytest.mark.parametrize(("text", "why"), NEAR_MISSES, ids=[why for _, why in NEAR_MISSES])
def test_what_only_looks_like_a_secret_stays(redactor, text, why):
    assert redactor.text(text) is text
    told = f"so {text}, and on"
    assert redactor.text(told) == told


def test_a_categorized_replacement_says_what_it_was(secret):
    text = Redactor(Redaction(replacement="categorized")).text(f"see {secret.text} there")
    assert re.search(r"\[REDACTED:[a-z_]+\]", text)
    assert secret.hidden not in text


def test_secrets_that_overlap_are_replaced_once(redactor):
    key = "gh" + "p_" + "a1" * 18
    assert redactor.text(f"password={key}") == "password=[REDACTED]"
    assert redactor.text(f"DATABASE_URL=postgres://u:hunter2hunter2@h/{key}") == "DATABASE_URL=[REDACTED]"


@pytest.mark.parametrize(
    "hidden",
    [
        'hunter2"hunter2',
        "hunter2'hunter2",
        "hunter2\\hunter2",
        'hunter2hunter2\\"',
        "hunter2\nhunter2",
        '"hunter2',
    ],
    ids=repr,
)
def test_a_value_goes_however_often_it_was_escaped(redactor, hidden):
    texts = [repr({"password": hidden, "user": "bob"})]
    text = json.dumps({"password": hidden, "user": "bob"})
    for _ in range(4):
        texts.append(text)
        text = json.dumps({"inside": text})
    for one in texts:
        shown = redactor.text(one)
        assert "hunter2" not in shown
        assert "bob" in shown


@pytest.mark.parametrize(
    "text",
    [
        'apikey:api_key="{}"', "password: password = '{}'", "api_key: my_api_key = {}", 'password="password={}"',
        r'password: db_password=\"{}\"', "password=a,password={}", "password: password: password: {}",
        r'apikey:api_key="x\"{}"',
    ],
)  # fmt: skip
def test_a_name_is_not_taken_for_the_value_that_is_given_to_it(redactor, text):
    shown = redactor.text(text.replace("{}", "hunter2hunter2"))
    assert "hunter2" not in shown
    assert "[REDACTED]" in shown


# --- Linear time -----------------------------------------------------------------------------------------------

_HEADS = sorted({head for pattern in DEFAULT_PATTERNS for head in (pattern.heads or ())})
_FEED = [
    "a", "A", "-", "_", ".", " ", "=", ":", "://", "eyJ", "eyJa.", "eyJaaaaaaaaaa.", "sk-", "sk-ant-", "AKIA", "ghp_",
    "password", "password=", "password:", 'password="', "password=a ", "api_key: ", "secret_access_key ", "Bearer ",
    "bearer", "authorization: ", "authorization: basic ", "postgres://", "postgres://:", "postgres://a:b", "://a:", "@",
    "/", "postgres://a:b/", "password=password", "password: password = ", 'password="\\\\', "password=\\\\n",
    'password=["', "_password=", "a.",
    "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----a", "PRIVATE KEY", '\\"', '\\\\\\"', "'",
    "password\\\\\\", "[REDACTED]", "\n", "[password]=", "=>", "\u0130", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("feed", [*_FEED, *_HEADS])
def test_time_grows_no_faster_than_the_text(redactor, feed):
    def took(size):
        text = feed * (size // len(feed))
        best = 1.0
        for _ in range(3):
            begun = time.thread_time()
            redactor.spans(text)
            redactor.held_from(text, 0)
            best = min(best, time.thread_time() - begun)
        return best

    # Sixteen times the text: a quadratic pattern takes 256 times as long. Below a few milliseconds nothing is told.
    short, long = took(8_000), took(128_000)
    assert long < 64 * max(short, 0.000_5)


def _repeats(tree):
    """Yield each repeat of a parsed regex with what follows it in its own sequence."""
    for place, (op, value) in enumerate(tree):
        name = str(op)
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            yield value, list(tree)[place + 1 :]
            yield from _repeats(value[2])
        elif name in ("SUBPATTERN", "ATOMIC_GROUP"):
            yield from _repeats(value[-1] if name == "SUBPATTERN" else value)
        elif name == "BRANCH":
            for branch in value[1]:
                yield from _repeats(branch)
        elif name in ("ASSERT", "ASSERT_NOT"):
            yield from _repeats(value[1])
        elif name == "GROUPREF_EXISTS":
            for branch in value[1:]:
                yield from _repeats(branch or [])


@pytest.mark.parametrize("pattern", DEFAULT_PATTERNS, ids=lambda pattern: pattern.name)
def test_no_repeat_without_a_bound_holds_another_one_or_is_followed_by_anything_required(pattern):
    from re import _parser  # the only way to see what a regex is made of

    for (_, most, inside), behind in _repeats(_parser.parse(pattern.regex)):
        if most is _parser.MAXREPEAT:
            assert [most for (_, most, _), _ in _repeats(inside) if most > 1] == []
            assert all(str(op) in ("MAX_REPEAT", "ASSERT_NOT") and value[0] == 0 for op, value in behind)


# --- Patterns of one's own --------------------------------------------------------------------------------------


@pytest.mark.parametrize("regex", ["(", "[a", "a{2,1}", "(?P<x>", "", "a*", "(?:)", None, 7, b"a"], ids=repr)
def test_a_broken_pattern_is_refused(regex):
    with pytest.raises(AsmError) as caught:
        Pattern("own", "own", regex)
    assert caught.value.code == "validation_error"
    if isinstance(regex, str):
        with pytest.raises(AsmError):
            Redaction(patterns=[regex])


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"category": None},
        {"opening": "("},
        {"triggers": "abc"},
        {"triggers": [1]},
        {"keys": "["},
    ],
    ids=str,
)
def test_a_malformed_field_of_a_pattern_is_refused(fields):
    with pytest.raises(AsmError) as caught:
        Pattern(**{"name": "own", "category": "own", "regex": r"CUST-\d{8}", **fields})
    assert caught.value.code == "validation_error"


def test_patterns_are_appended_or_replace_the_defaults():
    known = "sk-" + "ant-api03-" + ascii_letters
    text = f"CUST-12345678 {known}"
    appended = Redactor(Redaction(patterns=[r"CUST-\d{8}"]))
    assert appended.text(text) == "[REDACTED] [REDACTED]"
    replaced = Redactor(Redaction(patterns=[r"CUST-\d{8}"], mode="replace"))
    assert replaced.text(text) == f"[REDACTED] {known}"
    assert Redactor(Redaction(mode="replace")).text(text) is text


def test_a_pattern_takes_the_place_of_the_default_of_its_name():
    mine = Pattern("anthropic_key", "mine", r"sk-ant-\w+!", triggers=["sk-ant-"])
    redactor = Redactor(Redaction(patterns=[mine], replacement="categorized"))
    assert redactor.text("sk-" + "ant-abc! " + "sk-" + "ant-" + ascii_letters) == (
        "[REDACTED:mine] " + "sk-" + "ant-" + ascii_letters
    )


def test_a_pattern_may_name_the_part_that_goes_and_the_keys_of_maps():
    pattern = Pattern(
        "pin", "pin", r"(?i)pin is (?P<secret>\d{4})", triggers=["pin is"], keys="pin|door_code"
    )
    redactor = Redactor(Redaction(patterns=[pattern]))
    assert redactor.text("My PIN is 1234.") == "My PIN is [REDACTED]."
    assert redactor.map({"pin": "1234", "Door_Code": "9876", "pins": "12"}) == {
        "pin": "[REDACTED]",
        "Door_Code": "[REDACTED]",
        "pins": "12",
    }
