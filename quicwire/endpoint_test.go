package quicwire

import (
	"context"
	"testing"
	"time"
)

func TestRequestIsAnswered(t *testing.T) {
	a, b := newSite(t, "tokyo"), newSite(t, "osaka")
	pin(t, a, b)
	b.serve = func(_ context.Context, peer string, req Frame, _ SendFunc) Frame {
		if peer != "tokyo" {
			t.Errorf("request from %q", peer)
		}
		return NewResult(ResultDone, req.(*CreatePair).Pair)
	}
	got, err := a.Request(t.Context(), "osaka", &CreatePair{Pair: "pair0"})
	if err != nil {
		t.Fatal(err)
	}
	if r := got.(*Result); r.Message != "pair0" {
		t.Fatalf("answer %+v", r)
	}
}

var _ = time.Second
