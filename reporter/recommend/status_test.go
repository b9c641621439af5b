package recommend

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// statusOf is a NodeStatus with limits as rows, and rules for two keys.
func statusOf(pass, rows string, more int) string {
	return fmt.Sprintf(`{"apiVersion":"nodetune.io/v1alpha1","kind":"NodeStatus","node":"w1","passes":[%s],
 "limits":{"rows":[%s],"more":%d},"settings":{"rows":[
  {"key":"fs.inotify.max_user_instances","value":"8192","want":"8192","ceiling":"131072"},
  {"key":"fs.inotify.max_user_watches","value":"524288","want":"524288","ceiling":"4194304"}]}}`, pass, rows, more)
}

const ended = `{"name":"sysctl","error":"no"},{"name":"inotify","at":"2026-01-02T12:00:00Z"}`

func row(key string, userns uint64, used int64, limit, quality string) string {
	return fmt.Sprintf(`{"key":%q,"owner":{"userns":%d,"uid":7},"used":%d,"limit":%s,"quality":%q,"ceiling":null}`, key, userns, used, limit, quality)
}

func TestFromStatus(t *testing.T) {
	const files = `{"key":"fs.file-max","used":7000,"limit":1048576,"quality":"exact","ceiling":null}`
	for _, tt := range []struct {
		name, document            string
		instances, watches, files Value // floors; -1: no rule
		evidence                  string
	}{
		{"nothing in use", statusOf(ended, files, 0), 8192, 524288, 1048576, "w1: no user of the node uses it"},
		{"busy", statusOf(ended, row(instancesKey, initialUserNS, 14000, "16384", "exact")+","+files, 0), 20000, 524288, 1048576, "uid 7 uses 14000, and at most 70 %"},
		{"the fullest of two", statusOf(ended, row(instancesKey, initialUserNS, 10, "16384", "exact")+","+row(instancesKey, initialUserNS, 14000, "16384", "exact"), 0), 20000, 524288, -1, "14000"},
		{"never below what is in force", statusOf(ended, row(instancesKey, initialUserNS, 5, "65536", "exact"), 0), 65536, 524288, -1, "in force: 65536"},
		{"an estimate", statusOf(ended, row(instancesKey, initialUserNS, 14000, "16384", "upper_bound"), 0), 20000, 524288, -1, "(at most)"},
		{"of another user namespace", statusOf(ended, row(instancesKey, 4026532999, 14000, "16384", "exact"), 0), 8192, 524288, -1, "no user of the node uses it"},
		{"not counted", statusOf(ended, row(instancesKey, initialUserNS, 0, "16384", "unknown"), 0), -1, 524288, -1, ""},
		{"rows are left out", statusOf(ended, row(instancesKey, initialUserNS, 14000, "16384", "exact"), 5), 20000, -1, -1, "14000"},
		{"beyond the ceiling", statusOf(ended, row(instancesKey, initialUserNS, 1000000, "131072", "exact"), 0), 131072, 524288, -1, "use asks for more: the ceiling is 131072"},
		{"the largest there is", statusOf(ended, row(watchesKey, initialUserNS, 9223372036854775807, "2147483647", "exact"), 0), 8192, 2147483647, -1, ""},
		{"no pass yet", statusOf(`{"name":"inotify"}`, files, 0), -1, -1, -1, ""},
		{"a failed pass", statusOf(`{"name":"inotify","at":"2026-01-02T12:00:00Z","error":"denied"}`, files, 0), -1, -1, -1, ""},
		{"of another version", `{"apiVersion":"nodetune.io/v1alpha1","kind":"NodeStatus","new":{"field":[1]},"passes":[` + ended + `],"limits":{"rows":[` + files + `]}}`, 0, 0, 1048576, "no user"},
	} {
		samples, err := FromStatus("", []byte(tt.document))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got := From(1, samples)
		evidence := ""
		floors := map[string]Value{instancesKey: Unknown, watchesKey: Unknown, fileMaxKey: Unknown}
		for _, r := range got.Rules {
			floors[r.Key] = r.AtLeast
			if r.Key == instancesKey {
				evidence = strings.Join(r.Evidence, "\n")
			}
			if r.Ceiling < r.AtLeast {
				t.Errorf("%s: %+v", tt.name, r)
			}
		}
		if floors[instancesKey] != tt.instances || floors[watchesKey] != tt.watches || floors[fileMaxKey] != tt.files || !strings.Contains(evidence, tt.evidence) {
			t.Errorf("%s: floors %v, want %d %d %d; evidence %q, want %q; omitted %v", tt.name, floors, tt.instances, tt.watches, tt.files, evidence, tt.evidence, got.Omitted)
		}
	}
	for _, wrong := range []string{``, `7`, `{}`, `{"kind":"Report","apiVersion":"nodetune.io/v1alpha1"}`, `{"kind":"NodeStatus","apiVersion":"nodetune.io/v9"}`, statusOf(ended, `{"used":"many"}`, 0), statusOf(ended, `{"limit":-5}`, 0)} {
		if s, err := FromStatus("w1", []byte(wrong)); err == nil {
			t.Errorf("%s gives %+v", wrong, s)
		}
	}
}

// What an agent answers does not make the file large.
func TestLongAnswers(t *testing.T) {
	long := strings.Repeat("\u202ex", 1<<20)
	samples, err := FromStatus("w1", []byte(statusOf(`{"name":"inotify","at":"x","error":"`+long+`"}`, "", 0)))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := WriteValues(&b, From(1, samples)); err != nil || b.Len() > 20<<10 {
		t.Errorf("%d bytes (%v)", b.Len(), err)
	}
	if _, err := FromStatus("w1", []byte(`{"kind":"`+long+`"}`)); err == nil || len(err.Error()) > 2000 {
		t.Errorf("%v", err)
	}
}

func TestValue(t *testing.T) {
	for text, want := range map[string]Value{`"8192"`: 8192, `8192`: 8192, `null`: Unknown, `"unknown"`: Unknown, `"9223372036854775807"`: 9223372036854775807} {
		var v Value
		if err := json.Unmarshal([]byte(text), &v); err != nil || v != want && text != "null" {
			t.Errorf("%s is %d (%v), want %d", text, v, err, want)
		}
	}
	for _, text := range []string{`"-1"`, `-2`, `1.5`, `"x"`, `{}`, `"9223372036854775808"`} {
		var v Value
		if err := json.Unmarshal([]byte(text), &v); err == nil {
			t.Errorf("%s is %d", text, v)
		}
	}
	if b, err := json.Marshal(Value(8192)); string(b) != `"8192"` {
		t.Errorf("%s %v", b, err)
	}
}
