import java.io.File;
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * A desk's system in small: hands a dossier in, and takes what comes back. Java's own library only.
 *
 * <pre>
 * java -Dfile.encoding=UTF-8 Client.java submit RECORD DOCUMENT     hand in; the same record again goes on where it stood
 * java -Dfile.encoding=UTF-8 Client.java receive CODE               take events over until this dossier has ended
 * </pre>
 *
 * What must survive a crash is in the folder store/: key and bytes of a request before they are sent, an event before it is acknowledged.
 * LGSP_API, LGSP_PARTY, LGSP_ACTOR and LGSP_TOKEN_FILE say where the adapter is, who calls, and with which token.
 */
public class Client {
    static final String API = setting("LGSP_API", "http://127.0.0.1:8480");
    static final HttpClient HTTP = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    static final Path REQUESTS = Path.of("store", "requests"), EVENTS = Path.of("store", "events");
    static final Set<String> ENDED = Set.of("returned", "refused", "withdrawn", "stopped", "supplement_expired");

    /** The adapter or the gateway will not have it. The reason is stable; sentences are for people. */
    static class Refused extends Exception {
        private static final long serialVersionUID = 1;
        final transient Map<String, Object> problem;

        Refused(Map<String, Object> problem) {
            super(String.valueOf(problem.get("title")));
            this.problem = problem;
        }
    }

    public static void main(String[] args) throws Exception {
        Files.createDirectories(REQUESTS);
        Files.createDirectories(EVENTS);
        for (Path folder : List.of(Path.of("store"), Path.of("."))) sync(folder);
        try {
            if (args.length == 3 && args[0].equals("submit")) {
                submit(args[1], Path.of(args[2]));
            } else if (args.length == 2 && args[0].equals("receive")) {
                receive(args[1]);
            } else {
                fail("submit RECORD DOCUMENT | receive CODE");
            }
        } catch (Refused refusal) {
            fail(advice(refusal));
        }
    }

    static void submit(String record, Path document) throws Exception {
        int number = 1;
        while (read(REQUESTS.resolve(record + "-" + number + ".state")).equals("refused")) number++;
        String key = record + "-" + number;
        Path request = REQUESTS.resolve(key + ".json"), state = REQUESTS.resolve(key + ".state");
        if (read(state).startsWith("admitted ")) {
            System.out.println(record + ": " + read(state).substring(9) + ", admitted before");
            return;
        }
        String name = URLEncoder.encode(document.getFileName().toString(), StandardCharsets.UTF_8);
        String uploaded = call("/v1/documents?file_name=" + name, Files.readAllBytes(document), "Content-Type", "application/pdf");
        // If it is there, we do not know what became of it: the same bytes under the same key.
        if (!Files.exists(request)) keep(request, dossier(uploaded));
        try {
            call("/v1/dossiers", Files.readAllBytes(request), "Content-Type", "application/json", "Idempotency-Key", key);
        } catch (Refused refusal) {
            if (!isKnown(key)) { // else it was taken in the time before, and this says nothing about it
                endWith(refusal, key, state);
            }
        }
        Map<String, Object> outcome;
        while (true) {
            outcome = object(Json.parse(call("/v1/requests/" + key + "?wait_ms=30000", null)));
            if (outcome.get("state").equals("admitted")) break;
            if (outcome.get("state").equals("refused")) {
                endWith(new Refused(object(outcome.get("problem"))), key, state);
            }
            System.err.println("it is safe with the adapter and waits for the line");
        }
        keep(state, "admitted " + outcome.get("dossier_code"));
        System.out.println(record + ": " + outcome.get("dossier_code") + ", due " + object(outcome.get("receipt")).get("due_at"));
    }

    static boolean isKnown(String key) throws Exception {
        try {
            return call("/v1/requests/" + key, null) != null;
        } catch (Refused refusal) {
            if (!"REQUEST_NOT_FOUND".equals(refusal.problem.get("reason"))) throw refusal;
            return false;
        }
    }

    /** A refused request is over, and its record free for a new key: but not when the key is of a request that may be this one. */
    static void endWith(Refused refusal, String key, Path state) throws IOException {
        if (!"KEY_REUSED".equals(refusal.problem.get("reason"))) keep(state, "refused");
        fail(key + ": " + advice(refusal));
    }

    /** What to do is decided by the reason. Whatever is corrected goes under a new key: submit takes one. */
    static String advice(Refused refusal) {
        String reason = String.valueOf(refusal.problem.get("reason"));
        return switch (reason) {
            case "FIELD_INVALID" -> "a clerk has to correct: " + refusal.problem.get("fields");
            case "KEY_REUSED" -> "another request has this key, perhaps this very dossier from before; look for it before anything is handed in again";
            default -> reason + ": " + refusal.getMessage() + " " + refusal.problem.get("remedy");
        };
    }

    /** In earnest this is filled from your own record, the time too: written here, it is the same however often it is sent. */
    static String dossier(String document) {
        return """
            { "procedure_code": "1.001193", "locality": "19774", "return_desk": "H57.TT",
              "received_at": "%s",
              "applicant": { "kind": "citizen", "full_name": "Nguyễn Thị Thử", "personal_number": "046190000001" },
              "intake_channel": "direct", "return_channel": "direct",
              "components": [{ "code": "to-khai", "originals": 1, "document": %s }] }
            """.formatted(Instant.now().truncatedTo(ChronoUnit.SECONDS), document);
    }

