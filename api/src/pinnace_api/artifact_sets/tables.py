"""The table of the members of sets."""

from uuid import UUID

from sqlmodel import Field

from pinnace_api.tables import Row, table_of


class ArtifactSetMemberRow(Row, table=True):
    """`set_id` is the manifest. All members of a set are added in the transaction that says what it is: a manifest with
    members is a complete set, and one without is a file like any other.
    """

    __tablename__ = "artifact_set_members"

    set_id: UUID = Field(foreign_key="artifacts.id", primary_key=True)
    artifact_id: UUID = Field(foreign_key="artifacts.id", primary_key=True, index=True)


ARTIFACT_SET_MEMBERS = table_of(ArtifactSetMemberRow)
