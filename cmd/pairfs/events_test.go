package main

import (
	"encoding/json"
	"testing"
)

// TestEventCode: the code is a field of its own, and null where an event has none.
func TestEventCode(t *testing.T) {
	for line, want := range map[string]string{
		"7 2026-11-22T19:00:00.000Z error pair/db DC0x: P-VOL is PSUE: why": `{"id":7,"time":"2026-11-22T19:00:00.000Z","level":"error","object":"pair/db","code":"DC0x","text":"P-VOL is PSUE: why"}`,
		"8 2026-11-22T19:00:01.000Z info site: up":                          `{"id":8,"time":"2026-11-22T19:00:01.000Z","level":"info","object":"site","code":null,"text":"up"}`,
	} {
		e, err := parseEvent(line)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(e); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v", line, got, err)
		}
	}
	if _, err := parseEvent("7 now error pair/db DC0x more: text"); err == nil {
		t.Error("a line of six words was taken")
	}
}
