// A .NET client of licenses: objects are serialized by DataContract with the vendor's namespaces,
// posted with HttpClient, and the answer is read by DataContractSerializer.
// Arguments: address, function key, software key, the content type or "xml".
// It prints one line: new records, updated records, "index:property" of each error, import key.
using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Runtime.Serialization;

namespace Payroll.Clients
{
    static class Namespaces
    {
        const string Root = "http://schemas.datacontract.org/2004/07/";
        public const string Input = Root + "BDBPayroll.Integration.ServiceContracts.Data.Models";
        public const string Output = Root + "BDBPayroll.Integration.Data.Models";
        public const string Dates = Root + "EntireOne.Shared.Dates";
        public const string Keys = Root + "BDBPayroll.Services.Data.Shared.Keys";
    }

    [DataContract(Namespace = Namespaces.Dates)]
    public struct Date
    {
        [DataMember] public int Day;
        [DataMember] public int Month;
        [DataMember] public int Year;
    }

    [DataContract(Namespace = Namespaces.Keys)]
    public struct EntityKey
    {
        [DataMember] public bool _hasValue;
        [DataMember] public Guid _value;
    }

    [DataContract(Namespace = Namespaces.Keys)]
    public struct GlobalKey
    {
        [DataMember] public EntityKey _entityKey;
    }

    [DataContract(Namespace = Namespaces.Input)]
    public class DivisionDocumentSubImportDTO
    {
        [DataMember] public byte[] Content;
        [DataMember] public string DocumentTypeCode;
        [DataMember] public string MimeType;
        [DataMember] public string Name;
        [DataMember] public string SourcePath;
    }

    [DataContract(Namespace = Namespaces.Input)]
    public class ReminderSubDTO
    {
        [DataMember] public bool IsShowingOnDashboard;
        [DataMember] public bool IsShowingOnESS;
        [DataMember] public bool IsShowingOnPayStub;
        [DataMember] public int Offset;
        [DataMember] public string OffsetDirection;
    }

    [DataContract(Namespace = Namespaces.Input)]
    public class EmployeeLicenseImportDTO
    {
        [DataMember] public string CompanyCode;
        [DataMember] public string DivisionCode;
        [DataMember] public List<DivisionDocumentSubImportDTO> Documents;
        [DataMember] public string EmployeeNumber;
        [DataMember] public int EmployeePersonalId;
        [DataMember] public Date ExpirationDate;
        [DataMember] public Date IssuedDate;
        [DataMember] public string LicenseCertificateCode;
        [DataMember] public GlobalKey LicenseKey;
        [DataMember] public string LicenseNumber;
        [DataMember] public string LicenseTypeCode;
        [DataMember] public string Notes;
        [DataMember] public ReminderSubDTO Reminder;
        [DataMember] public Guid SerializableLicenseKey;
        [DataMember] public string StateCode;
    }

    [DataContract(Namespace = Namespaces.Output)]
    public class ImportErrorDetailsDTO
    {
        [DataMember] public int? ArrayIndex;
        [DataMember] public List<string> ErrorMessages;
        [DataMember] public string PropertyName;
    }

    [DataContract(Namespace = Namespaces.Output)]
    public class ImportErrorDTO
    {
        [DataMember] public List<ImportErrorDetailsDTO> Details;
        [DataMember] public int Index;
    }

    [DataContract(Namespace = Namespaces.Output)]
    public class ImportKeyDTO
    {
        [DataMember] public int Index;
        [DataMember] public string Key;
    }

    [DataContract(Namespace = Namespaces.Output)]
    public class ImportResultDTO
    {
        [DataMember] public List<ImportErrorDTO> Errors;
        [DataMember] public GlobalKey ImportKey;
        [DataMember] public List<ImportKeyDTO> NewRecordKeys;
        [DataMember] public int NewRecords;
        [DataMember] public List<ImportKeyDTO> UpdatedRecordKeys;
        [DataMember] public int UpdatedRecords;
    }

    public static class LicenseClient
    {
        static EmployeeLicenseImportDTO License(string number, string notes)
        {
            return new EmployeeLicenseImportDTO
            {
                CompanyCode = "C1",
                EmployeeNumber = "7",
                LicenseTypeCode = "RN",
                LicenseNumber = number,
                Notes = notes,
            };
        }

        public static int Main(string[] arguments)
        {
            var full = License("L1", "B\u00e4r");
            full.IssuedDate = new Date { Year = 2020, Month = 2, Day = 29 };
            full.EmployeePersonalId = 5;
            full.Reminder = new ReminderSubDTO { Offset = 3, OffsetDirection = "After" };
            full.Documents = new List<DivisionDocumentSubImportDTO>
            {
                new DivisionDocumentSubImportDTO { Name = "a.pdf", Content = new byte[] { 1, 2 } },
            };
            // The second license is of the same key as the first; the third has a control character.
            var rows = new List<EmployeeLicenseImportDTO>
            {
                full, License("L1", null), License("L3", "a\u0001b"), License("L4", null),
            };
            var serializer = new DataContractSerializer(typeof(List<EmployeeLicenseImportDTO>));
            var body = new MemoryStream();
            serializer.WriteObject(body, rows);
            var request = new HttpRequestMessage(HttpMethod.Post, arguments[0]);
            request.Content = new ByteArrayContent(body.ToArray());
            request.Content.Headers.ContentType = MediaTypeHeaderValue.Parse(arguments[3]);
            request.Headers.Add("X-Functions-Key", arguments[1]);
            request.Headers.Add("X-Software-Key", arguments[2]);
            request.Headers.ExpectContinue = false;
            var response = new HttpClient().SendAsync(request).Result;
            var answer = response.Content.ReadAsByteArrayAsync().Result;
            if (!response.IsSuccessStatusCode)
            {
                Console.WriteLine((int)response.StatusCode + " " + System.Text.Encoding.UTF8.GetString(answer));
                return 1;
            }
            var reader = new DataContractSerializer(typeof(ImportResultDTO));
            var result = (ImportResultDTO)reader.ReadObject(new MemoryStream(answer));
            var errors = from error in result.Errors
                         from detail in error.Details
                         select error.Index + ":" + detail.PropertyName;
            Console.WriteLine(string.Join(" ", new[]
            {
                response.Content.Headers.ContentType.MediaType,
                result.NewRecords.ToString(),
                result.UpdatedRecords.ToString(),
                string.Join(",", errors),
                result.ImportKey._entityKey._value.ToString(),
            }));
            return 0;
        }
    }
}
