"""Text to checked expressions and orders, by recursive descent: one method per rule of the grammar.

Every refusal says at which column, what was expected there, and the nearest name that there is.
"""

import math
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Final

from pinnace_api.filters.expression import (
    Aggregate,
    And,
    Condition,
    Expression,
    Family,
    Field,
    Not,
    Operator,
    Or,
    Term,
    Value,
)
from pinnace_api.filters.tokens import Kind, Token, tokens, wrong
from pinnace_api.filters.vocabulary import Attribute, Type, Vocabulary, id_of, time_of
from pinnace_api.refusals import Invalid
from pinnace_api.values import utc

MAX_DEPTH: Final = 32
MAX_CONDITIONS: Final = 64
MAX_VALUES: Final = 256
MAX_TERMS: Final = 3
#: How many steps lead into a parameter's value.
MAX_STEPS: Final = 8

_COMPARISONS: Final = {operator.value: operator for operator in Operator if operator.value[0] in "=!<>~"}
_SAMENESS: Final = frozenset({Operator.EQUAL, Operator.UNEQUAL, Operator.IN, Operator.NOT_IN})
_SEARCHES: Final = frozenset({Operator.CONTAINS, Operator.LACKS})
_KEYWORDS: Final = frozenset({"and", "or", "not", "in", "is", "null"})
_SPECIAL_NUMBERS: Final = frozenset({"nan", "infinity", "-infinity"})


def parse_filter(text: str, vocabulary: Vocabulary, *, me: str = "", field: str = "filter") -> Expression:
    """The expression that `text` is. `me` is who asks; `field`, how a refusal calls it. Raises Invalid."""
    return _Parser(text, vocabulary, me, field).filter()


def parse_order(text: str, vocabulary: Vocabulary, *, field: str = "order_by") -> tuple[Term, ...]:
    """The terms of `name desc, params.lr`, none of an empty text. Raises Invalid."""
    return _Parser(text, vocabulary, "", field).order()


