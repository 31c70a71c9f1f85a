package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// The limits of the server that answers the control socket are for short questions.
func TestAnAnswerMayTakeItsTime(t *testing.T) {
	const limit = 50 * time.Millisecond
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		takeTime(w)
		select {
		case <-r.Context().Done():
			t.Errorf("the question was ended: %v", r.Context().Err())
		case <-time.After(4 * limit):
		}
		io.WriteString(w, "late")
	}))
	s.Config.ReadTimeout, s.Config.WriteTimeout = limit, limit
	s.Start()
	defer s.Close()
	res, err := http.Post(s.URL, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); string(b) != "late" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}
