package text

import (
	"strings"
	"testing"

	"github.com/nodetune/nodetune/reporter"
)

func TestRefusedClients(t *testing.T) {
	for want, r := range map[string]*reporter.RefusedClients{
		"": nil,
		"refused 1 connection and 0 requests of clients": {Connections: 1},
		"refused 90 connections and 2 requests":          {Connections: 90, Requests: 2},
	} {
		var got []string
		for _, n := range notes(reporter.Snapshot{RefusedClients: r}) {
			got = append(got, n.text)
		}
		if text := strings.Join(got, "\n"); !strings.Contains(text, want) || want == "" && strings.Contains(text, "refused") {
			t.Errorf("%v: %q, want %q", r, text, want)
		}
	}
	if d := reporter.NewDocument(reporter.Snapshot{RefusedClients: &reporter.RefusedClients{}}); d.RefusedClients != nil {
		t.Error("a document has what was not refused")
	}
}
