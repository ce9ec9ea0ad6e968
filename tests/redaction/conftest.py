"""Secrets that nobody ever issued, each with the part of it that must not be seen, and texts to put them into."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from asm_actors.redaction.redactor import Redactor

_W = "q7Zx2Lv9Bn4Mk1Jh8Gf3Ds6Aw5Er0Ty_Ui-Op"
_A = "q7Zx2Lv9Bn4Mk1Jh8Gf3Ds6Aw5Er0TyUiOpZxCvBnMq1w2e3r4t5"
_JWT = (
    "ey" + "JhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
    "ey" + "JzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6Ikpsb",
    "q7Zx2Lv9Bn4Mk1Jh8Gf3Ds6Aw5Er0Ty-_Ui",
)
_PEM = "MIIEowIBAAKCAQEA0Z3VS5JJcds3xfn\nygWyF8PbnGy0AHB7MaCq7Zx2Lv9Bn4Mk1Jh8Gf3Ds6Aw5Er0TyUiOp==\n"


class Secret(NamedTuple):
    """A secret as it stands in a text."""

    name: str
    text: str
    """With what stands around it."""
    hidden: str
    """What of it must not be seen."""
    shown: str
    """What the redacted text looks like."""


def _whole(name, text):
    return Secret(name, text, text, "[REDACTED]")


def _value(name, text, hidden):
    return Secret(name, text, hidden, text.replace(hidden, "[REDACTED]"))


SECRETS = [
    _whole("aws_access_key", "AK" + "IAQ7ZX2LV9BN4MK1JH"),
    _whole("aws_access_key", "AS" + "IAQ7ZX2LV9BN4MK1JH"),
    _whole("gcp_api_key", "AI" + "za" + _W[:35]),
    _whole("anthropic_key", "sk-" + "ant-api03-" + _W),
    _whole("openai_key", "sk-" + "proj-" + _W),
    _whole("openai_key", "sk-" + "or-v1-" + _A),
    _whole("openai_legacy_key", "sk-" + _A[:48]),
    _whole("github_pat", "gh" + "p_" + _A[:36]),
    _whole("github_oauth", "gh" + "o_" + _A[:36]),
    _whole("github_oauth", "gh" + "u_" + _A[:36]),
    _whole("github_app", "gh" + "s_" + _A[:36]),
    _whole("github_refresh", "gh" + "r_" + _A[:36]),
    _whole("github_fine_pat", "github" + "_pat_" + _A[:22] + "_" + _A[:40]),
    _whole("gitlab_token", "gl" + "pat-" + _W[:20]),
    _whole("amp_key", "sg" + "amp_user_01" + _A[:40]),
    _whole("huggingface_token", "h" + "f_" + _A[:34]),
    _whole("slack_token", "xo" + "xb-123456789012-" + _A[:24]),
    _whole("stripe_key", "sk" + "_live_" + _A[:24]),
    _whole("stripe_key", "rk" + "_test_" + _A[:24]),
    _whole("google_oauth", "ya" + "29." + _W),
    _whole("google_client_secret", "GOC" + "SPX-" + _W[:28]),
    _whole("jwt_token", ".".join(_JWT)),
    _whole("jwt_token", ".".join((_JWT[0], "q7Zx2Lv9Bn4Mk1Jh8G", "q7Zx2Lv9", "Bn4Mk1Jh8Gf3Ds6Aw5", "Er0Ty"))),
    _value("bearer_token", f"Bearer {_W}", _W),
    _value("bearer_token", f"authorization: bearer  {_A}", _A),
    _value("authorization", f"Authorization: Basic {_A}", _A),
    _value("aws_secret_key", f"aws_secret_access_key = {_A[:40]}", _A[:40]),
    _value("aws_secret_key", f'AWS_SECRET_ACCESS_KEY="{_A[:40]}"', _A[:40]),
    _value("password", "password=hunter2hunter2", "hunter2hunter2"),
    _value("password", "DB_PASSWORD: 'correct horse battery staple'", "correct horse battery staple"),
    _value("password", '{"passwd": "hunter2hunter2"}', "hunter2hunter2"),
    _value("password", r"{\"password\": \"hunter2 hunter2\"}", "hunter2 hunter2"),
    _value("password", "config['password'] = 'hunter2hunter2'", "hunter2hunter2"),
    _value("password", "pwd := hunter2hunter2", "hunter2hunter2"),
    _value("password", r'password="hunter2\"hunter2 hunter2"', r"hunter2\"hunter2 hunter2"),
    _value("password", r"it\'s {\'password\': \'hunter2\\\'hunter2\'}", r"hunter2\\\'hunter2"),
    _value("password", "password:\n  hunter2hunter2", "hunter2hunter2"),
    _value("password", r"'password:\n  hunter2hunter2'", "hunter2hunter2"),
    _value("password", r"'password:\\n\\thunter2hunter2'", "hunter2hunter2"),
    _value("password", '"password": ["hunter2hunter2"]', "hunter2hunter2"),
    _value("api_key_generic", f'apikey:api_key="{_A[:20]}"', f'api_key="{_A[:20]}'),
    _value("api_key_generic", f"api_key={_A[:20]}", _A[:20]),
    _value("api_key_generic", f"x-api-key: {_A[:20]}", _A[:20]),
    _value("api_key_generic", f'"apiKey": "{_A[:20]}"', _A[:20]),
    _value("secret_key", f"SECRET_KEY => {_A[:20]}", _A[:20]),
    _value("secret_key", f"client_secret={_A[:20]}", _A[:20]),
    _value("access_token", f"access_token={_A[:20]}", _A[:20]),
    _value("auth_token", f"auth-token: {_A[:20]}", _A[:20]),
    _value("auth_token", f'"refresh_token": "{_A[:20]}"', _A[:20]),
    _value("env_secret", f"ENCRYPTION_KEY={_A[:20]}", _A[:20]),
    _value("env_secret", f"SECRET_KEY_BASE={_A[:40]}", _A[:40]),
    _value("connection_string", "postgres://app:hunter2hunter2@db:5432/app", "hunter2hunter2"),
    _value("connection_string", "postgres://app:p@ss/w0rd123@db/app", "p@ss/w0rd123"),
    _value("connection_string", "mongodb+srv://app:hunter2@hunter2@db/app", "hunter2@hunter2"),
    _value("url_password", "https://x-token:hunter2hunter2@git.example.com/a.git", "hunter2hunter2"),
    _value(
        "private_key", f"-----BEGIN RSA PRIVATE KEY-----\n{_PEM}-----END RSA PRIVATE KEY-----", f"\n{_PEM}"
    ),
    _value("private_key", f'"-----BEGIN PRIVATE KEY-----\n{_PEM}"', f"\n{_PEM}"),
]
NAMES = [f"{number:02d}-{secret.name}" for number, secret in enumerate(SECRETS)]

# They look like one and are none.
NEAR_MISSES = [
    ("AK" + "IAQ7ZX2LV9BN4MK", "three characters short"),
    ("AI" + "zaTooShort", "too short"),
    ("task-q7Zx2Lv9Bn4Mk1Jh8Gf3Ds6Aw5Er0TyUiOpZx", "a word that ends in sk"),
    ("sk-learn and sk-image", "names of packages"),
    ("sk-" + "ant-", "only the head"),
    ("a risk-free, desk-bound task-force", "prose"),
    ("gh" + "p_short", "too short"),
    ("ghost_writer and laughs_loudly", "prose"),
    ("half_of_what_I_say_is_meaningless_but_I_say_it", "a name"),
    ("xoxo, see you", "prose"),
    ("ey" + "JhbGciOiJIUzI1NiJ9", "one part of three"),
    ("keyJ.abc.def", "a word"),
    ("the bearer of bad news", "prose"),
    ("Bearer token", "too short"),
    ("password: str", "a type"),
    ('"password": "required"', "a rule"),
    ("password=${DB_PASSWORD}", "a reference"),
    ("password = os.environ['DB_PASSWORD']", "a reference"),
    ("api_key=$API_KEY", "a reference"),
    ("password: ***", "hidden already"),
    ("api_key=[REDACTED]", "hidden already"),
    ("PWD=/home/app", "a directory"),
    ("pwd: ~/app", "a directory"),
    ("the passwords: none of them", "the plural"),
    ("input_tokens: 12345678, output_tokens=87654321", "counts of tokens"),
    ("max_tokens=100000", "a count"),
    ("primary_key=customer_id", "no secret"),
    ("redis://localhost:6379/0", "no user"),
    ("postgres://localhost:5432/app@host", "a port"),
    ("http://example.com:8080/a@b", "a port"),
    ("https://git@github.com/a/b.git", "no password"),
    ("-----BEGIN PUBLIC KEY-----", "public"),
    ("starts with `-----BEGIN PRIVATE KEY-----` and goes on", "prose"),
    ("12:30:45 and x = y == z", "signs"),
]


@pytest.fixture(scope="session")
def redactor():
    """All defaults, nothing from the environment."""
    return Redactor()


@pytest.fixture(params=SECRETS, ids=NAMES)
def secret(request):
    """Each secret."""
    return request.param
