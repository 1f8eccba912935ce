// Plain Java: posts workers with HttpURLConnection or with HttpClient, neither of them told about
// Content-Type or Accept, and prints status and body. Arguments: which, address, two keys, body.

import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;

public class WorkersClient {
    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("HttpClient")) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[1]))
                    .header("X-Functions-Key", arguments[2])
                    .header("X-Software-Key", arguments[3])
                    .POST(HttpRequest.BodyPublishers.ofString(arguments[4]))
                    .build();
            HttpResponse<String> response = HttpClient.newHttpClient()
                    .send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(response.statusCode() + " " + response.body());
            return;
        }
        HttpURLConnection connection = (HttpURLConnection) new URL(arguments[1]).openConnection();
        connection.setRequestMethod("POST");
        connection.setRequestProperty("X-Functions-Key", arguments[2]);
        connection.setRequestProperty("X-Software-Key", arguments[3]);
        connection.setDoOutput(true);
        connection.getOutputStream().write(arguments[4].getBytes(StandardCharsets.UTF_8));
        int status = connection.getResponseCode();
        var stream = status < 400 ? connection.getInputStream() : connection.getErrorStream();
        System.out.println(status + " " + new String(stream.readAllBytes(), StandardCharsets.UTF_8));
    }
}
