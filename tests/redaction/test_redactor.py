from __future__ import annotations

import pytest

from asm_actors.errors import AsmError, ErrorCode, ProviderError
from asm_actors.redaction.making import redactor_of
from asm_actors.redaction.redactor import Redactor
from asm_actors.redaction.settings import Redaction, secrets_of_environment

KEY = "sk-" + "ant-api03-q7Zx2Lv9Bn4Mk1Jh8Gf3"
GONE = "[REDACTED]"


class Named(str):
    __slots__ = ()


# --- Values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (f"a {KEY} b", f"a {GONE} b"),
        ({"a": KEY, "n": 1}, {"a": GONE, "n": 1}),
        ({"a": {"b": {"c": [1, KEY]}}}, {"a": {"b": {"c": [1, GONE]}}}),
        ([KEY, (KEY, None)], [GONE, [GONE, None]]),
        ({"a": [{"b": KEY}, {"b": "c"}]}, {"a": [{"b": GONE}, {"b": "c"}]}),
        ({KEY: 1}, {GONE: 1}),
        (
            {KEY: 1, KEY + "x": 2, "a": {KEY: {KEY: KEY}}},
            {GONE: 1, f"{GONE} (2)": 2, "a": {GONE: {GONE: GONE}}},
        ),
        ({"raw": KEY.encode()}, {"raw": GONE.encode()}),
        ({"raw": bytearray(b"\xff" + KEY.encode())}, {"raw": b"\xff" + GONE.encode()}),
        ({"a": Named(KEY)}, {"a": GONE}),
        ({1: KEY, None: KEY, ("a",): KEY}, {1: GONE, None: GONE, ("a",): GONE}),
    ],
    ids=repr,
)
def test_secrets_leave_every_part_of_a_value(redactor, value, shown):
    assert redactor.value(value) == shown


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        "",
        None,
        1,
        1.5,
        True,
        {"a": [1, {"b": None}]},
        {"s": {1, 2}},
        {"o": object()},
        ("a",),
        {"a": {"b": 1}},
    ],
    ids=repr,
)
def test_what_holds_no_secret_is_the_same_object(redactor, value):
    assert redactor.value(value) is value


def test_the_original_is_not_changed(redactor):
    inner = {"k": [KEY]}
    value = {"a": inner}
    assert redactor.map(value) == {"a": {"k": [GONE]}}
    assert value == {"a": {"k": [KEY]}}
    assert value["a"] is inner


@pytest.mark.parametrize(
    ("key", "item"),
    [
        ("password", "hunter2"),
        ("DB_PASSWORD", "correct horse"),
        ("userPassword", "hun\nter2"),
        ("api_key", "12345678"),
        ("x-api-key", "12345678"),
        ("clientSecret", "12345678"),
        ("aws_secret_access_key", "1234567812345678"),
        ("refresh_token", "12345678"),
        ("Authorization", "Basic 12345678"),
        ("DATABASE_URL", "sqlite:///a.db"),
        ("pwd", "hunter2"),
    ],
)
def test_a_text_under_a_key_that_names_a_secret_goes(redactor, key, item):
    assert redactor.map({"a": {key: item}}) == {"a": {key: GONE}}
    assert redactor.map({key: item}) == {key: GONE}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"api_key": ["hunter2hunter2", 1]}, {"api_key": [GONE, 1]}),
        ({"secret_key": {"v": "hunter2hunter2"}}, {"secret_key": {"v": GONE}}),
        ({"a": [{"Password": ({"b": ["hunter2"]}, "str")}]}, {"a": [{"Password": [{"b": [GONE]}, "str"]}]}),
        ({"api_key": {"pin": "short", "password": "short"}}, {"api_key": {"pin": "short", "password": GONE}}),
        ({"password": {KEY: None}}, {"password": {GONE: None}}),
    ],
    ids=repr,
)
def test_all_texts_below_a_key_that_names_a_secret_go(redactor, value, shown):
    assert redactor.map(value) == shown
    assert "hunter2" not in repr(redactor.value(nested(30, value)))


def test_many_keys_that_name_secrets_in_each_other_are_looked_at_once():
    deep = Redactor(Redaction(max_depth=90))
    value = "hunter2hunter2"
    for _ in range(80):
        value = {"password": value, "secret_key": 1}
    assert "hunter2" not in repr(deep.map(value))
    loop = {"password": ["x"]}
    loop["password"].append(loop)
    assert deep.map(loop) is not None


