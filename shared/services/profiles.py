"""Mapping profiles of tenants, by version (docs/mapping-profiles.md).

In the table `Profiles`, partition tenant:

    p|<name>                the current version of a profile; the last one where it is deleted
    v|<name>|<version>      one version, which never changes

A version is written in the transaction that makes it the current one. A deleted profile keeps its
versions, because imports name the version that they used: their failed rows are shown and retried
by it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.clock import Clock, to_iso
from shared.errors import (
    InvalidRequestError,
    NotFoundError,
    PreconditionFailedError,
    StorageUnavailableError,
    UnreadableDataError,
)
from shared.imports.files.mapping import ProfileMapping
from shared.imports.files.profile import (
    NO_PROFILE,
    Profile,
    ProfileRef,
    profile_name,
    read_profile,
)
from shared.imports.import_type import ImportType
from shared.services.admin.audit import Action, AuditLog
from shared.storage.entities import encode, join_text, split_text
from shared.storage.names import PROFILES
from shared.storage.ports import Entity, Insert, Replace, Tables

# A list of a tenant's profiles is one answer.
MAX_PROFILES: Final = 200
# Versions that are kept in memory; they never change.
_MOST_CACHED: Final = 200
_MOST_TRIES: Final = 10


@dataclass(frozen=True, slots=True)
class ProfileVersion:
    """A version of a profile, and when it was set."""

    ref: ProfileRef
    mapping: ProfileMapping
    set_at: str

    @property
    def profile(self) -> Profile:
        """Its document."""
        return self.mapping.profile


@dataclass(frozen=True, slots=True)
class ProfileEntry:
    """A profile in the list of a tenant: its current version. `etag` is that of its entity."""

    ref: ProfileRef
    type_name: str
    type_version: int
    set_at: str
    is_deleted: bool = False
    etag: str = ""


class ProfileService:
    """Sets, finds, lists and deletes the profiles of tenants."""

    def __init__(self, tables: Tables, clock: Clock, audit: AuditLog) -> None:
        self._tables = tables
        self._clock = clock
        self._audit = audit
        self._cache: OrderedDict[tuple[str, ProfileRef], ProfileVersion] = OrderedDict()

    async def set(self, tenant: str, name: str, text: str) -> tuple[ProfileVersion, bool]:
        """Check a profile and make it the current version of its name.

        Returns the version and whether it is new: a profile that is the current one already is not
        stored again. Raises ProfileRefusedError with all faults.
        """
        name = profile_name(name)
        profile = read_profile(text)
        for _ in range(_MOST_TRIES):
            current = await self._find_entry(tenant, name)
            if current is not None and not current.is_deleted:
                stored = await self._find_stored(tenant, current.ref)
                if stored is not None and stored.profile.to_text() == profile.to_text():
                    return stored, False
            elif current is None and len(await self._list_entries(tenant)) >= MAX_PROFILES:
                raise InvalidRequestError(
                    f"The tenant has had {MAX_PROFILES} profiles, which is the limit, since "
                    "deleting one keeps its versions: set a new version of one of them, as "
                    "`profile list` shows them, or set a deleted name again."
                )
            ref = ProfileRef(name, current.ref.version + 1 if current else 1)
            version = ProfileVersion(ref, ProfileMapping(ref, profile), to_iso(self._clock.now()))
            target = {"profile": name, "version": ref.version}
            after = {"type": profile.kind.name, "columns": len(profile.columns)}
            try:
                async with self._audit.act(tenant, Action.PROFILE_SET, target, after=after):
                    await self._write(tenant, version, current)
            except PreconditionFailedError:
                # Another call has set the profile, or this one and its answer was lost.
                continue
            return version, True
        raise StorageUnavailableError("several calls change this profile at the same time")

    async def find(self, tenant: str, name: str, kind: ImportType) -> ProfileVersion:
        """The current version of a profile for rows of a type.

        Raises InvalidRequestError where there is none, or where it is for another type.
        """
        try:
            profile_version = await self.get(tenant, name)
        except NotFoundError as error:
            raise InvalidRequestError(error.message) from None
        of = profile_version.profile.kind
        if (of.name, of.version) != (kind.name, kind.version):
            raise InvalidRequestError(
                f"The profile {profile_version.ref.name} is for {of.name} version {of.version}, "
                f"and this call is for {kind.name} version {kind.version}: name another profile."
            )
        return profile_version

    async def get(self, tenant: str, name: str, version: int = 0) -> ProfileVersion:
        """A version of a profile, by default the current one. Raises NotFoundError."""
        name = profile_name(name)
        if version:
            profile_version = await self.find_version(tenant, ProfileRef(name, version))
            if profile_version is None:
                raise NotFoundError(
                    f"The profile {name} has no version {version}: leave the version out, or "
                    "name one from 1 to the current one."
                )
            return profile_version
        current = await self._find_entry(tenant, name)
        if current is None or current.is_deleted:
            names = [each.ref.name for each in await self.list_profiles(tenant)]
            known = (
                f"name another one; there are {', '.join(names[:20])}"
                if names
                else "set it first, since there is none yet"
            )
            raise NotFoundError(f"The tenant has no profile {name}: {known}.")
        profile_version = await self.find_version(tenant, current.ref)
        if profile_version is None:
            raise UnreadableDataError(f"the profile {name}")
        return profile_version

    async def find_version(self, tenant: str, ref: ProfileRef) -> ProfileVersion | None:
        """A version of a profile, also of a deleted one; None where there is none.

        Raises UnreadableDataError.
        """
        if ref == NO_PROFILE:
            return None
        cached = self._cache.get((tenant, ref))
        if cached is not None:
            self._cache.move_to_end((tenant, ref))
            return cached
        entity = await self._tables.get(PROFILES, encode(tenant), _version_row(ref))
        if entity is None:
            return None
        try:
            profile = read_profile(join_text("Document", entity.values))
        except InvalidRequestError as error:
            raise UnreadableDataError(f"version {ref.version} of the profile {ref.name}") from error
        profile_version = ProfileVersion(ref, ProfileMapping(ref, profile), entity.text("SetAt"))
        self._cache[tenant, ref] = profile_version
        if len(self._cache) > _MOST_CACHED:
            self._cache.popitem(last=False)
        return profile_version

    async def list_profiles(self, tenant: str) -> Sequence[ProfileEntry]:
        """The profiles of a tenant that are not deleted, by name."""
        return [entry for entry in await self._list_entries(tenant) if not entry.is_deleted]

    async def delete(self, tenant: str, name: str) -> ProfileRef:
        """Delete a profile: no new call may name it. Raises NotFoundError."""
        name = profile_name(name)
        for _ in range(_MOST_TRIES):
            current = await self._find_entry(tenant, name)
            if current is None or current.is_deleted:
                raise NotFoundError(
                    f"The tenant has no profile {name}: check the name in the list of profiles."
                )
            target = {"profile": name, "version": current.ref.version}
            values = {**_pointer_values(current), "IsDeleted": True}
            entity = Entity(encode(tenant), _pointer_row(name), values, current.etag)
            try:
                async with self._audit.act(tenant, Action.PROFILE_DELETE, target):
                    await self._tables.write(PROFILES, Replace(entity))
            except PreconditionFailedError:
                continue
            return current.ref
        raise StorageUnavailableError("several calls change this profile at the same time")

    async def _find_stored(self, tenant: str, ref: ProfileRef) -> ProfileVersion | None:
        """A version; None where it cannot be read, so that setting the profile repairs it."""
        try:
            return await self.find_version(tenant, ref)
        except UnreadableDataError:
            return None

    async def _write(
        self, tenant: str, version: ProfileVersion, current: ProfileEntry | None
    ) -> None:
        kind, ref = version.profile.kind, version.ref
        entry = ProfileEntry(ref, kind.name, kind.version, version.set_at)
        pointer = Entity(
            encode(tenant),
            _pointer_row(ref.name),
            _pointer_values(entry),
            current.etag if current else "",
        )
        document = split_text("Document", version.profile.to_text())
        content = Entity(encode(tenant), _version_row(ref), {"SetAt": version.set_at, **document})
        change = Replace(pointer) if current else Insert(pointer)
        await self._tables.transact(PROFILES, [Insert(content), change])

    async def _find_entry(self, tenant: str, name: str) -> ProfileEntry | None:
        entity = await self._tables.get(PROFILES, encode(tenant), _pointer_row(name))
        return None if entity is None else _entry(entity)

    async def _list_entries(self, tenant: str) -> Sequence[ProfileEntry]:
        entities = await self._tables.query(PROFILES, encode(tenant), "p|", "p|~")
        return [_entry(entity) for entity in entities]


def profile_view(version: ProfileVersion) -> dict[str, Any]:
    """A version of a profile for programs."""
    return {
        "name": version.ref.name,
        "version": version.ref.version,
        "setAt": version.set_at,
        "profile": version.profile.to_document(),
    }


def entry_view(entry: ProfileEntry) -> dict[str, Any]:
    """A profile in a list for programs."""
    return {
        "name": entry.ref.name,
        "version": entry.ref.version,
        "type": entry.type_name,
        "typeVersion": entry.type_version,
        "setAt": entry.set_at,
    }


def _pointer_row(name: str) -> str:
    return f"p|{name}"


def _version_row(ref: ProfileRef) -> str:
    return f"v|{ref.name}|{ref.version:06d}"


def _pointer_values(entry: ProfileEntry) -> dict[str, str | int | bool | bytes]:
    return {
        "Version": entry.ref.version,
        "Type": entry.type_name,
        "TypeVersion": entry.type_version,
        "SetAt": entry.set_at,
    }


def _entry(entity: Entity) -> ProfileEntry:
    return ProfileEntry(
        ref=ProfileRef(entity.row.removeprefix("p|"), entity.number("Version")),
        type_name=entity.text("Type"),
        type_version=entity.number("TypeVersion", 1),
        set_at=entity.text("SetAt"),
        is_deleted=entity.flag("IsDeleted"),
        etag=entity.etag,
    )
