"""Users of a running API and their tokens, made past its routes where a test needs many at once."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from pinnace.client import Client
from pinnace.records import Scope
from pinnace_api import credentials
from pinnace_api.clock import now
from pinnace_api.database import Database
from pinnace_api.tokens import queries, service
from pinnace_api.tokens.queries import Kind
from pinnace_api.users import queries as users
from support.api_server import ApiServer

PASSWORD = "correct horse battery staple"


@dataclass(frozen=True, slots=True, kw_only=True)
class Minted:
    """A token that is good at the moment."""

    id: UUID
    secret: str


class Accounts:
    """Writes into the API's database as the API itself would."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._database = Database(api.settings.database_url)

    def close(self) -> None:
        self._database.close()

    def session(self, user: str, *, lifetime: timedelta = timedelta(hours=1)) -> Minted:
        with self._database.read() as connection:
            stored = users.find(connection, user)
        assert stored is not None
        secret, record = self._database.write(service.open_session, stored.user.id, lifetime)
        return Minted(id=record.id, secret=secret)

    def personal(self, user: str, scope: Scope, *, lifetime: timedelta = timedelta(hours=1)) -> Minted:
        minted = Minted(id=uuid4(), secret=credentials.new_token())
        moment = now()
        with self._database.read() as connection:
            stored = users.find(connection, user)
        assert stored is not None
        self._database.write(
            queries.add,
            token=minted.id,
            kind=Kind.PERSONAL,
            digest=credentials.digest(minted.secret),
            user=stored.user.id,
            name="minted",
            scope=scope,
            created_at=moment,
            expires_at=moment + lifetime,
        )
        return minted

    def end(self, token: UUID) -> None:
        self._database.write(queries.remove, token)

    def client(self, user: str) -> Client:
        """A client with a session of the user."""
        return self._api.client(self.session(user).secret)
