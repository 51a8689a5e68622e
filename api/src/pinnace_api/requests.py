"""What comes in: bodies, parsed once, strictly, straight into the route's record; and which part of a list is meant."""

import re
from typing import Annotated, Any

import msgspec
from litestar import Request
from litestar.params import QueryParameter

from pinnace.records import Shown
from pinnace_api.filters.tokens import MAX_LENGTH
from pinnace_api.paging import DEFAULT_LIMIT, MAX_LIMIT, Cut
from pinnace_api.refusals import Invalid

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description="How many at most")]
After = Annotated[str | None, QueryParameter(max_length=8192, description="`next` of the page before")]
ShownQuery = Annotated[
    Shown, QueryParameter(description="Which to list; what lies in something trashed counts as trashed")
]
FilterQuery = Annotated[
    str,
    QueryParameter(
        name="filter",
        max_length=MAX_LENGTH,
        description="Which to list: an expression as docs/reference/filter-language.md describes",
    ),
]
OrderQuery = Annotated[
    str, QueryParameter(max_length=MAX_LENGTH, description="Sorted by what, as `metrics.accuracy.max desc, name`")
]
TotalQuery = Annotated[bool, QueryParameter(description="Count all that match, not only those of the page")]

_PLACE = re.compile(r"^(?P<what>.*?) - at `(?:key in )?\$\.?(?P<field>.*)`$", re.DOTALL)


class StrictRequest(Request[Any, Any, Any]):
    """A request whose JSON must have the very types of the handler's `data`: "1" is no number here."""

    async def json(self) -> Any:
        field = self.route_handler.parsed_data_field
        return parse(await self.body(), Any if field is None else field.annotation)


def parse(body: bytes, type_: Any) -> Any:
    """`body` as `type_`. Raises Invalid naming the field that is wrong."""
    try:
        return msgspec.json.decode(body, type=type_)
    except msgspec.ValidationError as error:
        place = _PLACE.match(str(error))
        if place is None:
            raise Invalid(str(error)) from None
        raise Invalid(place["what"], field=place["field"]) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise Invalid("the body is nested too deeply") from None


async def provide_cut(limit: Limit = DEFAULT_LIMIT, after: After = None) -> Cut:
    return Cut(limit=limit, after=after)
