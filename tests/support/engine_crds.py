"""What the API server of a test knows of other operators' kinds.

These are our own abridgements, not the projects' definitions: group, version, names, the fields that Pinnace writes or
reads with their types as those projects publish them (all under Apache-2.0), and unknown fields kept in pod templates
alone. A field that is not named here is refused by server-side apply, as the real definitions do.
"""

from typing import Any, Final

_ANY: Final[dict[str, Any]] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_TEXT: Final = {"type": "string"}
_TIME: Final = {"type": "string", "format": "date-time"}
_INTEGER: Final = {"type": "integer", "format": "int32"}
_FLAG: Final = {"type": "boolean"}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_CONDITIONS: Final = _list(
    _object(type=_TEXT, status=_TEXT, reason=_TEXT, message=_TEXT, lastUpdateTime=_TIME, lastTransitionTime=_TIME)
)


def _definition(group: str, version: str, kind: str, spec: Any, status: Any, *, subresource: bool = True) -> Any:
    plural = f"{kind.lower()}s"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _object(spec=spec, status=status)},
                    **({"subresources": {"status": {}}} if subresource else {}),
                }
            ],
        },
    }


_REPLICA: Final = _object(replicas=_INTEGER, restartPolicy=_TEXT, template=_ANY)
_METADATA: Final = _object(
    labels={"type": "object", "additionalProperties": _TEXT},
    annotations={"type": "object", "additionalProperties": _TEXT},
)
_RUNTIME_PATCH: Final = _object(
    manager=_TEXT,
    trainingRuntimeSpec=_object(
        template=_object(
            spec=_object(
                replicatedJobs=_list(
                    _object(name=_TEXT, template=_object(spec=_object(template=_object(metadata=_METADATA))))
                )
            )
        )
    ),
)
_KEYED: Final = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["manager"]}

DEFINITIONS: Final[list[dict[str, Any]]] = [
    _definition(
        "kubeflow.org",
        "v1",
        "PyTorchJob",
        _object(
            runPolicy=_object(
                suspend=_FLAG,
                backoffLimit=_INTEGER,
                cleanPodPolicy=_TEXT,
                activeDeadlineSeconds={"type": "integer", "format": "int64"},
                ttlSecondsAfterFinished=_INTEGER,
            ),
            elasticPolicy=_ANY,
            nprocPerNode=_TEXT,
            pytorchReplicaSpecs={"type": "object", "additionalProperties": _REPLICA},
        ),
        _object(
            conditions=_CONDITIONS,
            replicaStatuses={
                "type": "object",
                "additionalProperties": _object(active=_INTEGER, succeeded=_INTEGER, failed=_INTEGER),
            },
            startTime=_TIME,
            completionTime=_TIME,
            lastReconcileTime=_TIME,
        ),
    ),
    _definition(
        "trainer.kubeflow.org",
        "v1alpha1",
        "TrainJob",
        _object(
            runtimeRef=_object(name=_TEXT, apiGroup=_TEXT, kind=_TEXT),
            trainer=_object(image=_TEXT, command=_list(_TEXT), args=_list(_TEXT), numNodes=_INTEGER),
            runtimePatches=_list(_RUNTIME_PATCH | {"required": ["manager"]}) | _KEYED,
            suspend=_FLAG,
            activeDeadlineSeconds={"type": "integer", "format": "int64"},
        ),
        _object(conditions=_CONDITIONS),
    ),
    _definition(
        "ray.io",
        "v1",
        "RayJob",
        _object(
            entrypoint=_TEXT,
            suspend=_FLAG,
            shutdownAfterJobFinishes=_FLAG,
            ttlSecondsAfterFinished=_INTEGER,
            activeDeadlineSeconds=_INTEGER,
            backoffLimit=_INTEGER,
            rayClusterSpec=_object(
                rayVersion=_TEXT,
                headGroupSpec=_object(rayStartParams={"type": "object", "additionalProperties": _TEXT}, template=_ANY),
                workerGroupSpecs=_list(
                    _object(
                        groupName=_TEXT,
                        replicas=_INTEGER,
                        rayStartParams={"type": "object", "additionalProperties": _TEXT},
                        template=_ANY,
                    )
                ),
            ),
        ),
        _object(
            jobStatus=_TEXT,
            jobDeploymentStatus=_TEXT,
            reason=_TEXT,
            message=_TEXT,
            startTime=_TIME,
            endTime=_TIME,
            rayClusterName=_TEXT,
        ),
    ),
    # Argo's controller writes the status without a subresource.
    _definition(
        "argoproj.io",
        "v1alpha1",
        "Workflow",
        _object(
            entrypoint=_TEXT,
            suspend=_FLAG,
            shutdown=_TEXT,
            podMetadata=_METADATA,
            templates=_list(_ANY),
            arguments=_ANY,
            ttlStrategy=_ANY,
            podGC=_ANY,
        ),
        _object(phase=_TEXT, message=_TEXT, startedAt=_TIME, finishedAt=_TIME),
        subresource=False,
    ),
]
