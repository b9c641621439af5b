package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestReadActs(t *testing.T) {
	const status = `{"apiVersion":"nodetune.io/v1alpha1","kind":"NodeStatus","acts":{"rows":[{"at":"2026-01-02T12:00:00Z","act":"raise","on":"fs.file-max","what":"raised","count":1,"first":"2026-01-02T12:00:00Z"}]}}`
	for _, tt := range []struct {
		name, body string
		code, want int
		err        string
	}{
		{"acts", status, 200, 1, ""},
		{"none", `{"apiVersion":"nodetune.io/v1alpha1","kind":"NodeStatus"}`, 200, 0, ""},
		{"closed", "", 404, 0, "web.report"},
		{"authorised", "", 401, 0, "web.report"},
		{"redirected elsewhere", "", 302, 0, "answers 302"},
		{"not an agent", "<html>", 200, 0, "is not read"},
		{"another version", `{"apiVersion":"nodetune.io/v9","kind":"NodeStatus"}`, 200, 0, "nodetune.io/v9"},
		{"another document", `{"apiVersion":"nodetune.io/v1alpha1","kind":"Report"}`, 200, 0, "is not read"},
		{"endless", `{"a":"` + strings.Repeat("x", 5<<20), 200, 0, "more than 4 MiB"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/status.json" {
				t.Errorf("%s: asked for %s", tt.name, r.URL.Path)
			}
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(tt.code)
			_, _ = fmt.Fprint(w, tt.body)
		}))
		client, err := newAgentClient(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		acts, err := client.acts(t.Context())
		if len(acts) != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %d acts, %v", tt.name, len(acts), err)
		}
		server.Close()
		if _, err := client.acts(t.Context()); err == nil || !strings.Contains(err.Error(), "no agent answers at "+server.URL) {
			t.Errorf("%s: without an agent: %v", tt.name, err)
		}
	}
	for _, wrong := range []string{"", "127.0.0.1:9409", "file:///etc/passwd", "http://", "\x1b"} {
		if _, err := newAgentClient(wrong); err == nil || !strings.Contains(err.Error(), "--agent") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}
