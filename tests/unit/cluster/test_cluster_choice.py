"""Which image is taken, why in one sentence, and how a wish that can't be fulfilled is refused."""

import dataclasses

import pytest

from cluster.choice import Candidates, Origin, choose
from cluster.errors import ClusterError, Exit

CANDIDATES = Candidates(
    purpose="the node image",
    variable="PINNACE_NODE_IMAGE",
    wish="",
    published="kindest/node:v1.2.3@sha256:abc",
    has_published=False,
    has_built=False,
)


class Registry:
    """Answers pulls with one reason, and counts them."""

    def __init__(self, refusal: str = "") -> None:
        self.refusal = refusal
        self.asked: list[str] = []

    def pull(self, image: str) -> str:
        self.asked.append(image)
        return self.refusal


def nothing_there(_image: str) -> bool:
    return False


def test_the_published_one_is_taken_where_it_can_be_pulled() -> None:
    choice = choose(CANDIDATES, has=nothing_there, pull=Registry().pull)
    assert (choice.origin, choice.image) == (Origin.PUBLISHED, CANDIDATES.published)
    assert "PINNACE_NODE_IMAGE=built" in choice.why


def test_one_is_built_where_it_cannot_be_pulled_and_the_reason_is_docker_s() -> None:
    choice = choose(CANDIDATES, has=nothing_there, pull=Registry("no such host").pull)
    assert choice.origin is Origin.BUILT
    assert "kindest/node:v1.2.3: no such host" in choice.why
    assert "PINNACE_NODE_IMAGE=published" in choice.why
    assert "sha256" not in choice.why


@pytest.mark.parametrize(
    ("facts", "origin"),
    [
        ({"has_published": True}, Origin.PUBLISHED),
        ({"has_built": True}, Origin.BUILT),
        ({"has_published": True, "has_built": True}, Origin.PUBLISHED),
        ({"has_published": True, "obstacle": "it can't start"}, Origin.BUILT),
        ({"wish": "built", "has_published": True}, Origin.BUILT),
        ({"wish": "published", "has_published": True, "obstacle": "it can't start"}, Origin.PUBLISHED),
    ],
)
def test_no_registry_is_asked_when_the_answer_is_known(facts: dict[str, object], origin: Origin) -> None:
    registry = Registry("must not be asked")
    choice = choose(dataclasses.replace(CANDIDATES, **facts), has=nothing_there, pull=registry.pull)  # type: ignore[arg-type]
    assert choice.origin is origin
    assert choice.why
    assert registry.asked == []


def test_a_named_image_that_docker_has_is_taken_as_it_is() -> None:
    candidates = dataclasses.replace(CANDIDATES, wish="mine/node:1")
    choice = choose(candidates, has=lambda image: image == "mine/node:1", pull=Registry("no").pull)
    assert (choice.origin, choice.image) == (Origin.NAMED, "mine/node:1")


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ("published", "PINNACE_NODE_IMAGE=published, but Docker can't pull kindest/node:v1.2.3@sha256:abc: denied"),
        ("publishd", "neither `published` nor `built`"),
    ],
)
def test_a_wish_that_cannot_be_fulfilled_says_why_and_what_to_write_instead(wish: str, said: str) -> None:
    with pytest.raises(ClusterError) as refused:
        choose(dataclasses.replace(CANDIDATES, wish=wish), has=nothing_there, pull=Registry("denied").pull)
    assert said in refused.value.what
    assert "PINNACE_NODE_IMAGE" in refused.value.hint
    assert refused.value.code is Exit.USAGE
