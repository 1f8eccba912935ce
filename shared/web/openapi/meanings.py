"""What each property of the answers means, for the published document.

A name that means different things is listed as `Component.name`, the others once. The fields of
rows have their meanings beside their models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

MEANINGS: Final[Mapping[str, str]] = {
    # Refusals, messages and the catalogue of messages
    "Refusal.message": "One sentence that says what is wrong and what to do.",
    "message": "What is wrong, or worth knowing, and what to do about it.",
    "CatalogueEntry.message": "The beginning of every message of this id.",
    "messageType": "`Error`: the row failed. A `Warning` or an `Info` does not make a row fail.",
    "errorID": "The id of the message; it stays the same from version to version.",
    "advice": "What to do about messages of this id.",
    "errors": "Every message that a row can get.",
    # Imports and their rows
    "importId": "The id of the import.",
    "type": "The import type.",
    "state": "The state of the import; docs/values.md explains each.",
    "rows": "Counts of rows; once the import has ended, total is the sum of the four outcomes.",
    "total": "Rows of the payload.",
    "done": "Rows that have a result.",
    "new": "Rows that made a record.",
    "updated": "Rows that changed a stored record.",
    "unchanged": "Rows whose record already said what they say.",
    "failed": "Rows with an Error; they changed nothing.",
    "warnings": "Rows that have a Warning.",
    "infos": "Rows that have an Info.",
    "cancelled": "Failed rows that a cancel ended; only of a cancelled import.",
    "rowsPerSecond": "The average so far; null while it is not known.",
    "secondsLeft": "An estimate in seconds; null while it is not known.",
    "acceptedAt": "When the gateway accepted the import, in UTC.",
    "endedAt": "When the last row was done, in UTC; null while the import is open.",
    "at": "When the act was begun, in UTC.",
    "action": "What was done.",
    "AuditEntry.state": "How the act ended: `begun`, `done` or `refused`.",
    "AuditEntry.caller": "Who did it; null where it is not known.",
    "target": "What it was done to, by names and ids.",
    "before": "What the act changed, as it was; null where there was nothing.",
    "after": "The same as it is since; null where there is nothing.",
    "caller": "Who had the import made; null where it is not known.",
    "source": "The name of the file that was sent; null where the call names none.",
    "bodySha256": "A keyed hash of the body. Imports with the same one had the same body; what was "
    "in the body cannot be guessed from it. Null where there was no body.",
    "parentId": "The import that this one is a retry of; null where it is no retry.",
    "links": "The addresses that can be used now, by name.",
    "createdAt": "When the record was made, in UTC; null where it is not known.",
    "createdBy": "The id of the import that made the record; null where it is not known.",
    "changedAt": "When the record was last changed, in UTC; null where it is not known.",
    "changedBy": "The id of the import that last changed the record; null where it is not known.",
    "key": "The fields that name the row's record, as far as the row has them.",
    "outcome": "What became of the row: `new`, `updated`, `unchanged` or `failed`.",
    "JudgedRow.outcome": "What an import would make of the row.",
    "messages": "All messages of the row.",
    "changes": "What would change in the record, field by field.",
    "dryRun": "Always true: nothing was imported.",
    "items": "The entries of this page.",
    "continuation": "Send it as `continuation` to get the next page; null on the last page.",
    # Pay & Bill
    "results": "One result for each row, in the order of the payload.",
    "recordIds": "The fields that name the record, as far as the row has them.",
    "PayAndBillRow.field": "The name of a key field.",
    "PayAndBillRow.value": "Its value in the row.",
    "importStatus": "`Error` where a message is an Error, else `Warning` where one is a Warning, "
    "else `OK`.",
    "errorCount": "How many messages are Errors.",
    "warningCount": "How many messages are Warnings.",
    "infoCount": "How many messages are Infos.",
    # Licenses
    "newRecords": "How many licenses were made.",
    "updatedRecords": "How many licenses were changed.",
    "LicensesAnswer.errors": "The rows that failed.",
    "index": "The row's place in the payload, from 0.",
    "details": "What is wrong with the row, by property.",
    "propertyName": "The property; empty where a message is about the whole row.",
    "arrayIndex": "The place in the list that the property is in, from 0.",
    "errorMessages": "What is wrong with the property, and what to do.",
    "newRecordKeys": "The licenses that were made, with their rows.",
    "updatedRecordKeys": "The licenses that were changed, with their rows.",
    "LicensesAnswer.key": "The license's key.",
    # Documents
    "pageNumber": "Always 1, since the answer is about one document.",
    "pageSize": "Always 1.",
    "totalPages": "Always 1.",
    "totalCount": "Always 1.",
    "documentId": "The id of the document; a later upload of the same name keeps it.",
    "importTime": "When the gateway took the document in, in UTC.",
    "workerexternalId": "The worker's ExternalWorkerRef, or else the PersonnelRef.",
    "communicationRoundCode": "The round that the document was sent to.",
    "fileName": "The name of the file.",
    "contentType": "The media type of the file.",
    "generationTime": "When the document was made, in UTC.",
    "content": "The address of the file.",
    "isSummary": "Absent or false: summaries cannot be imported.",
    "file": "The file, with its name. It is the only file of the form.",
    # Authentication data
    "fileLogId": "The id of the batch; left out of a call, the gateway makes one.",
    "employee": "The records of the batch, each an employee.",
    "totalNew": "Employees that were not stored before.",
    "totalRecords": "Records that were sent.",
    "totalUpdates": "Employees that were changed.",
    "totalErrors": "Records that failed.",
    "totalNoChange": "Employees whose record already said what was sent.",
    "totalEmpIdUpdate": "Employees that got another id.",
    "totalAuthValueChange": "Employees whose authentication values changed.",
    "totalStatusChange": "Employees whose status changed.",
    "totalDuplicates": "Records that were left out as duplicates of another record of the batch.",
    "duplicateAuthValues": "Employees whose authentication values another employee has too.",
    "employeeId": "The employee's id.",
    "authValue1": "Hidden where there is a value, else null.",
    "authValue2": "Hidden where there is a value, else null.",
    "authValue3": "Hidden where there is a value, else null.",
    "thresholdExceptions": "The thresholds of the tenant that the batch exceeds, as sentences.",
    "errorDetails": "The records that failed.",
    "line": "The record's place among those that were sent, from 1.",
    "AuthdataAnswer.value": "What is wrong with the record.",
    "employeeDetails": "What became of each employee.",
    "Key": "The employee's id.",
    "Value": "What became of the employee.",
    # Capabilities
    "Capabilities.version": "The version of the gateway.",
    "MessageType.version": "A version of the import type.",
    "messageTypes": "The import types that the gateway takes.",
    "schema": "The address of the schema of a row; null where the type has none.",
    "keyFields": "The fields that name a record.",
    "waitsFor": "The types whose earlier imports an import of this type waits for.",
    "calls": "The calls that take rows of this type.",
    "method": "The HTTP method.",
    "path": "The address.",
    "sends": "The media types that the call takes.",
    "answers": "The media types that the call answers with.",
    "limits": "The limits in force. What is over one is refused before any row runs.",
    "bodyBytes": "Bytes of a body.",
    "documentBytes": "Bytes of a document's file.",
    "dryRunRows": "Rows of a dry run.",
    "waitSeconds": "Seconds that a call waits for the result before it answers 202.",
    "idempotencySeconds": "Seconds that an Idempotency-Key is remembered.",
    "rowBytes": "Bytes of a row.",
    "rowValues": "Values in a row.",
    "objectNames": "Property names in an object.",
    "nameCharacters": "Characters of a property name.",
    "rowMessages": "Messages of a row that are kept.",
    "Capabilities.rows": "Rows of an import.",
    "status": "`ok`: tables, queues and blobs answer.",
    # Tokens
    "access_token": "The token: send it as `Authorization: Bearer`.",
    "token_type": "Always `Bearer`.",
    "expires_in": "Seconds until the token expires.",
    "scope": "The scopes that the token is good for, with spaces between them.",
    "error": "The code of the fault by RFC 6749.",
    "error_description": "What is wrong, and what to do.",
    "keys": "The public keys that tokens are signed with.",
    "grant_type": "Always `client_credentials`.",
    "client_id": "The id of the client.",
    "client_secret": "The secret of the client, shown once when it is made.",
}


def with_meanings(schema: Any, owner: str = "") -> Any:
    """The schema with a description of each property that has none; `owner` is its component."""
    if isinstance(schema, list):
        return [with_meanings(item, owner) for item in schema]
    if not isinstance(schema, dict):
        return schema
    described = {name: with_meanings(value, owner) for name, value in schema.items()}
    properties = described.get("properties")
    if isinstance(properties, dict):
        described["properties"] = {
            name: _described(name, value, owner) for name, value in properties.items()
        }
    return described


def _described(name: str, schema: Any, owner: str) -> Any:
    meaning = MEANINGS.get(f"{owner}.{name}", MEANINGS.get(name, ""))
    if "description" in schema or not meaning:
        return schema
    return {**schema, "description": meaning}