    static void receive(String code) throws Exception {
        while (!hasEnded(code)) {
            String page = call("/v1/inbox?page_size=1&wait_ms=30000", null); // one at a time, to store it as it came
            for (Object each : (List<?>) object(Json.parse(page)).get("deliveries")) {
                Map<String, Object> delivery = object(each);
                String kind = (String) object(delivery.get("event")).get("type");
                String name = delivery.get("dossier_code") + " " + delivery.get("sequence") + " " + kind;
                Path file = EVENTS.resolve(name);
                // An event that comes again finds its file there and has no effect.
                if (!Files.exists(file)) {
                    keep(file, page);
                    System.out.println(name);
                }
                String named = "{ \"dossier_code\": \"%s\", \"sequence\": %s }".formatted(delivery.get("dossier_code"), delivery.get("sequence"));
                byte[] body = ("{ \"deliveries\": [" + named + "] }").getBytes(StandardCharsets.UTF_8);
                call("/v1/inbox/ack", body, "Content-Type", "application/json");
            }
        }
    }

    static boolean hasEnded(String code) throws IOException {
        try (var files = Files.list(EVENTS)) {
            return files.map(file -> file.getFileName().toString().split(" "))
                .anyMatch(words -> words.length == 3 && words[0].equals(code) && ENDED.contains(words[2]));
        }
    }

    /** One call, repeated while the outcome is unknown or "not now": that is safe, because the key is the same. */
    static String call(String path, byte[] body, String... headers) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(API + path)).timeout(Duration.ofSeconds(60));
        request.header("LGSP-Party", setting("LGSP_PARTY", "H57.101")).header("LGSP-Actor", setting("LGSP_ACTOR", "cb01"));
        String token = setting("LGSP_TOKEN_FILE", "");
        if (!token.isEmpty()) request.header("Authorization", "Bearer " + Files.readString(Path.of(token)).strip());
        if (headers.length > 0) request.headers(headers);
        if (body != null) request.POST(BodyPublishers.ofByteArray(body));
        for (int attempt = 0; attempt < 6; attempt++) {
            Object why;
            try {
                var answer = HTTP.send(request.build(), BodyHandlers.ofString());
                int status = answer.statusCode();
                if (status < 300) return answer.body();
                if (status != 429 && status < 500) throw new Refused(object(Json.parse(answer.body())));
                why = status;
            } catch (IOException error) { // no connection, or it broke off before the answer
                why = error;
            }
            System.err.println("not yet (" + why + ")");
            Thread.sleep(200L << attempt);
        }
        fail("the adapter does not answer; run the same command again later");
        return null;
    }

    /** Writes a file that is whole or not there, and on disk; with the folder, which has its name. */
    static void keep(Path path, String text) throws IOException {
        Path part = path.resolveSibling(path.getFileName() + ".tmp");
        Files.writeString(part, text);
        try (var file = FileChannel.open(part, StandardOpenOption.WRITE)) {
            file.force(true);
        }
        Files.move(part, path, StandardCopyOption.ATOMIC_MOVE);
        sync(path.getParent());
    }

    /** Puts the names in a folder on disk. Windows opens none: there a new file outlives a kill, and perhaps not a power cut. */
    static void sync(Path folder) throws IOException {
        if (File.separatorChar == '\\') return;
        try (var names = FileChannel.open(folder, StandardOpenOption.READ)) {
            names.force(true);
        }
    }

    static String read(Path path) throws IOException {
        return Files.exists(path) ? Files.readString(path) : "";
    }

    static String setting(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }

    static void fail(String why) {
        System.err.println(why);
        System.exit(1);
    }

    @SuppressWarnings("unchecked")
    static Map<String, Object> object(Object json) {
        return (Map<String, Object>) json;
    }

    /** Reads JSON that a trusted neighbour wrote; Java has no reader of its own. In earnest take a library. */
    static class Json {
        final String text;
        int at;

        Json(String text) {
            this.text = text;
        }

        static Object parse(String text) {
            return new Json(text).value();
        }

        Object value() {
            blank();
            switch (text.charAt(at)) {
                case '{': {
                    var map = new LinkedHashMap<String, Object>();
                    for (at++; !ends('}'); ) {
                        String name = string();
                        blank();
                        at++; // the colon
                        map.put(name, value());
                    }
                    return map;
                }
                case '[': {
                    var list = new ArrayList<Object>();
                    for (at++; !ends(']'); ) list.add(value());
                    return list;
                }
                case '"':
                    return string();
                default: {
                    int from = at;
                    while (at < text.length() && ",]} \n\r\t".indexOf(text.charAt(at)) < 0) at++;
                    String word = text.substring(from, at);
                    if (word.equals("true") || word.equals("false")) return Boolean.valueOf(word);
                    return word.equals("null") ? null : new java.math.BigDecimal(word);
                }
            }
        }

        /** Whether the list ends here; passes over its end, or the comma before the next. */
        boolean ends(char end) {
            blank();
            if (text.charAt(at) == ',') at++;
            blank();
            if (text.charAt(at) != end) return false;
            at++;
            return true;
        }

        String string() {
            blank();
            var out = new StringBuilder();
            for (at++; text.charAt(at) != '"'; at++) {
                char c = text.charAt(at);
                if (c == '\\') {
                    c = text.charAt(++at);
                    if (c == 'u') {
                        c = (char) Integer.parseInt(text.substring(at + 1, at + 5), 16);
                        at += 4;
                    } else {
                        int escape = "nrtbf".indexOf(c);
                        if (escape >= 0) c = "\n\r\t\b\f".charAt(escape);
                    }
                }
                out.append(c);
            }
            at++;
            return out.toString();
        }

        void blank() {
            while (at < text.length() && Character.isWhitespace(text.charAt(at))) at++;
        }
    }
}
