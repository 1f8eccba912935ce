"""The namespaces of the vendor's .NET DataContract XML (CONTRACTS 2), as lxml writes names.

Names are `{namespace}Local`: prefixes mean nothing, and the namespace of what comes in is another
one than that of what goes out.
"""

from __future__ import annotations

from typing import Final

_CONTRACTS = "http://schemas.datacontract.org/2004/07/"

INSTANCE: Final = "http://www.w3.org/2001/XMLSchema-instance"
INPUT: Final = f"{_CONTRACTS}BDBPayroll.Integration.ServiceContracts.Data.Models"
OUTPUT: Final = f"{_CONTRACTS}BDBPayroll.Integration.Data.Models"
DATES: Final = f"{_CONTRACTS}EntireOne.Shared.Dates"
KEYS: Final = f"{_CONTRACTS}BDBPayroll.Services.Data.Shared.Keys"
STRINGS: Final = "http://schemas.microsoft.com/2003/10/Serialization/Arrays"

NIL: Final = f"{{{INSTANCE}}}nil"
ROOT: Final = f"{{{INPUT}}}ArrayOfEmployeeLicenseImportDTO"
ROW: Final = f"{{{INPUT}}}EmployeeLicenseImportDTO"
DOCUMENT: Final = f"{{{INPUT}}}DivisionDocumentSubImportDTO"
YEAR, MONTH, DAY = (f"{{{DATES}}}{part}" for part in ("Year", "Month", "Day"))
ENTITY_KEY, HAS_VALUE, VALUE = (
    f"{{{KEYS}}}{part}" for part in ("_entityKey", "_hasValue", "_value")
)


def pascal(name: str) -> str:
    """The spelling of a contract name in XML: `isShowingOnESS` as `IsShowingOnESS`."""
    return name[:1].upper() + name[1:]
