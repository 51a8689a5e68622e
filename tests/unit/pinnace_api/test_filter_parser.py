"""Reading filters and orders: what they mean, and what a refusal says."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    conditions,
)
from pinnace_api.filters.parser import MAX_CONDITIONS, MAX_DEPTH, MAX_TERMS, MAX_VALUES, parse_filter, parse_order
from pinnace_api.filters.tokens import MAX_LENGTH
from pinnace_api.iterations.vocabulary import VOCABULARY
from pinnace_api.refusals import Invalid

NAME = Field(Family.ATTRIBUTE, ("name",))
A, B, C = (Condition(NAME, Operator.EQUAL, (letter,)) for letter in "abc")


def parse(text: str) -> Expression:
    return parse_filter(text, VOCABULARY, me="user:ann")


def only(text: str) -> Condition:
    condition = parse(text)
    assert isinstance(condition, Condition)
    return condition


def test_and_binds_closer_than_or_and_not_closer_than_and() -> None:
    text = 'name = "a" or not name = "b" AND name = "c"'
    assert parse(text) == Or((A, And((Not(B), C))))
    assert parse('(name = "a" or name = "b") and name = "c"') == And((Or((A, B)), C))


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("params.lr = 1", Field(Family.PARAMETER, ("lr",))),
        ("params.model.depth = 1", Field(Family.PARAMETER, ("model", "depth"))),
        ('params."model.depth" = 1', Field(Family.PARAMETER, ("model.depth",))),
        (r"params.'it\'s' = 1", Field(Family.PARAMETER, ("it's",))),
        ("params.0 = 1", Field(Family.PARAMETER, ("0",))),
        ("params.learning-rate=1", Field(Family.PARAMETER, ("learning-rate",))),
        ("metrics.val/loss.min < 1", Field(Family.METRIC, ("val/loss",), Aggregate.MIN)),
        ('metrics."a.b \\u00e4".any < 1', Field(Family.METRIC, ("a.b ä",), Aggregate.ANY)),
        ('tags.and = "x"', Field(Family.TAG, ("and",))),
    ],
)
def test_keys_may_be_odd(text: str, field: Field) -> None:
    assert only(text).field == field


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("params.x = -1.5e-3", (-0.0015,)),
        ("params.x = 1", (1.0,)),
        ("params.x in (1, 'a', TRUE)", (1.0, "a", True)),
        ("metrics.x.last > -infinity", (-math.inf,)),
        ("state in (SUCCEEDED, failed)", ("SUCCEEDED", "FAILED")),
        ("created_by = me", ("user:ann",)),
        ('created_by = "me"', ("me",)),
        ('created_at > "2026-05-17"', (datetime(2026, 5, 17, tzinfo=UTC),)),
        ('created_at > "2026-05-17T01:00:00+02:00"', (datetime(2026, 5, 16, 23, tzinfo=UTC),)),
        ("name is not null", ()),
    ],
)
def test_values_have_the_type_that_is_meant(text: str, values: tuple[object, ...]) -> None:
    found = only(text).values
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("nmae = 'x'", 1, "did you mean 'name'?"),
        ("name = 'x' and metrics.accuracy.lats > 1", 33, "did you mean 'last'?"),
        ("metrics.accuracy > 1", 9, "metrics.accuracy.last"),
        ("metrics.a.b.last > 1", 11, 'metrics."a.b".last'),
        ("state = SUCEEDED", 9, "did you mean 'SUCCEEDED'?"),
        ("name == 'x'", 7, "expected a value"),
        ("name", 5, "expected one of ="),
        ("(name = 'x'", 12, "to close the one of column 1"),
        ("name = 'x' name = 'y'", 12, "expected `and`, `or` or the end"),
        ("name = x", 8, 'write "x"'),
        ("tags.team = 3", 13, 'write "3"'),
        ("metrics.a.last = '3'", 18, "numbers have no quotes"),
        ("metrics.a.last < NaN", 18, "say = NaN"),
        ("metrics.a.last ~ 'x'", 16, "searches in texts"),
        ("name = null", 8, "is null"),
        ("name = 'x", 8, "has no end"),
        ("name = 'x' && name = 'y'", 12, "say `and`"),
        (r"name = '\x'", 9, "stands for nothing"),
        ("created_at > yesterday", 14, "2026-05-17"),
        ("id = '3'", 6, "expected an id"),
        ("id < '11111111-1111-4111-8111-111111111111'", 4, "equal or not"),
        ("params.flag < true", 15, "equal or not"),
        ("params = 1", 8, "params.KEY"),
        ("params.lr in 1", 14, "expected '('"),
        ("tags.a.b = 'x'", 8, '"a.b"'),
        ("name.x = 'x'", 5, "nothing inside"),
        ("", 1, "expected a name"),
    ],
)
def test_a_refusal_points_at_the_place_and_helps(text: str, column: int, says: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(text)
    assert refused.value.detail.startswith(f"column {column}: ")
    assert says in f"{refused.value.detail} {refused.value.hint}"
    assert refused.value.field == "filter"


@pytest.mark.parametrize(
    "text",
    [
        "name = '" + "x" * MAX_LENGTH + "'",
        "not " * (MAX_DEPTH + 1) + "name = 'x'",
        "(" * (MAX_DEPTH + 1) + "name = 'x'" + ")" * (MAX_DEPTH + 1),
        " or ".join(["name = ''"] * (MAX_CONDITIONS + 1)),
        f"index in ({', '.join(['1'] * (MAX_VALUES + 1))})",
        "params." + ".".join("a" * 9) + " = 1",
        "name = '\0'",
    ],
)
def test_what_is_too_much_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse(text)


def test_an_order_names_fields_and_directions() -> None:
    assert parse_order("metrics.accuracy.max DESC, name asc,params.lr", VOCABULARY) == (
        Term(Field(Family.METRIC, ("accuracy",), Aggregate.MAX), descending=True),
        Term(NAME),
        Term(Field(Family.PARAMETER, ("lr",))),
    )
    assert parse_order(" ", VOCABULARY) == ()


@pytest.mark.parametrize("text", ["notes", "metrics.a.any", "name down", "name,", ",".join(["name"] * (MAX_TERMS + 1))])
def test_what_nothing_is_sorted_by_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_order(text, VOCABULARY)
    assert refused.value.field == "order_by"


_NAMES = ["name", "state", "params", "metrics", "tags", "lr", "last", "FAILED", "NaN", "is", "null", "not", "and", "or"]
_MARKS = [".", "=", "!=", "<", "~", "(", ")", ",", "in", "'x'", '"', "1", "-", "1e9", "\\", "é", "\0", "--", ";"]
WORDS = st.sampled_from([*_NAMES, *_MARKS])


@given(st.one_of(st.text(), st.lists(WORDS).map(" ".join), st.lists(WORDS).map("".join)))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = list(conditions(parse(text)))
    except Invalid:
        return
    assert found