@pytest.mark.parametrize(
    ("key", "item"),
    [
        ("password", "str"),
        ("password", ""),
        ("password", "required"),
        ("password", "${PASSWORD}"),
        ("password", {"type": "string"}),
        ("password", True),
        ("password", None),
        ("password_hint", "my first dog"),
        ("max_tokens", "12345678"),
        ("api_key_id", "12345678"),
        ("public_key", "12345678"),
        ("token", "12345678"),
    ],
)
def test_other_keys_and_what_is_no_value_stay(redactor, key, item):
    value = {key: item}
    assert redactor.map(value) is value


def nested(depth, leaf):
    for _ in range(depth):
        leaf = {"a": [leaf]}
    return leaf


@pytest.mark.parametrize("depth", range(1, 12))
@pytest.mark.parametrize("leaf", [KEY, {"password": "hunter2"}, {KEY: 1}, [KEY.encode()]], ids=repr)
def test_no_secret_is_too_deep(depth, leaf):
    shallow = Redactor(Redaction(max_depth=3))
    shown = repr(shallow.value(nested(depth, leaf)))
    assert GONE in shown
    assert "q7Zx" not in shown
    assert "hunter2" not in shown


def test_a_deep_value_without_a_secret_stays_and_one_with_a_secret_goes_as_a_whole():
    shallow = Redactor(Redaction(max_depth=2))
    clean = nested(30, "x")
    assert shallow.value(clean) is clean
    assert shallow.value({"a": {"b": {"c": "x", "d": {"e": KEY}}, "f": {"c": "x"}}}) == {
        "a": {"b": GONE, "f": {"c": "x"}}
    }


@pytest.mark.parametrize("depth", [100, 100_000])
def test_what_nests_without_end_or_contains_itself_is_no_trouble(redactor, depth):
    value = nested(depth, KEY)
    assert redactor.value(value) != value if depth == 100 else "q7Zx" not in str(type(redactor.value(value)))
    loop = {"a": 1}
    loop["b"] = [loop]
    assert redactor.value(loop) is not None


def test_without_deep_scan_only_a_maps_own_texts_are_looked_at():
    shallow = Redactor(Redaction(deep_scan=False))
    assert shallow.map({"a": KEY, "b": {"c": KEY}, "password": "hunter2"}) == {
        "a": GONE,
        "b": {"c": KEY},
        "password": GONE,
    }
    clean = {"b": {"c": KEY}}
    assert shallow.map(clean) == clean


def test_what_is_remembered_of_keys_and_texts_has_a_bound(redactor):
    own = Redactor()
    for number in range(10_000):
        own.map({f"key {number}": f"{number}", "password": f"hunter{number}"})
    assert max(len(own._keys), len(own._short), len(own._plain_keys)) <= 4096
    assert own.map({"key 1": KEY, "password": "hunter2"}) == {"key 1": GONE, "password": GONE}


# --- Known secrets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "plain-and-long",
        "Ünïcödé-söcrét",
        'with "quotes" and \\',
        "two\nlines here",
        "eeeeeeee",
        "a/b c?d=e&f",
        "🔑🔑🔑🔑🔑🔑",
    ],
)
def test_a_known_secret_goes_wherever_and_in_whatever_form_it_stands(text):
    import json
    from urllib.parse import quote

    redactor = Redactor(Redaction(environment=False), [text])
    forms = {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], quote(text, "")}
    for form in forms:
        assert redactor.text(f"x{form}y") == f"x{GONE}y"
        assert redactor.map({f"k{form}": [form]}) == {f"k{GONE}": [GONE]}


def test_the_environment_tells_secrets_by_the_names_of_its_variables():
    environ = {
        "SERVICE_API_KEY": "one-1234567890",
        "GH_TOKEN": "two-1234567890",
        "APP_SECRET": "three-12345678",
        "db_password": "four-123456789",
        "PASSWORD": "short",
        "PATH": "/usr/bin:/usr/local/bin",
        "TOKENS": "no-secret-at-all",
    }
    assert secrets_of_environment(environ) == (
        "one-1234567890",
        "two-1234567890",
        "three-12345678",
        "four-123456789",
    )
    redactor = redactor_of(True, [], environ)
    assert redactor.text("one-1234567890, /usr/bin:/usr/local/bin") == f"{GONE}, /usr/bin:/usr/local/bin"
    assert redactor_of(Redaction(environment=False), [], environ).text("one-1234567890") == "one-1234567890"


