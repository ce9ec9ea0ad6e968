"""`Redactor`: takes secrets out of texts, and of values made of texts. Pure.

What holds no secret is returned as the very object it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.redaction.finder import Finder
from asm_actors.redaction.rule import Rule
from asm_actors.redaction.settings import CATEGORIZED, Redaction

__all__ = ["Redactor"]

_MAX_KEYS: Final = 4096
"""Keys of maps, and short texts, for which is remembered that they hold no secret."""
_SHORT: Final = 16
"""Characters of a short text."""
_LEAST_VALUE: Final = 4


class Redactor(Finder):
    """Takes secrets out of texts and values. Any thread may use it.

    Args:
        redaction: What is redacted, and how; by default everything that a `Redaction` does by default.
        known: Further texts that are secrets wherever they stand.
    """

    def __init__(self, redaction: Redaction | None = None, known: Iterable[str] = ()) -> None:
        self.redaction = redaction = redaction or Redaction()
        super().__init__(redaction, known)
        self._too_deep = "[REDACTED]" if redaction.replacement == CATEGORIZED else redaction.replacement
        self._deep, self._max_depth = redaction.deep_scan, redaction.max_depth
        # Keys that hold no secret, with the rules by which they name one; short texts that hold none. Most of them come
        # again and again.
        self._keys: dict[str, tuple[Rule, ...]] = {}
        self._plain_keys: set[str] = set()
        self._short: set[str] = set()
        # The newest longer text that holds none: what is streamed is a message, and then the output of its run.
        self.newest = ""

    # --- Values ------------------------------------------------------------------------------------------------

    def map(self, value: dict[str, Any]) -> dict[str, Any]:
        """Return a map without its secrets: texts, keys, and texts under keys that name a secret."""
        if self.is_clean(value):
            return value
        return self._map(value, 1) if self._deep else self._shallow(value)

    def value(self, value: Any) -> Any:
        """Return a value without its secrets: a text, bytes, or maps and lists of such."""
        return self.map(value) if type(value) is dict else self._value(value, 0)

    def is_clean(self, value: dict[Any, Any]) -> bool:
        """Whether a map certainly holds no secret: nearly every one, so this does little more than look."""
        keys, short = self._plain_keys, self._short
        for key, item in value.items():
            if key not in keys:  # it was not seen yet, or names a secret
                return False
            kind = type(item)
            if kind is str:
                if item in short or item == self.newest:
                    continue
                if self.suspect(item) is not None:
                    return False
                if len(item) > _SHORT:
                    self.newest = item
                elif len(short) < _MAX_KEYS:
                    short.add(item)
            elif kind is dict:
                if not self._is_flat(item):
                    return False
            elif kind is not int and item is not None and kind is not bool and kind is not float and item:
                return False
        return True

    def _is_flat(self, value: dict[Any, Any]) -> bool:
        """Whether a map holds numbers only, such as counts of tokens."""
        keys = self._plain_keys
        for key, item in value.items():  # noqa: SIM110 - a generator costs as much as all the rest
            if key not in keys or type(item) is not int:
                return False
        return True

    def _value(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return self.text(value)
        if kind is int or value is None or kind is bool or kind is float:
            return value
        if isinstance(value, dict | list | tuple):
            if depth >= self._max_depth:
                return self._whole(value)
            return self._map(value, depth + 1) if isinstance(value, dict) else self._list(value, depth + 1)
        return self._leaf(value)

    def _leaf(self, value: Any) -> Any:
        if isinstance(value, str):
            text = str.__str__(value)
            found = self.text(text)
            return value if found is text else found
        if isinstance(value, bytes | bytearray):
            text = bytes(value).decode("latin-1")
            found = self.text(text)
            return value if found is text else found.encode("latin-1", "replace")
        return value  # a number, or what cannot be stored as it is (see `sessions.mending`)

    def _map(self, value: dict[Any, Any], depth: int) -> dict[Any, Any]:
        changed: dict[Any, Any] | None = None
        for key, item in value.items():
            kind = type(item)
            if kind is int or item is None:
                continue
            rules = self._rules_of(key)
            found = self._value(item, depth) if not rules else self._secret(rules, item, depth)
            if found is not item:
                if changed is None:
                    changed = dict(value)
                changed[key] = found
        return self._keyed(value if changed is None else changed)

    def _keyed(self, value: dict[Any, Any]) -> dict[Any, Any]:
        """Redact the keys of a map; it hardly ever changes."""
        for key in value:
            if key not in self._keys:
                self._learn(key)
                if key not in self._keys and isinstance(key, str):
                    break
        else:
            return value
        result: dict[Any, Any] = {}
        for key, item in value.items():
            name = self.text(str(key)) if isinstance(key, str) else key
            # Two keys that look the same now are still two.
            unique, number = name, 1
            while unique in result:
                number += 1
                unique = f"{name} ({number})"
            result[unique] = item
        return result

    def _list(self, value: Any, depth: int) -> Any:
        made = [self._value(item, depth) for item in value]
        return value if all(map(_same, made, value)) else made

    def _shallow(self, value: dict[str, Any]) -> dict[str, Any]:
        plain = {key: item for key, item in value.items() if not isinstance(item, dict | list | tuple)}
        found = self._map(plain, 1)
        return value if found is plain else {**value, **found}

    def _rules_of(self, key: Any) -> tuple[Rule, ...]:
        """What says that what is under this key is a secret."""
        rules = self._keys.get(key)
        return self._learn(key) if rules is None else rules

    def _more(self, rules: tuple[Rule, ...], key: Any) -> tuple[Rule, ...]:
        """These rules, and those of a key below."""
        own = self._rules_of(key)
        return tuple(dict.fromkeys((*rules, *own))) if own else rules

    def _secret(self, rules: tuple[Rule, ...], value: Any, depth: int) -> Any:
        """What is under a key that names a secret: its texts go, however deep they lie."""
        if isinstance(value, str):
            rule = _named(rules, value)
            return self._value(value, depth) if rule is None else rule.replacement
        if isinstance(value, dict | list | tuple):
            if depth >= self._max_depth:
                return self._whole(value, rules)
            if isinstance(value, dict):
                made = {
                    key: self._secret(self._more(rules, key), item, depth + 1) for key, item in value.items()
                }
                return self._keyed(value if all(map(_same, made.values(), value.values())) else made)
            items = [self._secret(rules, item, depth + 1) for item in value]
            return value if all(map(_same, items, value)) else items
        return self._value(value, depth)

    def _learn(self, key: Any) -> tuple[Rule, ...]:
        if not isinstance(key, str):
            return ()
        low = key.lower()
        rules = tuple(rule for rule in self._rules if rule.keys is not None and rule.keys.fullmatch(low))
        if self.text(str(key)) == key:
            if len(self._keys) >= _MAX_KEYS:
                self._keys.clear()
                self._plain_keys.clear()
            self._keys[key] = rules
            if not rules:
                self._plain_keys.add(key)
        return rules

    def _whole(self, value: Any, above: tuple[Rule, ...] = ()) -> Any:
        """A value that lies too deep to be changed in its place: it stays, or goes as a whole.

        Args:
            value: The value.
            above: What says that all texts in it are secrets.
        """
        # It may hold itself; then it cannot be stored, which is not for us to say.
        seen: set[tuple[int, tuple[Rule, ...]]] = set()
        waiting: list[tuple[Any, Any, tuple[Rule, ...]]] = [(None, value, above)]
        while waiting:
            key, item, rules = waiting.pop()
            if key is not None:
                if self._value(key, 0) is not key:
                    return self._too_deep
                rules = self._more(rules, key)
            if isinstance(item, dict | list | tuple):
                if (id(item), rules) not in seen:
                    seen.add((id(item), rules))
                    inside = item.items() if isinstance(item, dict) else ((None, one) for one in item)
                    waiting += ((name, one, rules) for name, one in inside)
                continue
            rule = _named(rules, item) if isinstance(item, str) else None
            if rule is not None:
                return rule.replacement
            if self._value(item, 0) is not item:
                return self._too_deep
        return value

    # --- Names -------------------------------------------------------------------------------------------------

    def check_name(self, value: str, field: str) -> None:
        """Refuse a secret where a name is to be: names are stored as they are, since they are what things are found by.

        Raises:
            ValidationError: It holds a secret. The error does not show it.
        """
        if value in self._short:
            return
        if self.suspect(value) is None:
            if len(value) <= _SHORT and len(self._short) < _MAX_KEYS:
                self._short.add(value)
            return
        found = self.spans(value)
        if found:
            raise AsmError(
                ErrorCode.VALIDATION_ERROR,
                f"{field} looks like a secret ({found[0].rule.name}), and is stored as it is given: choose another",
                details={"field": field},
            )

    def check_names(self, **names: str | Iterable[str] | None) -> None:
        """Refuse secrets in names, told by their fields: each is one name, or several, or none; see `check_name`.

        Raises:
            ValidationError: One holds a secret. The error does not show it.
        """
        for field, value in names.items():
            if isinstance(value, str):
                self.check_name(value, field)
            elif value is not None:
                for one in value:
                    self.check_name(one, field)

    def error(self, error: AsmError) -> AsmError:
        """Return an error whose texts hold no secrets: the same one if they never did."""
        message = self.text(error.message) if type(error.message) is str else self._leaf(error.message)
        details, context = self.map(error.details), self.map(error.context)
        said = None if error.provider_error is None else self.map(error.provider_error)
        if (
            message is error.message
            and details is error.details
            and context is error.context
            and said is error.provider_error
        ):
            return error
        # Not with its constructor, which a subclass may have changed. What caused it is in the log, if anywhere.
        copy = Exception.__new__(type(error), error.code, message)
        copy.__dict__.update(
            error.__dict__, message=message, details=details, context=context, provider_error=said
        )
        return copy


def _named(rules: tuple[Rule, ...], text: str) -> Rule | None:
    """Of the rules by which a key names a secret, the one for which the text under it is one."""
    if len(text) >= _LEAST_VALUE:
        low = text.lower()
        for rule in rules:
            if rule.values is None or rule.values.match(low):
                return rule
    return None


def _same(one: Any, other: Any) -> bool:
    return one is other
