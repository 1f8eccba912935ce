"""Reads stored records back, page by page (docs/contracts.md#7)."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Final

from shared.clock import Clock, age_of
from shared.errors import InvalidRequestError, NotFoundError
from shared.imports.planning import SMALL_IMPORT
from shared.imports.results import MAX_FULL_ANSWER
from shared.services.background import Offload, SmallImportsFirst
from shared.services.import_log import ImportLog
from shared.services.records.rendering import RecordRenderer
from shared.services.records.search import ImportSearch, Place, SearchHit
from shared.services.records.sources import Findings, Query, RecordSource
from shared.services.status import NO_SUCH_IMPORT, Reporting, check_results
from shared.storage.entities import join_text
from shared.storage.former_columns import are_in_blob, former_fields, read_former_blob
from shared.storage.ports import BlobReader, Entity, RangeTables

_READ_AT_ONCE: Final = 1_000
# The event loop takes some milliseconds for each hundred entities that the SDK converts.
_READ_AT_ONCE_BESIDE_SMALL_IMPORTS: Final = 100
# Slices that one page reads: those with few records that are wanted end the page early.
_MOST_READS: Final = 25
_BYTES_PER_RECORD: Final = 2_000
_MOST_PARTS: Final = 4
# Former values that one page reads from elsewhere than from its records: long ones are in blobs.
MOST_FORMER_READS: Final = 50
_FORMER_READS_AT_ONCE: Final = 8
WRONG_CONTINUATION: Final = (
    "continuation must be that of the page before, with the same type and filters: copy it, or "
    "leave it out for the first page."
)


@dataclass(frozen=True, slots=True)
class RecordRequest:
    """The records that are asked for: `filters` by contract name, and what is shown of them.

    `continuation` is that of the page before, "" for the first one. `masks` hides sensitive values;
    `as_rows`: the records alone, as they would be imported, in place of items.
    """

    tenant: str
    filters: Mapping[str, str] = field(default_factory=dict)
    is_deleted: bool = False
    import_id: str = ""
    continuation: str = ""
    masks: bool = True
    as_rows: bool = False

    def fingerprint(self, name: str) -> str:
        """What a continuation is bound to: the same records, whatever is shown of them."""
        parts = [name, self.tenant, sorted(self.filters.items()), self.is_deleted, self.import_id]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class RecordPage:
    """The JSON texts of some records, and what the next page is asked for with; "" at the end."""

    texts: Sequence[str]
    continuation: str


class RecordReader:
    """Reads the records of every type that has some; writes nothing.

    `sources` has what makes the source of a type, by the name that callers know its records under.
    `results_kept` is how long results of imports are kept: former values are shown as long as the
    results of the import that replaced them.
    """

    def __init__(
        self,
        tables: RangeTables,
        blobs: BlobReader,
        imports: ImportLog,
        reporting: Reporting,
        clock: Clock,
        offload: Offload,
        small_first: SmallImportsFirst,
        sources: Mapping[str, Callable[[], RecordSource]],
        results_kept: timedelta,
    ) -> None:
        self._tables = tables
        self._blobs = blobs
        self._imports = imports
        self._reporting = reporting
        self._clock = clock
        self._offload = offload
        self._small_first = small_first
        self._sources = sources
        self._results_kept = results_kept
        self._loaded: dict[str, RecordSource] = {}

    @property
    def names(self) -> Sequence[str]:
        """The names under which there are records."""
        return [*self._sources]

    def source(self, name: str) -> RecordSource:
        """The source of the records of this name, in any case. Raises NotFoundError."""
        known = name.lower()
        if known not in self._sources:
            raise NotFoundError(
                f"There are no records under this name: ask for one of {', '.join(self.names)}; "
                "documents are at /api/documents."
            )
        if known not in self._loaded:
            self._loaded[known] = self._sources[known]()
        return self._loaded[known]

    async def page(self, name: str, request: RecordRequest, size: int) -> RecordPage:
        """Up to `size` records of that name; a page with very much text ends early.

        Raises InvalidRequestError for filters that would need a scan and for a continuation that
        is none, NotFoundError, and GoneError for an import whose results have expired.
        """
        source = self.source(name)
        findings = await self._findings(source, request)
        mark = request.fingerprint(name.lower())
        place = _place_of(mark, request, findings)
        former = _FormerElsewhere(self._tables, self._blobs, source)
        renderer = RecordRenderer(
            name.lower(), source.shape, partial(self._previous, former), masks=request.masks
        )
        texts: list[str] = []
        room = MAX_FULL_ANSWER
        with self._small_first.turns(is_small=size <= SMALL_IMPORT) as next_turn:
            for _ in range(_MOST_READS):
                most = _READ_AT_ONCE_BESIDE_SMALL_IMPORTS if await next_turn() else _READ_AT_ONCE
                count = min(size - len(texts), most)
                part = await findings.search.read(place, count)
                render = _Rendering(renderer, findings, request, room)
                hits = part.hits
                if not request.as_rows:
                    hits = await former.read(hits, render.is_asked_for)
                weight = _BYTES_PER_RECORD * len(hits)
                rendered, stopped = await self._offload(weight, render.texts, hits)
                place = stopped or former.stopped or part.reached
                texts += rendered
                room -= sum(map(len, rendered))
                if place is None or len(texts) >= size or room <= 0 or former.stopped is not None:
                    break
        if place is None:
            return RecordPage(texts, "")
        continuation = json.dumps([mark, *place], ensure_ascii=False, separators=(",", ":"))
        return RecordPage(texts, continuation)

    async def _findings(self, source: RecordSource, request: RecordRequest) -> Findings:
        if not request.import_id:
            query = Query(request.tenant, request.filters, request.is_deleted)
            return await source.find(self._tables, query)
        if request.is_deleted and request.filters:
            raise InvalidRequestError(
                "importId finds all records that an import deleted: leave the other filters out."
            )
        record = await self._imports.find(request.tenant, request.import_id)
        if record is None:
            raise NotFoundError(NO_SUCH_IMPORT)
        if record.type_name != source.kind.name:
            raise InvalidRequestError(
                f"importId names an import of {record.type_name}: ask for the records of that type."
            )
        check_results(record)
        search = ImportSearch(
            self._tables,
            source.kind.table,
            self._reporting,
            record,
            lambda result: source.places_of(request.tenant, result, is_deleted=request.is_deleted),
        )
        return Findings(search, source.has_all(request.filters) if request.filters else None)

    def _previous(self, former: _FormerElsewhere, entity: Entity) -> Mapping[str, Any] | None:
        """The former values of a record; None where there are none, or none that may be shown."""
        age = age_of(entity.text("UpdatedAt"), self._clock.now())
        if age is None or age > self._results_kept:
            return None
        return former.fields(entity)


class _FormerElsewhere:
    """Reads the former values of one page that are not in the entities of its records.

    They are in a blob where they are long, or on the tombstone that another entity names. The page
    ends behind the record with which it has read MOST_FORMER_READS; `stopped` is that place.
    """

    def __init__(self, tables: RangeTables, blobs: BlobReader, source: RecordSource) -> None:
        self._tables = tables
        self._blobs = blobs
        self._source = source
        self._reads = 0
        self._fields: dict[tuple[str, str], dict[str, Any] | None] = {}
        self.stopped: Place | None = None

    def fields(self, entity: Entity) -> Mapping[str, Any] | None:
        """The former values of an entity that `read` has returned."""
        key = (entity.partition, entity.row)
        return self._fields[key] if key in self._fields else former_fields(entity)

    async def read(
        self, hits: Sequence[SearchHit], is_shown: Callable[[SearchHit], bool]
    ) -> Sequence[SearchHit]:
        """Read the former values of these entities, as far as they are shown; those of the
        entities that are still on the page.
        """
        self._fields = {}
        elsewhere: list[Entity] = []
        for position, each in enumerate(hits, 1):
            is_elsewhere = are_in_blob(each.entity) or self._tombstone_key(each.entity) is not None
            if is_elsewhere and is_shown(each):
                elsewhere.append(each.entity)
                self._reads += 1
                if self._reads >= MOST_FORMER_READS and position < len(hits):
                    self.stopped = each.place
                    hits = hits[:position]
                    break
        for at in range(0, len(elsewhere), _FORMER_READS_AT_ONCE):
            entities = elsewhere[at : at + _FORMER_READS_AT_ONCE]
            read = await asyncio.gather(*map(self._read, entities))
            for entity, fields in zip(entities, read, strict=True):
                self._fields[entity.partition, entity.row] = fields
        return hits

    def _tombstone_key(self, entity: Entity) -> tuple[str, str] | None:
        return self._source.shape.former_key(entity) if entity.flag("Deleted") else None

    async def _read(self, entity: Entity) -> dict[str, Any] | None:
        keeper: Entity | None = entity
        key = self._tombstone_key(entity)
        if key is not None:
            keeper = await self._tables.get(self._source.kind.table, *key)
        if keeper is None or keeper.values.get("Number") != entity.values.get("Number"):
            return None
        return former_fields(keeper, await read_former_blob(self._blobs, keeper))


@dataclass(frozen=True, slots=True)
class _Rendering:
    """Renders a slice; `room` is how many characters there are left for it."""

    renderer: RecordRenderer
    findings: Findings
    request: RecordRequest
    room: int

    def texts(self, hits: Sequence[SearchHit]) -> tuple[list[str], Place | None]:
        """The texts of the slice, and the place where the room ended; None: nowhere."""
        texts: list[str] = []
        room = self.room
        render = self.renderer.row if self.request.as_rows else self.renderer.item
        for each in hits:
            text = render(each.entity) if self.is_asked_for(each) else ""
            if text:
                texts.append(text)
                room -= len(text)
            if room <= 0:
                return texts, each.place
        return texts, None

    def is_asked_for(self, hit: SearchHit) -> bool:
        """Whether an entity is a record, or what is left of one, that the caller wants.

        An entity without a stamp only keeps imports from writing a record that was never there. A
        record that cannot be read may have every value.
        """
        entity = hit.entity
        if entity.flag("Deleted"):
            return self.request.is_deleted and "Number" in entity.values
        if self.request.is_deleted:
            return False
        has = self.findings.has
        if has is None:
            return True
        try:
            document = json.loads(join_text("Document", entity.values))
        except ValueError:
            return True
        return not isinstance(document, dict) or has(document)


def _place_of(mark: str, request: RecordRequest, findings: Findings) -> Place | None:
    """The place that a continuation names. Raises InvalidRequestError."""
    if not request.continuation:
        return None
    wrong = InvalidRequestError(WRONG_CONTINUATION)
    try:
        parts = json.loads(request.continuation)
    except (ValueError, RecursionError):
        raise wrong from None
    is_list = isinstance(parts, list) and all(isinstance(part, str) for part in parts)
    if not is_list or not 1 < len(parts) <= _MOST_PARTS or parts[0] != mark:
        raise wrong
    place = tuple(parts[1:])
    if not findings.search.is_place(place):
        raise wrong
    return place
