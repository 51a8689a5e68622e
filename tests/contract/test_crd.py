"""The Experiment resource without a cluster: its schema, the operator's types and the samples say the same."""

from collections.abc import Iterator
from typing import Any, get_args, get_origin

import jsonschema
import msgspec
import pytest
import yaml
from msgspec import UNSET

from pinnace.artifact_stores import ArtifactStore
from pinnace_operator.acceptance import accept
from pinnace_operator.experiment import Experiment
from pinnace_operator.experiment_spec import Spec, Template, TemplateMetadata
from pinnace_operator.experiment_status import ConditionType, Status
from pinnace_operator.manifest import Manifest
from pinnace_operator.stores import Offers
from support.crd import BAD, CRD, GOOD, GOOD_STORES, Expectation, documents
from support.operator_world import PLATFORM, UID

DEFINITION = yaml.safe_load(CRD.read_text())
[VERSION] = DEFINITION["spec"]["versions"]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]
SPEC, STATUS = SCHEMA["properties"]["spec"], SCHEMA["properties"]["status"]


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}" if path else name)
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{path}.*")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


def fields_of(type_: type[Manifest]) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.encode_name: field for field in msgspec.structs.fields(type_)}


def structs_in(hint: Any) -> list[type[Manifest]]:
    if isinstance(hint, type) and issubclass(hint, Manifest):
        return [hint]
    return [found for argument in get_args(hint) for found in structs_in(argument)] if get_origin(hint) else []


def pairs(schema: dict[str, Any], type_: type[Manifest], path: str) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Each field of the schema beside the operator's; those of one side only as (path, {}, None)."""
    ours, theirs = fields_of(type_), schema.get("properties", {})
    for name in sorted(ours.keys() | theirs.keys()):
        here = f"{path}.{name}"
        if name not in ours or name not in theirs:
            yield here, theirs.get(name, {}), None
            continue
        yield here, theirs[name], ours[name]
        for struct in structs_in(ours[name].type):
            child = theirs[name].get("items", theirs[name].get("additionalProperties", theirs[name]))
            yield from pairs(child, struct, here)


PAIRS = [*pairs(SPEC, Spec, "spec"), *pairs(STATUS, Status, "status")]


@pytest.mark.parametrize("path", [path for path, _, _ in PAIRS])
def test_schema_and_operator_know_the_same_fields_with_the_same_defaults(path: str) -> None:
    [(_, schema, field)] = [pair for pair in PAIRS if pair[0] == path]
    assert field is not None, f"{path} is known to one side only"
    assert schema, f"{path} is known to one side only"
    if "default" in schema:
        default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
        # An object's own defaults are compared field by field.
        expected = {} if isinstance(schema["default"], dict) else msgspec.json.decode(msgspec.json.encode(default))
        assert schema["default"] == expected
    elif path.startswith("spec"):
        nothing: tuple[object, ...] = (
            None,
            UNSET,
            "",
            (),
            {},
            msgspec.NODEFAULT,
            TemplateMetadata(),
            Template(spec={}),
        )
        assert field.default in nothing
        assert field.required == (path.rpartition(".")[2] in required_at(path))


def required_at(path: str) -> list[str]:
    schema = SPEC
    for name in path.split(".")[1:-1]:
        schema = schema["properties"][name]
        schema = schema.get("items", schema.get("additionalProperties", schema))
    required: list[str] = schema.get("required", [])
    return required


@pytest.mark.parametrize(("path", "node"), list(nodes(SCHEMA)))
def test_every_field_is_described_and_bounded(path: str, node: dict[str, Any]) -> None:
    if path and path != "metadata" and not path.endswith(("]", "*")):
        assert len(node.get("description", "")) >= 5, "kubectl explain would show nothing"
    kind = node.get("type")
    if path in ("apiVersion", "kind") or "enum" in node or node.get("format") == "date-time":
        return
    if kind == "string":
        assert "maxLength" in node
    if kind == "array":
        assert "maxItems" in node
    if kind == "object" and "additionalProperties" in node:
        assert "maxProperties" in node
    if kind == "integer" and path.startswith("spec.") and not path.endswith("terminationGracePeriodSeconds"):
        assert {"minimum", "maximum"} <= node.keys()


def test_unknown_fields_are_kept_inside_pod_template_and_engine_object_and_nowhere_else() -> None:
    keepers = {path for path, node in nodes(SCHEMA) if node.get("x-kubernetes-preserve-unknown-fields")}
    values = {"spec.parameters.grid.*[]", "spec.parameters.list[].*"}
    values |= {f"spec.parameters.{way}.space.*.choice[]" for way in ("random", "optuna")}
    assert all(path.startswith(("spec.template.spec", "spec.engine.spec")) for path in keepers - values)


def test_every_rule_has_a_message_that_says_what_to_write() -> None:
    rules = [rule for _, node in nodes(SCHEMA) for rule in node.get("x-kubernetes-validations", ())]
    assert len(rules) >= 15
    for rule in rules:
        assert len(rule["message"]) > 40
        assert "reason" in rule


def test_people_see_what_they_want_to_know() -> None:
    columns = VERSION["additionalPrinterColumns"]
    names = [column["name"] for column in columns]
    assert names == ["Iterations", "Succeeded", "Failed", "Artifacts", "Pending", "Synced", "Age", "Message"]
    assert [column["name"] for column in columns if column.get("priority")] == ["Message"]
    assert VERSION["subresources"] == {"status": {}}
    assert DEFINITION["spec"]["names"]["shortNames"] == ["exp", "exps"]
    assert DEFINITION["spec"]["names"]["categories"] == ["pinnace"]
    for column in columns[-2:-3:-1] + columns[:-3]:
        path = column["jsonPath"].removeprefix(".").split("[")[0]
        if not path.startswith("metadata"):
            assert path in {found for found, _ in nodes(SCHEMA)}


def test_conditions_are_a_map_by_type() -> None:
    conditions = STATUS["properties"]["conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    for type_ in ConditionType:
        assert f"{type_}: " in conditions["description"]


def test_there_are_samples_of_both_kinds() -> None:
    assert len(GOOD) >= 6
    assert len(BAD) >= 15


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_sample_is_valid_and_can_be_carried_out(path: Any) -> None:
    [sample] = documents(path)
    jsonschema.Draft202012Validator(SCHEMA).validate(sample)
    sample["metadata"] |= {"uid": UID, "namespace": "team-a"}
    offered = ArtifactStore.from_manifest(documents(GOOD_STORES[0])[0] | {"metadata": {"name": "research"}})
    offers = Offers(namespace="team-a", stores=[offered])
    accepted = accept(Experiment.from_manifest(sample), PLATFORM, offers)
    assert accepted.search.count
    assert accepted.withheld is None


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_sample_says_what_it_expects(path: Any) -> None:
    expectation = Expectation.of(path)
    assert expectation.field.startswith("spec.")
    assert len(expectation.message) >= 10
    assert 1 <= len(documents(path)) <= 2


def test_each_rule_of_the_schema_is_broken_by_some_sample() -> None:
    messages = [
        rule["message"]
        for path, node in nodes(SCHEMA)
        if "initContainers" not in path
        for rule in node.get("x-kubernetes-validations", ())
    ]
    expected = [Expectation.of(path).message for path in BAD]
    unbroken = [message for message in messages if not any(part in message for part in expected)]
    assert unbroken == []
