package status

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestOwnUserItsGroupAndRootMayControl(t *testing.T) {
	groups := func(uid int) []string { return map[int][]string{1002: {"1002", "990"}, 1003: {"1003"}}[uid] }
	for _, c := range []struct {
		name     string
		uid, gid int
		want     bool
	}{
		{"root", 0, 0, true},
		{"the gateway's user", 990, 990, true},
		{"its user in another group", 990, 5, true},
		{"its group is the primary one", 1001, 990, true},
		{"its group is a further one", 1002, 1002, true},
		{"somebody else", 1003, 1003, false},
		{"somebody without groups", 1004, 1004, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := allowed(c.uid, c.gid, 990, 990, groups); (err == nil) != c.want {
				t.Errorf("allowed: %v, want %t", err, c.want)
			}
		})
	}
}

func TestRefusedPeerIsToldWhy(t *testing.T) {
	refusal := allowed(1003, 1003, 990, 990, func(int) []string { return nil })
	req := httptest.NewRequest("GET", "/v1/status", nil)
	req = req.WithContext(context.WithValue(req.Context(), peerKey{}, refusal))
	w := httptest.NewRecorder()
	onlyAllowedPeers(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was let in") })).ServeHTTP(w, req)
	if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "join group 990") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
