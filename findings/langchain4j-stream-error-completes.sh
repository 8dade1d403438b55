#!/bin/sh
# langchain4j 1.19.0 (langchain4j-open-ai): a stream that ends in an error is told as complete, with the text so far.
#
# Servers whose answer fails after its first words say so in the stream, where a status cannot: `data: {"error": {…}}` and then
# `[DONE]` (vLLM's api_server; OpenAI's own SDKs raise at such an event; OpenRouter documents one with `error` beside `choices`).
# `OpenAiStreamingChatModel` reads the event as a chunk without choices: `onCompleteResponse` comes, `onError` never does. What the
# caller has is half an answer that looks like a whole one; only that `finishReason` and `tokenUsage` are null tells of it.
# Seen of both forms of the event: complete with "Zebras have ", no reason, no usage. The same error as a status (500) is told to `onError`.
# Exits 0 while this is so, 1 when it has changed. Needs Java 17 and Maven.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/pom.xml" <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>a</groupId>
  <artifactId>a</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>dev.langchain4j</groupId><artifactId>langchain4j-open-ai</artifactId><version>1.19.0</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>2.0.17</version></dependency>
  </dependencies>
</project>
XML
cat >"$folder/Ask.java" <<'JAVA'
import com.sun.net.httpserver.HttpServer;
import dev.langchain4j.model.chat.response.ChatResponse;
import dev.langchain4j.model.chat.response.StreamingChatResponseHandler;
import dev.langchain4j.model.openai.OpenAiStreamingChatModel;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

class Ask {
    static final String ERROR = "\"error\":{\"message\":\"The engine is gone.\",\"type\":\"server_error\",\"code\":500}";
    static final String BASE = "\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\"";

    static String chunk(String delta, String reason, String more) {
        return "data: {" + BASE + more + ",\"choices\":[{\"index\":0,\"delta\":" + delta + ",\"finish_reason\":" + reason + "}]}\n\n";
    }

    static String answer(String model) {
        String begun = chunk("{\"role\":\"assistant\",\"content\":\"Zebras \"}", "null", "") + chunk("{\"content\":\"have \"}", "null", "");
        return switch (model) {
            case "alone" -> begun + "data: {" + ERROR + "}\n\ndata: [DONE]\n\n";
            case "beside-choices" -> begun + chunk("{\"content\":\"\"}", "\"error\"", "," + ERROR) + "data: [DONE]\n\n";
            default -> "{" + ERROR + "}";
        };
    }

    public static void main(String[] models) throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
        server.createContext("/", exchange -> {
            String asked = new String(exchange.getRequestBody().readAllBytes(), StandardCharsets.UTF_8);
            String model = asked.replaceAll("(?s).*\"model\"\\s*:\\s*\"([^\"]*)\".*", "$1");
            byte[] body = answer(model).getBytes(StandardCharsets.UTF_8);
            boolean stream = !model.equals("status");
            exchange.getResponseHeaders().set("content-type", stream ? "text/event-stream" : "application/json");
            exchange.sendResponseHeaders(stream ? 200 : 500, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
        for (String model : models) {
            var told = new CompletableFuture<String>();
            OpenAiStreamingChatModel.builder()
                .baseUrl("http://127.0.0.1:" + server.getAddress().getPort() + "/v1").apiKey("none").modelName(model).build()
                .chat("Name an animal", new StreamingChatResponseHandler() {
                    public void onPartialResponse(String part) {}

                    public void onCompleteResponse(ChatResponse whole) {
                        told.complete("complete " + whole.aiMessage().text() + "| " + whole.finishReason() + " " + whole.tokenUsage());
                    }

                    public void onError(Throwable error) {
                        told.complete("error " + error.getClass().getSimpleName());
                    }
                });
            System.out.println(model + ": " + told.get(30, TimeUnit.SECONDS));
        }
        System.exit(0);
    }
}
JAVA
mvn -q -B -f "$folder/pom.xml" -Dmaven.repo.local="$folder/m2" dependency:copy-dependencies -DoutputDirectory="$folder/lib"
seen=$(java -cp "$folder/lib/*" "$folder/Ask.java" alone beside-choices status)
echo "langchain4j 1.19.0:
$seen"
[ "$seen" = 'alone: complete Zebras have | null null
beside-choices: complete Zebras have | null null
status: error InternalServerException' ]
