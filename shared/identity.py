"""The configured identity provider, which is composed at the first call that involves a token.

Its libraries take a tenth of a second to import. A gateway that is only called with key pairs never
imports them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from shared.settings import IdentityProvider
from shared.storage.names import CLIENTS

if TYPE_CHECKING:
    from shared.auth.bearer import BearerAuthenticator, TokenReader
    from shared.auth.callers import TokenCaller
    from shared.auth.clients import Client, ClientLookups
    from shared.auth.local_tokens import KeyStore, LocalTokens
    from shared.auth.lookups import TenantLookups
    from shared.auth.stored_keys import LastUses, StoredKey
    from shared.clock import Clock, Ids
    from shared.services.admin.tokens import IssuedToken, TokenRequest, TokenRequests, TokenSource
    from shared.settings import Settings
    from shared.storage.ports import Tables

Jwk = dict[str, str]


@dataclass(frozen=True, slots=True)
class _Provider:
    """The parts of an identity provider, local or Entra."""

    reader: TokenReader
    source: TokenSource
    public_keys: Callable[[], Awaitable[list[Jwk]]]


class Identity:
    """Issues tokens, checks them, and publishes the keys to check them with."""

    def __init__(
        self,
        settings: Settings,
        tables: Tables,
        clock: Clock,
        ids: Ids,
        tenants: TenantLookups,
        uses: LastUses,
    ) -> None:
        self._settings = settings
        self._tables = tables
        self._clock = clock
        self._ids = ids
        self._tenants = tenants
        self._uses = uses

    async def authenticate(self, authorization: str) -> TokenCaller:
        """Find the caller of a bearer token. Raises BearerTokenError, StorageUnavailableError."""
        return await self._bearers.authenticate(authorization)

    async def grant(self, request: TokenRequest) -> IssuedToken:
        """Issue a token. Raises TokenRefusedError, StorageUnavailableError."""
        return await self._requests.grant(request)

    async def public_keys(self) -> list[Jwk]:
        """The public keys that check tokens, as JSON Web Keys."""
        return await self._provider.public_keys()

    @cached_property
    def key_store(self) -> KeyStore:
        from shared.auth.local_tokens import KeyStore

        return KeyStore(self._tables, self._clock, self._ids, self._settings.cache_seconds)

    @cached_property
    def local_tokens(self) -> LocalTokens:
        from shared.auth.local_tokens import LocalTokens, TokenTerms

        terms = TokenTerms(
            issuer=self._settings.base_url,
            audience=self._settings.audiences[0],
            lifetime=self._settings.token_seconds,
        )
        return LocalTokens(self.key_store, self._clock, self._ids, terms)

    @cached_property
    def _provider(self) -> _Provider:
        if self._settings.identity_provider == IdentityProvider.ENTRA:
            return self._entra()
        return self._local()

    @cached_property
    def _bearers(self) -> BearerAuthenticator:
        from shared.auth.bearer import BearerAuthenticator

        return BearerAuthenticator(
            self._provider.reader, self._clients, self._clock, self._note_entra_use
        )

    def _note_entra_use(self, client: Client) -> None:
        """Note the last call of a client of Entra; of others the requests for tokens are noted."""
        from shared.auth.clients import use_of_client

        if not client.is_entra_client:
            return

        def write(at: str) -> Awaitable[object]:
            return self._tables.write(CLIENTS, use_of_client(client, at))

        self._uses.note_name(f"client {client.client_id}", client.used_at, write)

    @cached_property
    def _requests(self) -> TokenRequests:
        from shared.services.admin.tokens import TokenRequests

        return TokenRequests(self._clients, self._provider.source, self._tenants)

    @cached_property
    def _clients(self) -> ClientLookups:
        from shared.auth.clients import ClientLookups

        return ClientLookups(self._tables, self._clock, self._settings.cache_seconds)

    def _local(self) -> _Provider:
        from shared.auth.clients import SecretChecker, use_of_secret
        from shared.services.admin.tokens import LocalTokenSource

        async def public_keys() -> list[Jwk]:
            return [key.jwk for key in await self.key_store.published()]

        def note_use(client: Client, secret: StoredKey) -> None:
            def write(at: str) -> Awaitable[object]:
                return self._tables.write(CLIENTS, use_of_secret(client, secret, at))

            self._uses.note(secret, write)

        source = LocalTokenSource(self.local_tokens, SecretChecker(), self._clock, note_use)
        return _Provider(self.local_tokens, source, public_keys)

    def _entra(self) -> _Provider:
        import requests

        from shared.auth.entra import EntraAuthority, EntraKeys, EntraTokens
        from shared.services.admin.entra_token_requests import EntraTokenSource

        directory, audiences = self._settings.entra_tenant, self._settings.audiences
        authority = EntraAuthority(self._settings.entra_authority, directory, requests.Session)
        keys = EntraKeys(authority.read_metadata, self._clock)

        async def public_keys() -> list[Jwk]:
            return (await keys.metadata()).jwks

        reader = EntraTokens(keys, directory, audiences)
        return _Provider(reader, EntraTokenSource(authority, audiences[0]), public_keys)
