package inotify

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestRefusalTracingJSON(t *testing.T) {
	for in, want := range map[string]RefusalTracing{
		"true": RefusalsOn, "false": RefusalsOff, `"auto"`: RefusalsAuto,
	} {
		p := Policy{Refusals: "before"}
		if err := json.Unmarshal([]byte(`{"refusals":`+in+`}`), &p); err != nil || p.Refusals != want {
			t.Errorf("%s: got %q, %v", in, p.Refusals, err)
		}
		if b, err := json.Marshal(p.Refusals); err != nil || string(b) != in {
			t.Errorf("%s: written as %s, %v", in, b, err)
		}
	}
	for _, in := range []string{`""`, `"on"`, `"true"`, "1", "{}", `[true]`, `"` + strings.Repeat("x", 1000) + `"`} {
		p := Policy{Refusals: "before"}
		err := json.Unmarshal([]byte(`{"refusals":`+in+`}`), &p)
		if err == nil || !strings.Contains(err.Error(), "want true, false or auto") || len(err.Error()) > 300 {
			t.Errorf("%s: got %q, %v", in, p.Refusals, err)
		}
		if p.Refusals != "before" {
			t.Errorf("%s: changed to %q", in, p.Refusals)
		}
	}
	if got := DefaultPolicy().Refusals; got != RefusalsAuto {
		t.Errorf("the default is %q", got)
	}
}
