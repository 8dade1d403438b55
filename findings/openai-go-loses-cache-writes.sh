#!/bin/sh
# openai-go 3.99.0: OpenAI's own accumulator of a stream leaves out the cache writes, which have been billed since GPT-5.6.
#
# "Cache writes are billed at 1.25x the uncached input token rate and reported in `cache_write_tokens`" (developers.openai.com, prompt
# caching), a part of `prompt_tokens` as `cached_tokens` is. The SDK reads both of a whole answer and of a stream's last chunk.
# `ChatCompletionAccumulator` (streamaccumulator.go) adds usage up field by field, and this field is not among them: what it hands out
# has 0. Whoever prices it bills all that was written as ordinary input, a fifth less than OpenAI does, and nothing looks amiss: prompt, cached
# and total are right. The same list of fields lacks `text_tokens` and `image_tokens`.
# Seen of 2,600 tokens of prompt (prompt, cached, written): whole [2600 2000 400], the last chunk [2600 2000 400], accumulated [2600 2000 0].
# Exits 0 while this is so, 1 when it has changed. Needs Go 1.26.
set -eu
folder=$(mktemp -d)
trap 'chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
cd "$folder"
cat >ask.go <<'GO'
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

const (
	usage = `{"prompt_tokens": 2600, "completion_tokens": 300, "total_tokens": 2900,
		"prompt_tokens_details": {"cached_tokens": 2000, "cache_write_tokens": 400}}`
	base = `"id": "c", "created": 1, "model": "gpt-5.6"`
)

func answer(writer http.ResponseWriter, request *http.Request) {
	asked, _ := io.ReadAll(request.Body)
	if !strings.Contains(string(asked), `"include_usage"`) {
		writer.Header().Set("content-type", "application/json")
		fmt.Fprintf(writer, `{%s, "object": "chat.completion", "usage": %s, "choices":
			[{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Zebras."}}]}`, base, usage)
		return
	}
	writer.Header().Set("content-type", "text/event-stream")
	for _, rest := range []string{
		`"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Zebras."}, "finish_reason": null}], "usage": null`,
		`"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": null`,
		`"choices": [], "usage": ` + strings.ReplaceAll(usage, "\n", ""),
	} {
		fmt.Fprintf(writer, "data: {%s, \"object\": \"chat.completion.chunk\", %s}\n\n", base, rest)
	}
	fmt.Fprint(writer, "data: [DONE]\n\n")
}

func told(usage openai.CompletionUsage) []int64 {
	return []int64{usage.PromptTokens, usage.PromptTokensDetails.CachedTokens, usage.PromptTokensDetails.CacheWriteTokens}
}

func main() {
	server := httptest.NewServer(http.HandlerFunc(answer))
	client := openai.NewClient(option.WithBaseURL(server.URL+"/v1/"), option.WithAPIKey("none"))
	asked := openai.ChatCompletionNewParams{
		Model: "gpt-5.6", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Name an animal")},
	}
	whole, err := client.Chat.Completions.New(context.Background(), asked)
	if err != nil {
		panic(err)
	}
	asked.StreamOptions.IncludeUsage = openai.Bool(true)
	stream := client.Chat.Completions.NewStreaming(context.Background(), asked)
	all, last := openai.ChatCompletionAccumulator{}, openai.CompletionUsage{}
	for stream.Next() {
		last = stream.Current().Usage
		if !all.AddChunk(stream.Current()) {
			panic("not accumulated")
		}
	}
	if stream.Err() != nil {
		panic(stream.Err())
	}
	seen := fmt.Sprint("whole ", told(whole.Usage), ", the last chunk ", told(last), ", accumulated ", told(all.Usage))
	fmt.Println("openai-go 3.99.0 (prompt, cached, written): " + seen)
	if seen != "whole [2600 2000 400], the last chunk [2600 2000 400], accumulated [2600 2000 0]" {
		os.Exit(1)
	}
}
GO
go mod init -C . ask 2>/dev/null
go get github.com/openai/openai-go/v3@v3.99.0 2>/dev/null
go run ask.go
