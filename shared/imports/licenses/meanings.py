"""What the fields of licenses mean, for the published schema: by model class and field.

Where the vendor's page says nothing of a field's values, the text says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_OPEN: Final = "The vendor publishes no list of values; any text is taken."
_DAY: Final = "A calendar day; a time of day is ignored. 0/0/0 in XML means none."

_IDENTITY: Final[Mapping[str, str]] = {
    "companyCode": "Code of the company; in every row.",
    "divisionCode": "Code of the division within the company. It is not checked.",
    "employeeNumber": "The employee's number in the company. It is not checked against workers.",
    "employeePersonalId": "The employee's personal id; 0 means none.",
    "licenseTypeCode": f"Which kind of license it is. {_OPEN}",
    "licenseNumber": "The license's own number. Its form is not checked.",
    "licenseKey": "The license's guid. Given, it alone decides which license is meant; `<empty>` "
    "and all zeros mean none.",
    "serializableLicenseKey": "The same guid under another name; both must agree.",
}
MEANINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "LicenseIdentity": _IDENTITY,
    "License": {
        **_IDENTITY,
        "licenseCertificateCode": f"Code of the certificate. {_OPEN}",
        "issuedDate": f"First day of the license. {_DAY}",
        "expirationDate": f"Last day of the license; before issuedDate it gets a Warning. {_DAY}",
        "reminder": "When and where the employee is reminded of the end; its fields merge one by "
        "one.",
        "notes": "Notes on the license; more than 10,000 characters get a Warning.",
        "stateCode": "Code of the state that issued the license. It is not checked.",
        "documents": "Files of the license. Merge and Update add them or replace those of the "
        "same name and type; the other actions replace the list.",
    },
    "LicenseReminder": {
        "isShowingOnDashboard": "Whether the reminder shows on the dashboard.",
        "isShowingOnPayStub": "Whether the reminder shows on the pay stub.",
        "isShowingOnESS": "Whether the reminder shows in employee self-service.",
        "offset": "How far from the expiration date the reminder is. The unit is not published.",
        "offsetDirection": "Whether the reminder is before or after the expiration date.",
    },
    "LicenseDocument": {
        "content": "The file's bytes in base64. No message shows them.",
        "name": "The file's name; with documentTypeCode it tells the license's files apart.",
        "sourcePath": "Where the file came from. It is kept and never opened.",
        "mimeType": "Media type of the file. It is not checked.",
        "documentTypeCode": f"Which kind of document it is. {_OPEN}",
        "sha256": "The SHA-256 of the stored bytes in hexadecimal, as it is read back. A document "
        "without content keeps its stored bytes if they have it.",
    },
}
