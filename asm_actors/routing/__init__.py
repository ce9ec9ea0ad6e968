"""Routing: a provider that chooses among other providers. The rules are pure; `routing.router` acts them out."""
