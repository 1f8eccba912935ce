"""The names of all tables and containers of the gateway (docs/design.md#2)."""

from __future__ import annotations

TENANTS = "Tenants"
INTEGRATIONS = "Integrations"
FUNCTION_KEYS = "FunctionKeys"
CLIENTS = "Clients"
SIGNING_KEYS = "SigningKeys"
IMPORTS = "Imports"
IMPORT_RESULTS = "ImportResults"
REFERENCES = "References"
COMMUNICATION_ROUNDS = "CommunicationRounds"
IDEMPOTENCY = "Idempotency"
AUTH_STAGING = "AuthStaging"
AUDIT = "Audit"
PERSONS = "Persons"
DATA_KEYS = "DataKeys"
PROFILES = "Profiles"

IMPORT_PAYLOADS = "import-payloads"
IMPORT_RESULT_BLOBS = "import-results"
IDEMPOTENT_ANSWERS = "idempotent-answers"
AUTH_BATCHES = "authdata-batches"
LICENSE_DOCUMENTS = "license-documents"
DOCUMENT_BLOBS = "documents"
DOCUMENT_DROP = "document-drop"
DOCUMENT_REJECTED = "document-rejected"
# Dropped rows: dropped files, imported ones, refused ones, results, and notes of drops whose import
# is not settled yet.
ROW_DROP = "row-drop"
ROW_DONE = "row-done"
ROW_REJECTED = "row-rejected"
ROW_RESULTS = "row-results"
ROW_PENDING = "row-pending"
# The host's own container. For each dropped blob it has a receipt that is never deleted.
HOST_CONTAINER = "azure-webjobs-hosts"

# The tables besides those of the import types, which each type names in its definition.
TABLES = (
    TENANTS,
    INTEGRATIONS,
    FUNCTION_KEYS,
    CLIENTS,
    SIGNING_KEYS,
    REFERENCES,
    COMMUNICATION_ROUNDS,
    IMPORTS,
    IMPORT_RESULTS,
    IDEMPOTENCY,
    AUTH_STAGING,
    AUDIT,
    PERSONS,
    DATA_KEYS,
    PROFILES,
)
CONTAINERS = (
    IMPORT_PAYLOADS,
    IMPORT_RESULT_BLOBS,
    IDEMPOTENT_ANSWERS,
    LICENSE_DOCUMENTS,
    DOCUMENT_BLOBS,
    DOCUMENT_DROP,
    DOCUMENT_REJECTED,
    ROW_DROP,
    ROW_DONE,
    ROW_REJECTED,
    ROW_RESULTS,
    ROW_PENDING,
    AUTH_BATCHES,
)
