"""The names of attributes and metrics: those of OpenTelemetry's conventions for generative AI, and our own. Pure.

They stand here and nowhere else, so that a change of the conventions changes one file. What is of no convention begins
with ``asm.``.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "AGENT_ID",
    "ATTEMPT",
    "CACHE_CREATION_TOKENS",
    "CACHE_READ_TOKENS",
    "CONVERSATION_ID",
    "CORRELATION_ID",
    "COST_USD",
    "DECISION",
    "ERROR_TYPE",
    "FINISH_REASONS",
    "INPUT_TOKENS",
    "KIND",
    "M_APPROVALS",
    "M_APPROVAL_WAIT",
    "M_ERRORS",
    "M_OPERATION_DURATION",
    "M_POLICY_VIOLATIONS",
    "M_RECOVERIES",
    "M_RUNS",
    "M_RUN_COST",
    "M_RUN_DURATION",
    "M_SESSIONS",
    "M_SESSION_DURATION",
    "M_TOKEN_USAGE",
    "M_TOOL_CALLS",
    "M_TOOL_DURATION",
    "OPERATION",
    "OP_AGENT",
    "OP_CHAT",
    "OP_TOOL",
    "OUTPUT_TOKENS",
    "PARENT_SESSION_ID",
    "PROVIDER",
    "REQUEST_MODEL",
    "RESPONSE_MODEL",
    "RUN_ID",
    "STATUS",
    "TOKEN_TYPE",
    "TOOL_CALL_ID",
    "TOOL_NAME",
    "TOOL_TYPE",
    "TURN",
    "TURNS",
]

# Of the conventions.
OPERATION: Final = "gen_ai.operation.name"
OP_AGENT: Final = "invoke_agent"
OP_CHAT: Final = "chat"
OP_TOOL: Final = "execute_tool"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
AGENT_ID: Final = "gen_ai.agent.id"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_CREATION_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - a token of text, not a secret
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
TOOL_TYPE: Final = "gen_ai.tool.type"
ERROR_TYPE: Final = "error.type"
M_TOKEN_USAGE: Final = "gen_ai.client.token.usage"  # noqa: S105 - as above
M_OPERATION_DURATION: Final = "gen_ai.client.operation.duration"

# Our own.
RUN_ID: Final = "asm.run.id"
STATUS: Final = "asm.status"
TURN: Final = "asm.turn"
TURNS: Final = "asm.run.turns"
ATTEMPT: Final = "asm.attempt"
COST_USD: Final = "asm.cost_usd"
PARENT_SESSION_ID: Final = "asm.parent_session.id"
CORRELATION_ID: Final = "asm.correlation_id"
KIND: Final = "asm.kind"
DECISION: Final = "asm.decision"
M_SESSIONS: Final = "asm.sessions"
M_SESSION_DURATION: Final = "asm.session.duration"
M_RUNS: Final = "asm.runs"
M_RUN_DURATION: Final = "asm.run.duration"
M_RUN_COST: Final = "asm.run.cost"
M_RECOVERIES: Final = "asm.run.recoveries"
M_TOOL_CALLS: Final = "asm.tool.calls"
M_TOOL_DURATION: Final = "asm.tool.duration"
M_ERRORS: Final = "asm.errors"
M_POLICY_VIOLATIONS: Final = "asm.policy.violations"
M_APPROVALS: Final = "asm.approvals"
M_APPROVAL_WAIT: Final = "asm.approval.wait"
