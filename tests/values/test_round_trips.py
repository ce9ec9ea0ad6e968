"""Every value survives its own map, and no bad map raises anything but our errors."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asm_actors.capabilities.capability import Capability, CapabilityType
from asm_actors.capabilities.manifest import Manifest
from asm_actors.capabilities.registry import Registry
from asm_actors.capabilities.resolver import CapabilityResolver, Negotiation, NegotiationStatus
from asm_actors.config import Limits
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event, EventType
from asm_actors.normalization.normalized_event import NormalizedEvent
from asm_actors.normalization.provider_error import ProviderErrorInfo, ProviderErrorKind
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.session import Session, SessionStatus

SETTINGS = settings(max_examples=40, deadline=None, derandomize=True, database=None)

text = st.text(max_size=20)
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=50)
optional_names = st.none() | names
numbers = st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
maps = st.dictionaries(text, values, max_size=3)
times = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)
counts = st.integers(0, (1 << 64) - 1)
places = st.none() | st.integers(1, (1 << 64) - 1)
name_tuples = st.lists(names, max_size=3).map(tuple)
capability_types = st.lists(st.sampled_from(CapabilityType), max_size=4, unique=True).map(tuple)

sessions = st.builds(
    Session,
    id=names,
    agent_id=names,
    status=st.sampled_from(SessionStatus),
    parent_session_id=optional_names,
    metadata=maps,
    context=maps,
    tags=name_tuples,
    created_us=times,
    updated_us=times,
    deleted_us=st.none() | times,
    provider=optional_names,
    idempotency_key=optional_names,
    last_sequence=counts,
)
runs = st.builds(
    Run,
    id=names,
    session_id=names,
    status=st.sampled_from(RunStatus),
    input=values,
    output=st.none() | maps,
    error=st.none() | maps,
    metadata=maps,
    turn_count=counts,
    token_usage=maps,
    cost_usd=st.none() | st.floats(0, 1e12),
    created_us=times,
    started_us=st.none() | times,
    ended_us=st.none() | times,
    provider=optional_names,
    provider_metadata=maps,
    idempotency_key=optional_names,
    attempt=counts,
    options=maps,
)
event_fields = {
    "id": names,
    "type": st.sampled_from(EventType),
    "timestamp_us": times,
    "session_id": names,
    "sequence_number": st.none() | counts,
    "data": maps,
    "metadata": maps,
    "schema_version": st.integers(1, 1 << 40),
    "correlation_id": optional_names,
    "position": places,
}
events = st.builds(Event, run_id=optional_names, provider=optional_names, **event_fields)
normalized_events = st.builds(
    NormalizedEvent,
    run_id=names,
    provider=names,
    parent_event_id=optional_names,
    provider_event_id=optional_names,
    **event_fields,
)
capabilities = st.builds(
    Capability,
    name=names,
    type=st.sampled_from(CapabilityType),
    enabled=st.booleans(),
    description=st.none() | text,
    config=maps,
    permissions=name_tuples,
)
manifests = st.builds(
    Manifest,
    name=names,
    version=names,
    description=st.none() | text,
    provider=optional_names,
    capabilities=st.lists(capabilities, max_size=2, unique_by=lambda one: one.name).map(tuple),
    config=maps,
    metadata=maps,
)
registries = st.builds(
    lambda found, metadata: Registry({one.name: one for one in found}, metadata),
    st.lists(manifests, max_size=2, unique_by=lambda one: one.name),
    maps,
)
resolvers = st.builds(CapabilityResolver.new, capability_types, capability_types)
negotiations = st.builds(
    Negotiation,
    status=st.sampled_from(NegotiationStatus),
    supported=capability_types,
    unsupported=capability_types,
    warnings=st.lists(text, max_size=2).map(tuple),
)
limits = st.builds(
    Limits,
    max_parallel_sessions=places,
    max_parallel_runs=places,
    max_concurrent_runs=st.integers(1, (1 << 64) - 1),
    max_queued_runs=counts,
)
provider_errors = st.builds(
    ProviderErrorInfo,
    provider=names,
    kind=st.sampled_from(ProviderErrorKind),
    message=st.text(min_size=1, max_size=20),
    exit_code=st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
    stderr=st.none() | text,
    truncated=st.sampled_from([True, None]),
)
errors = st.builds(
    AsmError,
    code=st.sampled_from(ErrorCode),
    message=text,
    details=maps,
    provider_error=st.none() | maps,
    context=maps,
    retry_after=st.none() | st.floats(0, 1e9),
    retryable=st.booleans(),
    timestamp=st.none() | st.datetimes(min_value=datetime(1, 1, 2), timezones=st.just(UTC)),  # noqa: DTZ001
)

KINDS = {
    "session": (Session, sessions),
    "run": (Run, runs),
    "event": (Event, events),
    "normalized_event": (NormalizedEvent, normalized_events),
    "capability": (Capability, capabilities),
    "manifest": (Manifest, manifests),
    "registry": (Registry, registries),
    "resolver": (CapabilityResolver, resolvers),
    "negotiation": (Negotiation, negotiations),
    "limits": (Limits, limits),
    "provider_error": (ProviderErrorInfo, provider_errors),
    "error": (AsmError, errors),
}

# What a careless caller, a broken file or an attacker may put into a field.
junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=5)
    | st.binary(max_size=3)
    | st.sampled_from(["", "\ud800", "a\x00b", "x" * 300, 1 << 70, 10**400, object(), "2026-01-01", ["tool"]])
    # An integer that refuses to be printed.
    | st.builds(lambda: 10**5_000),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=3) | st.integers() | st.none(), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@SETTINGS
def test_every_field_survives_the_map(kind, data):
    cls, strategy = KINDS[kind]
    value = data.draw(strategy)
    written = json.dumps(value.to_map(), allow_nan=False)
    read = cls.from_map(json.loads(written))
    assert read == value
    assert type(read) is type(value)
    if attrs.has(cls):
        for field in attrs.fields(cls):
            assert type(getattr(read, field.name)) is type(getattr(value, field.name))
    assert json.dumps(read.to_map(), allow_nan=False) == written


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@SETTINGS
def test_a_map_with_a_bad_field_raises_our_error_or_reads(kind, data):
    cls, strategy = KINDS[kind]
    source = data.draw(strategy).to_map()
    key = data.draw(st.sampled_from(sorted(source)))
    if data.draw(st.booleans()):
        source[key] = data.draw(junk)
    else:
        del source[key]
    try:
        read = cls.from_map(source)
    except AsmError as error:
        json.dumps(error.to_map(), allow_nan=False).encode()
    else:
        json.dumps(read.to_map(), allow_nan=False).encode()


@pytest.mark.parametrize("kind", KINDS)
@given(value=junk)
@SETTINGS
def test_junk_instead_of_a_map_raises_our_error_or_reads(kind, value):
    cls, _ = KINDS[kind]
    try:
        read = cls.from_map(value)
    except AsmError as error:
        json.dumps(error.to_map(), allow_nan=False).encode()
    else:
        json.dumps(read.to_map(), allow_nan=False).encode()


NEW = {
    "session": (
        Session,
        {
            "id",
            "now",
            "agent_id",
            "parent_session_id",
            "metadata",
            "context",
            "tags",
            "provider",
            "idempotency_key",
        },
    ),
    "run": (Run, {"id", "now", "session_id", "input", "metadata", "provider", "idempotency_key", "options"}),
    "event": (
        Event,
        {"id", "now", "type", "session_id", "run_id", "data", "metadata", "provider", "correlation_id"},
    ),
    "capability": (Capability, {"name", "type", "enabled", "description", "config", "permissions"}),
    "manifest": (
        Manifest,
        {"name", "version", "description", "provider", "capabilities", "config", "metadata"},
    ),
    "resolver": (CapabilityResolver, {"required", "optional"}),
}
RIGHT = {
    "id": "x",
    "now": 1,
    "agent_id": "a",
    "session_id": "s",
    "type": "run_started",
    "name": "n",
    "version": "1",
}


@pytest.mark.parametrize("kind", NEW)
@given(data=st.data())
@SETTINGS
def test_bad_arguments_raise_our_error_or_make_a_storable_value(kind, data):
    cls, arguments = NEW[kind]
    given_ = {name: value for name, value in RIGHT.items() if name in arguments}
    if kind == "capability":
        given_["type"] = "tool"
    given_[data.draw(st.sampled_from(sorted(arguments)))] = data.draw(junk)
    try:
        made = cls.new(**given_)
    except AsmError as error:
        json.dumps(error.to_map(), allow_nan=False).encode()
    else:
        assert cls.from_map(json.loads(json.dumps(made.to_map(), allow_nan=False))) == made
