"""An ArtifactStore by itself: whom it is offered to, where their keys lie, and what a session may do."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.artifact_stores import ArtifactStore, MalformedStoreError, session_policy


def store(**spec: Any) -> ArtifactStore:
    access = {"source": "STS", "sts": {"roleArn": "arn:aws:iam::123456789012:role/pinnace"}}
    spec = {"bucket": "shared", "namespaces": ["team-a"], "credentials": access, **spec}
    return ArtifactStore.from_manifest({"metadata": {"name": "research"}, "spec": spec})


@pytest.mark.parametrize(
    ("selector", "labels", "offered"),
    [
        ({}, {}, True),
        ({"matchLabels": {"team": "a"}}, {"team": "a", "more": "x"}, True),
        ({"matchLabels": {"team": "a"}}, {"team": "b"}, False),
        ({"matchLabels": {"team": "a"}}, {}, False),
        ({"matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]}]}, {"team": "b"}, True),
        ({"matchExpressions": [{"key": "team", "operator": "In", "values": ["a"]}]}, {}, False),
        ({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["a"]}]}, {}, True),
        ({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["a"]}]}, {"team": "a"}, False),
        ({"matchExpressions": [{"key": "team", "operator": "Exists"}]}, {"team": ""}, True),
        ({"matchExpressions": [{"key": "team", "operator": "Exists"}]}, {}, False),
        ({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}, {}, True),
        ({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}, {"team": "a"}, False),
        ({"matchExpressions": [{"key": "team", "operator": "Gt", "values": ["1"]}]}, {"team": "2"}, False),
    ],
)
def test_labels_are_matched_as_kubernetes_does(selector: Any, labels: dict[str, str], offered: bool) -> None:
    assert store(namespaces=None, namespaceSelector=selector).is_offered_to("any", labels) is offered


def test_names_are_whole_names() -> None:
    offered = store()
    assert offered.is_offered_to("team-a", {})
    assert not offered.is_offered_to("team-a2", {})
    assert not store(namespaces=None).is_offered_to("team-a", {})


@pytest.mark.parametrize("prefix", ["*", "a?", "${aws:username}", "..", "a/../b", "/a", "a/", "a//b", "a\n", ".hidden"])
def test_a_prefix_that_could_mean_more_than_itself_is_not_read(prefix: str) -> None:
    with pytest.raises(MalformedStoreError, match="prefix"):
        store(prefix=prefix)


@given(
    prefix=st.from_regex(r"\A([a-zA-Z0-9_-][a-zA-Z0-9._-]{0,8}(/[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,8}){0,3})?\Z"),
    namespace=st.from_regex(r"\A[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?\Z"),
)
def test_a_session_is_good_for_the_keys_of_its_namespace_whatever_it_is_called(prefix: str, namespace: str) -> None:
    offered = store(prefix=prefix)
    policy = json.loads(session_policy(offered, namespace))
    own = f"{prefix}/{namespace}/" if prefix else f"{namespace}/"
    assert offered.settings_in(namespace, "below").prefix == f"{own}below"
    objects, listing = policy["Statement"]
    assert objects["Resource"] == [f"arn:aws:s3:::shared/{own}*"]
    assert listing["Condition"] == {"StringLike": {"s3:prefix": [f"{own}*"]}}
    assert not {action for statement in policy["Statement"] for action in statement["Action"] if "Delete" in action}


def test_a_policy_fits_where_aws_takes_it() -> None:
    longest = store(prefix="p" * 256, serverSideEncryption="aws:kms")
    assert len(session_policy(longest, "n" * 63)) <= 2048


def test_encryption_by_a_managed_key_may_use_it_through_the_store_only() -> None:
    *_, kms = json.loads(session_policy(store(serverSideEncryption="aws:kms:key"), "team-a"))["Statement"]
    assert kms["Action"] == ["kms:GenerateDataKey", "kms:Decrypt"]
    assert kms["Condition"] == {"StringLike": {"kms:ViaService": ["s3.*"]}}


def test_the_roles_partition_is_the_buckets() -> None:
    access = {"source": "STS", "sts": {"roleArn": "arn:aws-cn:iam::123456789012:role/pinnace"}}
    assert "arn:aws-cn:s3:::shared/team-a/*" in session_policy(store(credentials=access), "team-a")


@pytest.mark.parametrize("spec", [{"bucket": "s3://x"}, {"endpoint": "minio:9000"}, {"credentials": {"source": "No"}}])
def test_what_is_of_another_version_is_told(spec: dict[str, Any]) -> None:
    with pytest.raises(MalformedStoreError, match="research can't be read"):
        store(**spec)