class _Parser:
    def __init__(self, text: str, vocabulary: Vocabulary, me: str, field: str) -> None:
        self._tokens = tokens(text, field)
        self._vocabulary = vocabulary
        self._me = me
        self._name = field
        self._at = 0
        self._depth = 0
        self._conditions = 0

    # --- rules

    def filter(self) -> Expression:
        expression = self._any_of()
        if not self._ends:
            raise self._wrong(self._next, f"expected `and`, `or` or the end, found {self._next}")
        return expression

    def order(self) -> tuple[Term, ...]:
        if self._ends:
            return ()
        terms = [self._term()]
        while self._takes_symbol(","):
            token = self._next
            terms.append(self._term())
            if len(terms) > MAX_TERMS:
                raise self._wrong(token, f"a list is sorted by {MAX_TERMS} fields at most")
        if not self._ends:
            raise self._wrong(self._next, f"expected `asc`, `desc`, a comma or the end, found {self._next}")
        return tuple(terms)

    def _any_of(self) -> Expression:
        parts = [self._all_of()]
        while self._takes_word("or"):
            parts.append(self._all_of())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _all_of(self) -> Expression:
        parts = [self._one()]
        while self._takes_word("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _one(self) -> Expression:
        token = self._next
        if self._takes_word("not"):
            self._deeper(token)
            negated = Not(self._one())
            self._depth -= 1
            return negated
        if self._takes_symbol("("):
            self._deeper(token)
            inner = self._any_of()
            self._expect_symbol(")", f"to close the one of column {token.column}")
            self._depth -= 1
            return inner
        return self._condition()

    def _condition(self) -> Condition:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise self._wrong(self._next, f"a filter has {MAX_CONDITIONS} conditions at most")
        field, attribute = self._field()
        token = self._next
        operator = self._operator()
        match operator:
            case Operator.IS_NULL | Operator.IS_NOT_NULL:
                return Condition(field, operator)
            case Operator.IN | Operator.NOT_IN:
                return Condition(field, operator, self._values(field, attribute, operator))
            case _:
                self._check_operator(token, field, attribute, operator)
                return Condition(field, operator, (self._value(field, attribute, operator),))

    def _term(self) -> Term:
        token = self._next
        field, attribute = self._field()
        if attribute is not None and not attribute.sortable:
            raise self._wrong(token, f"lists are not sorted by {token.text!r}")
        if field.aggregate is Aggregate.ANY:
            raise self._wrong(token, "a list is sorted by `last`, `min` or `max` of a metric, `any` is many values")
        descending = self._takes_word("desc")
        if not descending:
            self._takes_word("asc")
        return Term(field, descending)

    # --- fields

    def _field(self) -> tuple[Field, Attribute | None]:
        token = self._take()
        if token.kind is not Kind.WORD or token.text.lower() in _KEYWORDS:
            raise self._wrong(token, f"expected a name, found {token}", self._names())
        if attribute := self._vocabulary.attributes.get(token.text):
            if self._next.text == "." and self._next.kind is Kind.SYMBOL:
                raise self._wrong(self._next, f"{token.text!r} has nothing inside")
            return Field(Family.ATTRIBUTE, (token.text,)), attribute
        family = next((each for each in self._vocabulary.families if each.value == token.text), None)
        if family is None:
            near = _nearest(token.text, self._vocabulary.names)
            raise self._wrong(token, f"{self._vocabulary.of} have no {token.text!r}", near or self._names())
        return self._inside(family, token), None

    def _inside(self, family: Family, begin: Token) -> Field:
        steps: list[Token] = []
        while self._takes_symbol("."):
            step = self._take()
            if step.kind not in (Kind.WORD, Kind.QUOTED) and not step.text.isdecimal():
                raise self._wrong(step, f"expected a key, found {step}", 'odd keys go in quotes: params."a key"')
            steps.append(step)
        path = tuple(step.text for step in steps)
        if not path:
            raise self._wrong(self._next, f"expected a dot and a key after {begin.text!r}", f"{family}.KEY")
        match family:
            case Family.METRIC:
                return self._metric(steps)
            case Family.TAG if len(path) > 1:
                raise self._wrong(steps[1], "a tag has one key", f"a key with dots goes in quotes: {_quoted(path)}")
            case Family.PARAMETER if len(path) > MAX_STEPS:
                raise self._wrong(steps[MAX_STEPS], f"a parameter is looked into {MAX_STEPS} steps at most")
        return Field(family, path)

    def _metric(self, steps: list[Token]) -> Field:
        *keys, last = steps
        names = [aggregate.value for aggregate in Aggregate]
        path = tuple(step.text for step in keys)
        if last.kind is not Kind.WORD or last.text not in names or not keys:
            which = " or ".join((", ".join(f"`{name}`" for name in names[:-1]), f"`{names[-1]}`"))
            near = _nearest(last.text, names) if keys else ""
            key = steps[0].text if keys else last.text
            hint = near or f"metrics.{_key(key)}.last is the value at the highest step"
            raise self._wrong(last, f"a metric ends in {which}", hint)
        if len(path) > 1:
            hint = f"a key with dots goes in quotes: metrics.{_quoted(path)}.{last.text}"
            raise self._wrong(steps[1], "a metric has one key", hint)
        return Field(Family.METRIC, path, Aggregate(last.text))

    # --- operators

    def _operator(self) -> Operator:
        token = self._take()
        if token.kind is Kind.SYMBOL and token.text in _COMPARISONS:
            return _COMPARISONS[token.text]
        match token.text.lower() if token.kind is Kind.WORD else "":
            case "in":
                return Operator.IN
            case "not":
                self._expect_word("in")
                return Operator.NOT_IN
            case "is":
                negated = self._takes_word("not")
                self._expect_word("null")
                return Operator.IS_NOT_NULL if negated else Operator.IS_NULL
        raise self._wrong(token, f"expected one of {' '.join(_COMPARISONS)} `in` `is`, found {token}")

    def _check_operator(self, token: Token, field: Field, attribute: Attribute | None, operator: Operator) -> None:
        if operator in _SEARCHES:
            if field.family is Family.METRIC or (attribute is not None and attribute.type is not Type.TEXT):
                raise self._wrong(token, f"{operator} searches in texts, and this is none")
        elif operator not in _SAMENESS and attribute is not None and attribute.type in (Type.ID, Type.CHOICE):
            raise self._wrong(token, "these are equal or not, none is less than another", "say =, != or in")

    # --- values

    def _values(self, field: Field, attribute: Attribute | None, operator: Operator) -> tuple[Value, ...]:
        self._expect_symbol("(", "before the values of `in`")
        values = [self._value(field, attribute, operator)]
        while self._takes_symbol(","):
            token = self._next
            values.append(self._value(field, attribute, operator))
            if len(values) > MAX_VALUES:
                raise self._wrong(token, f"`in` takes {MAX_VALUES} values at most")
        self._expect_symbol(")", "after the values of `in`")
        return tuple(values)

    def _value(self, field: Field, attribute: Attribute | None, operator: Operator) -> Value:
        token = self._take()
        if token.kind in (Kind.SYMBOL, Kind.END):
            raise self._wrong(token, f"expected a value, found {token}")
        if token.kind is Kind.WORD and token.text.lower() == "null":
            raise self._wrong(token, "nothing is equal to null", "say `is null` or `is not null`")
        if attribute is not None:
            return self._attribute_value(token, attribute)
        match field.family:
            case Family.METRIC:
                return self._number(token, operator)
            case Family.TAG:
                return self._text(token)
            case _:
                return self._parameter_value(token, operator)

    def _attribute_value(self, token: Token, attribute: Attribute) -> Value:
        match attribute.type:
            case Type.NUMBER:
                return self._number(token, Operator.LESS)
            case Type.TEXT if attribute.person and token.kind is Kind.WORD and token.text.lower() == "me":
                return self._me
            case Type.TEXT:
                return self._text(token)
            case Type.CHOICE:
                if token.text.upper() in attribute.choices:
                    return token.text.upper()
                near = _nearest(token.text.upper(), attribute.choices)
                raise self._wrong(token, f"expected one of {', '.join(attribute.choices)}, found {token}", near)
            case Type.ID:
                if (identity := id_of(token.text)) is None:
                    raise self._wrong(token, f"expected an id in quotes, found {token}")
                return identity
            case Type.TIME:
                moment = time_of(token.text)
                if moment is None or token.kind is not Kind.QUOTED:
                    hint = 'in quotes: "2026-05-17" or "2026-05-17T09:30:00Z"'
                    raise self._wrong(token, f"expected a time, found {token}", hint)
                return utc(moment, self._name)

    def _number(self, token: Token, operator: Operator) -> float:
        if token.kind is Kind.QUOTED or not _is_number(token):
            raise self._wrong(token, f"expected a number, found {token}", _unquote_hint(token))
        number = _number_of(token)
        if math.isnan(number) and operator not in _SAMENESS:
            raise self._wrong(token, "NaN is neither less nor greater than a number", "say = NaN or != NaN")
        return number

    def _text(self, token: Token) -> str:
        if token.kind is not Kind.QUOTED:
            raise self._wrong(token, f"expected a text in quotes, found {token}", f'write "{token.text}"')
        return token.text

    def _parameter_value(self, token: Token, operator: Operator) -> Value:
        if operator in _SEARCHES or token.kind is Kind.QUOTED:
            return self._text(token)
        if token.kind is Kind.WORD and token.text.lower() in ("true", "false"):
            if operator not in _SAMENESS:
                raise self._wrong(token, "true and false are equal or not, none is less than the other")
            return token.text.lower() == "true"
        if not _is_number(token) or math.isnan(_number_of(token)):
            raise self._wrong(
                token, f"expected a number, a text in quotes, `true` or `false`, found {token}", f'write "{token.text}"'
            )
        return _number_of(token)

    # --- tokens

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    @property
    def _ends(self) -> bool:
        return self._next.kind is Kind.END

    def _take(self) -> Token:
        token = self._next
        if token.kind is not Kind.END:
            self._at += 1
        return token

    def _takes(self, matches: Callable[[Token], bool]) -> bool:
        taken = matches(self._next)
        self._at += taken
        return taken

    def _takes_word(self, word: str) -> bool:
        return self._takes(lambda token: token.kind is Kind.WORD and token.text.lower() == word)

    def _takes_symbol(self, symbol: str) -> bool:
        return self._takes(lambda token: token.kind is Kind.SYMBOL and token.text == symbol)

    def _expect_word(self, word: str) -> None:
        if not self._takes_word(word):
            raise self._wrong(self._next, f"expected `{word}`, found {self._next}")

    def _expect_symbol(self, symbol: str, why: str) -> None:
        if not self._takes_symbol(symbol):
            raise self._wrong(self._next, f"expected {symbol!r} {why}, found {self._next}")

    def _deeper(self, token: Token) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._wrong(token, f"the filter is nested more than {MAX_DEPTH} deep")

    def _names(self) -> str:
        return f"there are {', '.join(self._vocabulary.names)}"

    def _wrong(self, token: Token, what: str, hint: str = "") -> Invalid:
        return wrong(self._name, token.column, what, hint)


def _is_number(token: Token) -> bool:
    return token.kind is Kind.NUMBER or (token.kind is Kind.WORD and token.text.lower() in _SPECIAL_NUMBERS)


def _number_of(token: Token) -> float:
    return float(token.text) + 0.0


def _nearest(word: str, names: Iterable[str]) -> str:
    near = get_close_matches(word, list(names), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else ""


def _key(key: str) -> str:
    return key if all(letter.isalnum() or letter in "_/-" for letter in key) and key else f'"{key}"'


def _quoted(path: Iterable[str]) -> str:
    return f'"{".".join(path)}"'


def _unquote_hint(token: Token) -> str:
    return "numbers have no quotes" if token.kind is Kind.QUOTED else ""
