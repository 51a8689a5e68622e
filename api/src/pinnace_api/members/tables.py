"""The tables of who is what to a project."""

from uuid import UUID

from sqlmodel import Field

from pinnace_api.tables import Row, table_of, word


class UserRoleRow(Row, table=True):
    __tablename__ = "user_roles"

    project_id: UUID = Field(primary_key=True, foreign_key="projects.id")
    user_id: UUID = Field(primary_key=True, foreign_key="users.id", index=True)
    role: str = Field(sa_type=word(16))


class GroupRoleRow(Row, table=True):
    """A table of its own, so that no group can be called like a user and mean one."""

    __tablename__ = "group_roles"

    project_id: UUID = Field(primary_key=True, foreign_key="projects.id")
    group_name: str = Field(primary_key=True, sa_type=word(256), index=True)
    role: str = Field(sa_type=word(16))


USER_ROLES = table_of(UserRoleRow)
GROUP_ROLES = table_of(GroupRoleRow)
