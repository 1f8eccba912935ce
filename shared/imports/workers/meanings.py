"""What the fields of workers mean, for the published schema: by model class and field.

Where the vendor's page says nothing of a field's values, the text says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_OPEN: Final = "The vendor publishes no list of values; any text is taken."
_CODE: Final = "A number of the vendor's; what each one stands for is not published."
_DAY: Final = "A calendar day; a time of day is ignored."
_METHOD: Final = (
    "BACS means a payment into the bank account, whose sort code is then checked against the "
    "tenant's list, where there is one; other values are not published."
)
_PRINT: Final = "The vendor's example is Electronic; other values are not published."
_ACCOUNT: Final = "One value, replaced whole; no message and no log shows it."


def _reference(what: str) -> str:
    return f"Code of the {what}; checked against the tenant's list, where one is loaded."


MEANINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "Worker": {
        "EmployerRef": "Reference of the employer; with PersonnelRef it is the worker's key.",
        "PersonnelRef": "Reference of the worker, unique within the employer.",
        "Surname": "Family name. A stored worker always has one.",
        "FirstForename": "First given name.",
        "SecondForename": "Second given name.",
        "ThirdForename": "Third given name.",
        "Title": f"Form of address, such as Mr. {_OPEN}",
        "KnownAs": "The name that the worker goes by.",
        "PreviousSurname": "Family name before a change of it.",
        "ExternalWorkerRef": "The worker's reference in another system. A document names its "
        "worker by it, or else by PersonnelRef.",
        "UserIndex": "A code for searching. Its use is not published; any text is taken.",
        "WorkerAddress": "Where the worker lives; one value, replaced whole.",
        "TelephoneNumber": "Telephone at home. Its form is not checked.",
        "Gender": _CODE,
        "DateOfBirth": f"{_DAY} One before 1900 or in the future gets a Warning.",
        "MaritalStatus": _OPEN,
        "Nationality": f"Nationality in words, such as British. {_OPEN}",
        "Citizenship": f"Country of citizenship. {_OPEN}",
        "PassportHeld": f"Which kind of passport the worker has, such as Full. {_OPEN}",
        "PassportNumber": "Number of the passport; no message and no log shows it.",
        "NextOfKin": "Name of the next of kin.",
        "NextOfKinRelation": f"How the next of kin is related to the worker. {_OPEN}",
        "NextOfKinAddress": "Where the next of kin lives; one value, replaced whole.",
        "NextOfKinTelephone": "Telephone of the next of kin. Its form is not checked.",
        "EmergencyContact": "Name of the person to tell in an emergency.",
        "EmergencyContactTelephone": "Telephone of that person. Its form is not checked.",
        "LastAddress": "The address before the present one; one value, replaced whole.",
        "WorkTelephone": "Telephone at work. Its form is not checked.",
        "WorkFax": "Fax at work. Its form is not checked.",
        "MobileTelephone": "Mobile telephone. Its form is not checked.",
        "PrimaryEmailAddress": "First e-mail address; one without an @ gets a Warning.",
        "SecondaryEmailAddress": "Second e-mail address; one without an @ gets a Warning.",
        "StartDate": f"First day of the employment. {_DAY}",
        "LeavingDate": f"Last day of the employment; before StartDate it gets a Warning. {_DAY}",
        "LeavingCode": f"Why the worker left. {_OPEN}",
        "DivisionRef": _reference("division"),
        "DepartmentRef": _reference("department"),
        "JobCategoryRef": _reference("job category"),
        "EmploymentType": f"Kind of employment, such as PAYE. {_OPEN}",
        "CurrencyRef": _reference("currency of the pay, such as GBP"),
        "ConsultantRef": _reference("consultant who looks after the worker"),
        "AnalysisCode": f"First analysis code of the customer. {_OPEN}",
        "AnalysisCode3": f"Third analysis code of the customer. {_OPEN}",
        "AnalysisCode4": f"Fourth analysis code of the customer. {_OPEN}",
        "AnalysisCode5": f"Fifth analysis code of the customer. {_OPEN}",
        "PersonnelNotes": "Notes of the personnel department; more than 10,000 characters "
        "get a Warning.",
        "PayrollNotes": "Notes of the payroll department; more than 10,000 characters get a "
        "Warning.",
        "EIREngagementStatus": "Status in reports of employment intermediaries to the UK's tax "
        f"authority, such as PAYE. {_OPEN}",
        "PrimaryPayMethod": f"How the first part of the pay goes out. {_METHOD}",
        "SecondaryPayMethod": f"How the second part of the pay goes out. {_METHOD}",
        "PrimaryBankDetails": f"Account of the first part of the pay. {_ACCOUNT}",
        "SecondaryBankDetails": f"Account of the second part of the pay. {_ACCOUNT}",
        "PayslipPrintMethod": f"How the worker gets payslips. {_PRINT}",
        "eP45PrintMethod": f"How the worker gets the P45 of a leaver. {_PRINT}",
        "STITemplate": "A template of the vendor's product STi. Its values are not published; any "
        "text is taken.",
        "STIUserRef": "The worker's user in the vendor's product STi. Its form is not published.",
        "IsStudent": "Whether the worker is a student.",
        "IsWorkerAlertedBySMS": "Whether the worker is told of news by text message.",
        "IsWorkerAlertedByEmail": "Whether the worker is told of news by e-mail.",
        "IsExpat": "Whether the worker works abroad for the employer.",
        "IsApprentice": "Whether the worker is an apprentice.",
        "IsExcludedFromWTR": "Whether the UK's Working Time Regulations do not apply.",
        "HasOnlineAccess": "Whether the worker may use the online portal.",
        "UKPayrollDetails": "What UK payroll needs to know; its fields merge one by one.",
    },
    "Address": {
        **{
            f"AddressLine{line}": f"Line {line} of the address, as it is written on an envelope."
            for line in range(1, 6)
        },
        "Postcode": "Postcode. In the UK one of another form gets a Warning.",
        "Country": "Name or code of the country; none means the UK. More than 100 characters, a "
        "question mark or an asterisk gets a Warning.",
    },
    "BankDetails": {
        "BankAccountType": _CODE,
        "BankRef": "Reference of the bank. Its form is not published; any text is taken.",
        "BuildingSocietyName": "Name of the building society, where the account is with one.",
        "BuildingSocietyNumber": "Roll number at the building society. Its form is not checked.",
        "BankSortCode": "Sort code: six digits without hyphens.",
        "BankAccountNumber": "Account number: 8 to 10 digits.",
        "BankAccountName": "Name of the account holder: at most 30 characters.",
        "IBAN": "International account number; wrong check digits get a Warning.",
        "BIC": "International code of the bank; other than 8 or 11 characters get a Warning.",
    },
    "UKPayroll": {
        "NINumber": "National Insurance number: two letters, six digits and a letter. Another "
        "form gets a Warning; no message and no log shows it.",
        "NITableLetter": "Category letter of National Insurance. The letters are those of the "
        "UK's tax authority and are not checked.",
        "IsContractedOut": "Whether the worker is contracted out of the state pension.",
        "PAYECode": "Tax code, such as 1257L. It is not checked.",
        "PAYEMethod": f"How tax is computed, cumulatively or for the period alone. {_CODE}",
        "TaxRegime": f"Which country's rates of income tax apply. {_OPEN}",
        "IsExcludedFromRegPension": "Whether the worker is left out of the registered pension.",
        "StartingDecCategory": "Which statement of the starter declaration holds. The UK's tax "
        "authority has A, B and C; the vendor publishes no list, and any text is taken.",
        "HasStudentLoan": "Whether the worker repays a student loan.",
        "StartingDecByEmployee": "Whether the worker made the starter declaration in person.",
        "OptIn": "A choice of the worker; what it is about is not published.",
        "StudentLoanPlanType": f"Plan of the student loan. {_OPEN}",
        "IsStudentFinishedStudies": "Whether the studies behind the student loan have ended.",
        "IsStudentLoanPaidExternally": "Whether the student loan is repaid outside of payroll.",
        "HasPostgradLoan": "Whether the worker repays a postgraduate loan.",
        "PostgradLoanPlanType": f"Plan of the postgraduate loan. {_OPEN}",
        "IsPostgradFinishedStudies": "Whether the studies behind the postgraduate loan have ended.",
        "IsPostgradLoanPaidExternally": "Whether the postgraduate loan is repaid outside of "
        "payroll.",
    },
}
