"""What iterations can be filtered and sorted by."""

from types import MappingProxyType
from typing import Final

from pinnace.records import IterationState
from pinnace_api.experiments.tables import EXPERIMENTS
from pinnace_api.filters.expression import Family
from pinnace_api.filters.vocabulary import Attribute, Type, Vocabulary
from pinnace_api.iterations.tables import ITERATIONS
from pinnace_api.projects.tables import PROJECTS

VOCABULARY: Final = Vocabulary(
    of="iterations",
    attributes=MappingProxyType(
        {
            "id": Attribute(type=Type.ID),
            "index": Attribute(type=Type.NUMBER),
            "name": Attribute(type=Type.TEXT),
            "notes": Attribute(type=Type.TEXT, sortable=False),
            "error": Attribute(type=Type.TEXT, sortable=False),
            "state": Attribute(type=Type.CHOICE, choices=tuple(state.value for state in IterationState)),
            "created_at": Attribute(type=Type.TIME),
            "started_at": Attribute(type=Type.TIME),
            "ended_at": Attribute(type=Type.TIME),
            "heartbeat_at": Attribute(type=Type.TIME),
            "created_by": Attribute(type=Type.TEXT, person=True),
            "parent_id": Attribute(type=Type.ID, sortable=False),
            "experiment_id": Attribute(type=Type.ID),
            "experiment": Attribute(type=Type.TEXT),
            "namespace": Attribute(type=Type.TEXT),
            "project": Attribute(type=Type.TEXT),
        }
    ),
    families=frozenset({Family.PARAMETER, Family.METRIC, Family.TAG}),
)
COLUMNS: Final = MappingProxyType(
    {
        **{name: ITERATIONS.c[name] for name in VOCABULARY.attributes if name in ITERATIONS.c},
        "index": ITERATIONS.c.number,
        "experiment": EXPERIMENTS.c.name,
        "namespace": EXPERIMENTS.c.namespace,
        "project": PROJECTS.c.name,
    }
)
