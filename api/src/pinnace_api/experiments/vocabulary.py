"""What experiments can be filtered by."""

from types import MappingProxyType
from typing import Final

from pinnace.records import ExperimentStatus
from pinnace_api.experiments.tables import EXPERIMENTS
from pinnace_api.filters.expression import Family
from pinnace_api.filters.vocabulary import Attribute, Type, Vocabulary
from pinnace_api.projects.tables import PROJECTS

VOCABULARY: Final = Vocabulary(
    of="experiments",
    attributes=MappingProxyType(
        {
            "id": Attribute(type=Type.ID),
            "name": Attribute(type=Type.TEXT),
            "namespace": Attribute(type=Type.TEXT),
            "project": Attribute(type=Type.TEXT),
            "description": Attribute(type=Type.TEXT, sortable=False),
            "status": Attribute(type=Type.CHOICE, choices=tuple(status.value for status in ExperimentStatus)),
            "created_at": Attribute(type=Type.TIME),
            "ended_at": Attribute(type=Type.TIME),
            "created_by": Attribute(type=Type.TEXT, person=True),
        }
    ),
    families=frozenset({Family.TAG}),
)
COLUMNS: Final = MappingProxyType(
    {
        **{name: EXPERIMENTS.c[name] for name in VOCABULARY.attributes if name in EXPERIMENTS.c},
        "project": PROJECTS.c.name,
    }
)
