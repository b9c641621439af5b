package view

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/internal/reportertest"
	"github.com/nodetune/nodetune/sysctl"
)

// paths adds the JSON paths of t below at.
func paths(t reflect.Type, at string, all map[string]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		paths(t.Elem(), at, all)
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return
		}
		for f := range t.Fields() {
			if f.Anonymous {
				paths(f.Type, at, all)
				continue
			}
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			all[at+"."+name] = true
			paths(f.Type, at+"."+name, all)
		}
	}
}

// documentFields adds the JSON paths of the agent's own document.
func documentFields(t reflect.Type, at string, all map[string]bool, depth int) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		documentFields(t.Elem(), at, all, depth+1)
	case reflect.Struct:
		if depth > 12 || t == reflect.TypeFor[time.Time]() {
			return
		}
		for f := range t.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case name == "-":
			case f.Anonymous && name == "":
				documentFields(f.Type, at, all, depth+1)
			default:
				all[at+"."+name] = true
				documentFields(f.Type, at+"."+name, all, depth+1)
			}
		}
	}
}

// Each field that is read here is one that the agent writes.
func TestFieldsAreTheAgents(t *testing.T) {
	mine, agents := map[string]bool{}, map[string]bool{}
	paths(reflect.TypeFor[Report](), "", mine)
	documentFields(reflect.TypeFor[reporter.Document](), "", agents, 0)
	if len(mine) < 90 {
		t.Fatalf("only %d fields were found", len(mine))
	}
	for path := range mine {
		if !agents[path] {
			t.Errorf("the agent's document has no field %s", path)
		}
	}
}

// What the agent encodes is read with its values.
func TestParseReadsTheAgentsDocument(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	u := reportertest.Roomy()
	u.Processes[0].NOFILESoft = inotify.NoLimit
	b, err := json.Marshal(reporter.NewDocument(reporter.Snapshot{
		Sysctl: reporter.Result[sysctl.PassResult]{At: now, Value: sysctl.PassResult{Rules: []sysctl.Status{
			reportertest.Floor("fs.inotify.max_user_instances", 128, 8192, sysctl.Drifted, "why"),
			reportertest.Floor("fs.file-max", sysctl.Unknown, 10, sysctl.Absent, ""),
			{Rule: sysctl.Rule{Key: "fs.nr_open", Op: sysctl.Report, Want: sysctl.Unknown, Ceiling: sysctl.Unknown}, Value: 5, Outcome: sysctl.Failed},
		}}},
		Inotify: reporter.Result[inotify.Usage]{At: now, Value: u},
		Disk:    reporter.Result[disk.Usage]{At: now, Value: reportertest.FullDisk(now)},
	}))
	if err != nil {
		t.Fatal(err)
	}
	d, err := Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	rules := d.Sysctl.Rules
	if len(rules) != 3 || rules[0].Value != "128" || rules[0].Want != "8192" || rules[0].Satisfied() || !rules[1].Satisfied() || !rules[2].Satisfied() {
		t.Errorf("rules %+v", rules)
	}
	p := d.Inotify.Processes
	if len(p) != 4 || p[0].NOFILESoft != NoLimit || p[3].String() != "logging/fluent-bit-x7k2p:fluent-bit" || p[0].String() != "kubelet.service" || p[2].UserNS != inotify.InitialUserNS {
		t.Errorf("processes %+v", p)
	}
	if a := d.Inotify.Accounts; len(a) != 2 || a[1].Level != 1 || a[1].UID != 100000 || a[0].InstancesLimit != 128 {
		t.Errorf("accounts %+v", a)
	}
	if d.Disk.Pressure.Level != "bad" || len(d.Disk.Filesystems) != 2 || *d.Disk.Filesystems[0].SecondsToFull != 960 || d.Disk.Readers[0].StalledSince == nil || d.Disk.Readers[0].Who.Pod == "" || d.Disk.Producers[0].Pod == "" {
		t.Errorf("disk %+v", d.Disk)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":               "<html>",
		"another kind":          `{"kind":"Diagnosis"}`,
		"no kind":               `{}`,
		"a field of other type": `{"kind":"Report","inotify":[]}`,
		"too large":             `{"kind":"Report","errors":{"a":"` + strings.Repeat("x", MaxBytes) + `"}}`,
	} {
		if _, err := Decode(strings.NewReader(text)); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// A report comes from a pod: reading one neither fails in an unforeseen way, nor
// keeps more than it was given.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"kind":"Report","sysctl":{"rules":[{"key":"a","value":"1"}]}}`))
	f.Add([]byte(`{"kind":"Report","inotify":{"limits":{"file_max":null}},"disk":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b)
		if err == nil && d.Kind != "Report" {
			t.Errorf("took %+v", d)
		}
	})
}
