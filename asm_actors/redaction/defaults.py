"""The patterns that are searched for unless others are asked for. Pure; what a pattern is: `redaction.pattern`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from asm_actors.redaction.pattern import EDGE, Pattern, assignment, token

__all__ = ["DEFAULT_PATTERNS"]

_WORD: Final = "[A-Za-z0-9_-]"
_ALNUM: Final = "[A-Za-z0-9]"
_SK: Final = (r"\-(?<=sk-)",)
_GH: Final = ("_(?<=gh[oprsu]_)",)
_CLOUD: Final = ("A(?:KIA|SIA)",)
_URL_PART: Final = r"[^\s\"'<>`/]"
# In what a database is reached by, a password may hold slashes; what follows a port, or a query, is none.
_DSN_PART: Final = r"(?:(?!(?<=:)\d{1,5}/)[^\s\"'<>`?])"
_SCHEMES: Final = (
    "postgres(?:ql)?|mysql|mariadb|rediss?|mongodb|amqps?|mssql|sqlserver|clickhouse|cockroachdb"
)


def _tokens() -> tuple[Pattern, ...]:
    return (
        token("aws_access_key", ("AKIA", "ASIA"), "[0-9A-Z]", 16, pivots=_CLOUD),
        token("gcp_api_key", ("AIza",), _WORD, 35, pivots=("A(?:Iza)",)),
        token("anthropic_key", ("sk-ant-",), _WORD, 20, pivots=_SK),
        token("openai_key", ("sk-proj-", "sk-svcacct-", "sk-admin-", "sk-or-v1-"), _WORD, 20, pivots=_SK),
        token("openai_legacy_key", ("sk-",), _ALNUM, 32, pivots=_SK, whole_word=True),
        token("github_pat", ("ghp_",), _ALNUM, 36, pivots=_GH),
        token("github_oauth", ("gho_", "ghu_"), _ALNUM, 36, pivots=_GH),
        token("github_app", ("ghs_",), _ALNUM, 36, pivots=_GH),
        token("github_refresh", ("ghr_",), _ALNUM, 36, pivots=_GH),
        token("github_fine_pat", ("github_pat_",), "[A-Za-z0-9_]", 22, pivots=("_(?<=github_)",)),
        token("gitlab_token", ("glpat-",), _WORD, 20, pivots=(r"\-(?<=glpat-)",)),
        token("amp_key", ("sgamp_",), _WORD, 20, pivots=("_(?<=sgamp_)",)),
        token("huggingface_token", ("hf_",), _ALNUM, 30, pivots=("_(?<=hf_)",), whole_word=True),
        token("slack_token", ("xoxa-", "xoxb-", "xoxe-", "xoxe.", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xapp-"),
              "[A-Za-z0-9.-]", 16, pivots=("x(?:ox|app)",)),
        token("stripe_key", ("sk_live_", "sk_test_", "rk_live_", "rk_test_"), _ALNUM, 16,
              pivots=("_(?<=[rs]k_)",)),
        token("google_oauth", ("ya29.",), _WORD, 20, pivots=("2(?<=ya2)",), whole_word=True),
        token("google_client_secret", ("GOCSPX-",), _WORD, 20, pivots=(r"\-(?<=GOCSPX-)",)),
        _jwt(),
        _bearer(),
    )  # fmt: skip


def _jwt() -> Pattern:
    """Dotted parts of base64: a header, and either a payload or a second and a third part of anything."""
    part, run = r"[A-Za-z0-9_-]", r"[A-Za-z0-9_.-]"
    second = rf"(?:eyJ{part}{{8,}}|{part}{{4,480}}\.{part}{{4,}})"
    return Pattern(
        "jwt_token",
        "jwt_token",
        rf"{EDGE}eyJ{part}{{8,480}}\.{second}(?:\.{part}+){{0,4}}",
        triggers=("eyj",),
        opening=rf"{EDGE}(?P<held>eyJ{run}*)",
        rest=f"{run}*",
        pivots=("J(?<=eyJ)",),
        heads=("eyJ",),
    )


def _bearer() -> Pattern:
    body = "[a-z0-9._~+/=-]"
    return Pattern(
        "bearer_token",
        "bearer_token",
        rf"bearer\s{{1,8}}(?P<secret>{body}{{20,}})",
        triggers=("bear",),
        opening=rf"bear(?:e(?:r(?:\s{{0,8}}(?P<held>{body}{{0,19}}))?)?)?",
        rest=f"{body}*",
        folded=True,
        pivots=("b(?:ear)", "B(?:ear|EAR)"),
        heads=(),
    )


def _url(name: str, schemes: str, triggers: Sequence[str], part: str) -> Pattern:
    """A password in a URL. Up to the last ``@``: whoever has one in the password did not always escape it."""
    prefix = rf"{schemes}://[^\s:/@\"'<>]{{0,128}}:"
    return Pattern(
        name,
        name,
        rf"{prefix}(?P<secret>{part}{{1,256}}(?=@))",
        triggers=triggers,
        opening=rf"{prefix}(?P<held>{part}{{0,256}})",
        folded=True,
        pivots=(":",),
        heads=(),
    )


def _private_key() -> Pattern:
    """What stands between the lines of a PEM block, if its beginning looks like key material; or what is left of it."""
    prefix = r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    body = r"[A-Za-z0-9+/=\s\\:,.()-]"
    return Pattern(
        "private_key",
        "private_key",
        rf"{prefix}(?=[\s\S]{{0,160}}?[A-Za-z0-9+/=]{{24}})(?P<secret>(?:(?!-----END){body})+)",
        triggers=("private key",),
        opening=rf"-----BEGIN [A-Z0-9 ]{{0,40}}PRIVATE KEY(?: BLOCK)?(?:-{{0,4}}|-----(?P<held>{body}{{0,184}}))",
        rest=rf"(?:(?!-----END){body})*",
        pivots=(r"\-(?<=KEY-)", r"\-(?<=BLOCK-)"),
        heads=(),
    )


def _forms(*words: str) -> tuple[str, ...]:
    """Ways to write several words as one name, in lower case."""
    return tuple(word.replace(" ", between) for word in words for between in ("_", "-", ""))


def _assignments() -> tuple[Pattern, ...]:
    no_path = r"pwd(?![\"'`\s:=>\\]{1,12}(?:[/~.]|[a-z]:\\))"
    return (
        assignment(
            "aws_secret_key",
            r"(?:aws[_-]?)?secret[_-]?access[_-]?key|aws[_-]?secret[_-]?key",
            16,
            triggers=("secret",),
        ),
        assignment(
            "password",
            rf"password|passwd|passphrase|{no_path}",
            4,
            triggers=("password", "passwd", "passphrase", "pwd"),
        ),
        assignment(
            "api_key_generic", r"api[_-]?key|api[_-]?secret", 8, triggers=_forms("api key", "api secret")
        ),
        assignment(
            "secret_key",
            r"(?<!aws)(?<!aws[_-])secret[_-]?key|(?:client|app|signing|webhook|shared)[_-]?secret",
            8,
            triggers=("secret",),
        ),
        assignment("access_token", r"access[_-]?token", 8, triggers=_forms("access token")),
        assignment(
            "auth_token",
            r"(?:auth|refresh|session|bot|id)[_-]?token",
            8,
            triggers=_forms("auth token", "refresh token", "session token", "bot token", "id token"),
        ),
        assignment(
            "authorization",
            "authorization",
            8,
            triggers=("authorization",),
            before=r"(?:(?:basic|token|apikey|digest)\s{1,4})",
        ),
        assignment(
            "env_secret",
            "database_url|redis_url|secret_key_base|encryption_key|private_key",
            8,
            triggers=("database_url", "redis_url", "secret_key_base", "encryption_key", "private_key"),
        ),
    )


DEFAULT_PATTERNS: Final[tuple[Pattern, ...]] = (
    *_tokens(),
    *_assignments(),
    _url(
        "connection_string", f"(?:{_SCHEMES})(?:\\+[a-z0-9]{{1,16}})?",
        ("postgres", "mysql", "mariadb", "redis", "mongodb", "amqp", "mssql", "sqlserver", "clickhouse", "cockroachdb"),
        _DSN_PART,
    ),
    _url("url_password", "", ("://",), _URL_PART),
    _private_key(),
)  # fmt: skip
"""What secrets look like: keys and tokens that show themselves by their beginning, values that are assigned to a name
which says what they are, passwords in URLs, private keys."""
