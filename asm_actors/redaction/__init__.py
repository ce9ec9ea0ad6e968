"""Secrets are taken out of everything before the journal sees it. Pure; the rules are told in `redaction.settings`."""
