import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.UUID;

/**
 * A small client of the gateway and a test of it, for Java 11 and newer, without packages. It needs
 * nothing but the variables of `dev.py run --env`:
 *
 *   set -a; . ./gateway.env; java standin/examples/java/PayrollClientTest.java
 */
public class PayrollClientTest {
    private static final HttpClient HTTP = HttpClient.newHttpClient();
    private static final String URL = System.getenv("GATEWAY_URL");
    private static final String STANDIN = System.getenv("GATEWAY_STANDIN_URL");
    private static final String ROW =
        "[{\"EmployerRef\":\"E1\",\"PersonnelRef\":\"1\",\"Surname\":\"Lovelace\"}]";

    /** The answer of an import; the call is repeated under one key where no answer comes. */
    static HttpResponse<String> importWorkers(String rows) throws Exception {
        String key = UUID.randomUUID().toString();
        for (int attempt = 1; ; attempt++) {
            HttpRequest request = HttpRequest.newBuilder()
                .uri(URI.create(URL + "/api/import/workers?version=1"))
                .header("X-Functions-Key", System.getenv("GATEWAY_FUNCTIONS_KEY"))
                .header("X-Software-Key", System.getenv("GATEWAY_SOFTWARE_KEY"))
                .header("Content-Type", "application/json")
                .header("Idempotency-Key", key)
                .POST(HttpRequest.BodyPublishers.ofString(rows))
                .build();
            try {
                return HTTP.send(request, HttpResponse.BodyHandlers.ofString());
            } catch (java.io.IOException noAnswer) {
                if (attempt == 4) {
                    throw noAnswer;
                }
                Thread.sleep(200);
            }
        }
    }

    private static String control(String method, String path, String body) throws Exception {
        HttpRequest request = HttpRequest.newBuilder()
            .uri(URI.create(STANDIN + path))
            .header("Content-Type", "application/json")
            .method(method, HttpRequest.BodyPublishers.ofString(body))
            .build();
        HttpResponse<String> answer = HTTP.send(request, HttpResponse.BodyHandlers.ofString());
        check(answer.statusCode() < 300, answer.body());
        return answer.body();
    }

    private static void check(boolean isTrue, String text) {
        if (!isTrue) {
            throw new AssertionError(text);
        }
    }

    /** A call whose answer was lost is repeated, and the gateway has done the work once. */
    public static void main(String[] arguments) throws Exception {
        String tenant = System.getenv("GATEWAY_TENANT");
        control("POST", "/faults", "{\"path\":\"/api/import/*\",\"tenant\":\"" + tenant
            + "\",\"times\":1,\"fault\":{\"lost\":\"after\"}}");
        HttpResponse<String> answer = importWorkers(ROW);
        check(answer.statusCode() == 200, answer.body());
        check(answer.body().contains("\"importStatus\":\"OK\""), answer.body());
        check(answer.headers().firstValue("Idempotent-Replayed").isPresent(), "not replayed");
        String journal = control("GET", "/requests?tenant=" + tenant, "");
        check(journal.contains("\"lost\""), journal);
        System.out.println("passed");
    }
}