def test_providers_tell_the_secrets_they_were_configured_with():
    import asm_actors as asm

    class Tells(asm.BaseProvider):
        def secrets(self):
            return "my-own-credential", "no", 7

    providers = [Tells(), asm.AnthropicProvider(api_key="an-odd-key-1234"), asm.ScriptedProvider()]
    redactor = redactor_of(True, providers, {})
    assert redactor.text("my-own-credential an-odd-key-1234 no") == f"{GONE} {GONE} no"


def test_headers_and_a_given_client_of_the_model_api_are_known():
    import anthropic

    import asm_actors as asm

    client = anthropic.AsyncAnthropic(api_key="clients-own-key-1")
    provider = asm.AnthropicProvider(
        default_headers={"X-Api-Key": "header-key-1", "X-Team": "team-blue"}, client=client
    )
    assert {"clients-own-key-1", "header-key-1"} <= set(provider.secrets())
    assert "team-blue" not in provider.secrets()


# --- The option ------------------------------------------------------------------------------------------------


def test_redaction_is_on_unless_it_is_switched_off():
    assert redactor_of(True, [], {}).text(KEY) == GONE
    assert redactor_of(False, [], {}) is None
    assert redactor_of(Redaction(enabled=False), [], {}) is None


@pytest.mark.parametrize("value", [None, 1, "yes", {}, []], ids=repr)
def test_an_option_that_is_none_is_refused(value):
    with pytest.raises(AsmError) as caught:
        redactor_of(value, [], {})
    assert caught.value.code == "validation_error"


@pytest.mark.parametrize(
    "fields",
    [
        {"enabled": 1},
        {"patterns": "abc"},
        {"patterns": 7},
        {"patterns": [7]},
        {"patterns": ["("]},
        {"mode": "add"},
        {"replacement": None},
        {"deep_scan": "yes"},
        {"scan_metadata": None},
        {"max_depth": 0},
        {"max_depth": True},
        {"known_secrets": "hunter2hunter2"},
        {"known_secrets": ["short"]},
        {"known_secrets": [7]},
        {"known_secrets": 7},
        {"environment": 0},
    ],
    ids=str,
)
def test_a_malformed_setting_is_refused_and_the_error_shows_no_secret(fields):
    with pytest.raises(AsmError) as caught:
        Redaction(**fields)
    assert caught.value.code == "validation_error"
    assert "hunter2" not in str(caught.value)


def test_settings_show_no_known_secret():
    redaction = Redaction(known_secrets=["hunter2hunter2"])
    assert "hunter2" not in repr(redaction)
    assert "hunter2" not in repr(Redactor(redaction))


def test_the_replacement_is_a_text_of_ones_own():
    assert Redactor(Redaction(replacement="<gone>")).map({"a": KEY, "password": "hunter2"}) == {
        "a": "<gone>",
        "password": "<gone>",
    }
    assert Redactor(Redaction(replacement="")).text(f"a{KEY}") == "a"


# --- Names, errors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [KEY, f"tag:{KEY}", "password=hunter2hunter2"])
def test_a_secret_is_no_name(redactor, name):
    with pytest.raises(AsmError) as caught:
        redactor.check_name(name, "tags")
    assert caught.value.code == "validation_error"
    assert caught.value.details == {"field": "tags"}
    assert name not in str(caught.value)


@pytest.mark.parametrize("name", ["agent", "run_" + "0f" * 16, "team:blue", "a=b", "https://example.com/x"])
def test_other_names_pass(redactor, name):
    redactor.check_name(name, "id")


def test_an_error_loses_its_secrets_and_nothing_else(redactor):
    error = AsmError(
        ErrorCode.PROVIDER_ERROR,
        f"refused {KEY}",
        details={"header": KEY, "n": 1},
        provider_error={"message": KEY},
        context={"run_id": "r", "password": "hunter2"},
        retry_after=1.5,
    )
    error.__cause__ = RuntimeError(KEY)
    shown = redactor.error(error)
    assert type(shown) is ProviderError
    assert shown.message == f"refused {GONE}"
    assert str(shown) == f"[provider_error] refused {GONE}"
    assert shown.details == {"header": GONE, "n": 1}
    assert shown.provider_error == {"message": GONE}
    assert shown.context == {"run_id": "r", "password": GONE}
    assert (shown.code, shown.retry_after, shown.retryable) == (error.code, 1.5, error.retryable)
    assert shown.args == (shown.code, shown.message)
    assert shown.__cause__ is None
    assert error.details["header"] == KEY


def test_an_error_without_secrets_is_the_same_one(redactor):
    error = AsmError(ErrorCode.TIMEOUT, "too late", details={"n": 1})
    assert redactor.error(error) is error
