package web

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/nodetune/nodetune/reporter/page"
)

func TestPageHeaders(t *testing.T) {
	h := handlers(&Policy{Report: Open})
	for path, contentType := range map[string]string{"/": "text/html; charset=utf-8", "/status.json": "application/json"} {
		w := httptest.NewRecorder()
		h.inFrontOf(h.behindPassword()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		for name, want := range map[string]string{
			"Content-Type": contentType, "Content-Security-Policy": page.ContentSecurityPolicy(), "X-Content-Type-Options": "nosniff",
			"Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := w.Header().Get(name); w.Code != http.StatusOK || got != want {
				t.Errorf("%s: %d, %s is %q, want %q", path, w.Code, name, got, want)
			}
		}
	}
}

// All clients share one Status, and no view makes a pass.
func TestPageIsMadeOnce(t *testing.T) {
	n := 0
	p := &Page{Status: func(now time.Time) page.Status { n++; return page.NewStatus(page.Input{Now: now}) }}
	now := time.Now()
	for _, tt := range []struct {
		at   time.Duration
		want int
	}{{0, 1}, {reportMaxAge - 1, 1}, {reportMaxAge, 2}, {reportMaxAge + 1, 2}, {0, 3}} {
		if err := p.update(now.Add(tt.at)); err != nil || n != tt.want {
			t.Errorf("%v after the first view: %v, made %d times, want %d", tt.at, err, n, tt.want)
		}
	}
}
