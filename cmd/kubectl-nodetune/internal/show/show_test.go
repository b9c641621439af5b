package show

import (
	"bytes"
	"io"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/nodetune/nodetune/reporter/view"
)

func TestJudge(t *testing.T) {
	fine := func(change func(*view.Report)) *view.Report {
		r := &view.Report{Sysctl: &view.Sysctl{}, Inotify: &view.Inotify{}, Disk: &view.Disk{}}
		change(r)
		return r
	}
	for name, tt := range map[string]struct {
		report *view.Report
		want   Verdict
	}{
		"nothing is wrong":         {fine(func(*view.Report) {}), Fine},
		"no disk":                  {fine(func(r *view.Report) { r.Disk = nil }), Fine},
		"no sysctl":                {fine(func(r *view.Report) { r.Sysctl = nil }), Unseen},
		"no inotify":               {fine(func(r *view.Report) { r.Inotify = nil }), Unseen},
		"nothing at all":           {&view.Report{}, Unseen},
		"pressure":                 {fine(func(r *view.Report) { r.Inotify.Findings = []view.Pressure{{Pressure: true}} }), Unmet},
		"pressure inside":          {fine(func(r *view.Report) { r.Inotify.Findings = []view.Pressure{{Pressure: true, Level: 1}} }), Fine},
		"a finding, no pressure":   {fine(func(r *view.Report) { r.Inotify.Findings = []view.Pressure{{}} }), Fine},
		"the disk is full":         {fine(func(r *view.Report) { r.Disk.Pressure.Level = "bad" }), Unmet},
		"and nothing else is seen": {&view.Report{Disk: &view.Disk{Pressure: view.Assessment{Level: "bad"}}}, Unmet},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Judge(tt.report); got != tt.want {
				t.Errorf("the verdict is %v, want %v", got, tt.want)
			}
		})
	}
}

// Whatever an agent reports, no table moves a terminal's cursor or has a line more.
func TestTablesOfHostileReports(t *testing.T) {
	r := &view.Report{}
	fill(reflect.ValueOf(r).Elem(), 0)
	for name, write := range map[string]func(io.Writer) error{
		"check": func(w io.Writer) error { return Check(w, r) },
		"top":   func(w io.Writer) error { return Top(w, r, 10) },
		"disk":  func(w io.Writer) error { return Disk(w, r, 10) },
		"why":   func(w io.Writer) error { return Why(r, "n1", hostile, hostile, "").Table(w) },
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			if b.Len() == 0 {
				t.Fatal("it writes nothing")
			}
			for line := range strings.Lines(b.String()) {
				if i := strings.IndexFunc(strings.TrimSuffix(line, "\n"), unicode.IsControl); i >= 0 {
					t.Errorf("a line has a control character at %d: %q", i, line)
				}
				if strings.HasPrefix(line, "FORGED") {
					t.Errorf("a name makes a line of its own: %q", line)
				}
			}
		})
	}
}

const hostile = "a\x1b[2J\nFORGED\tx\r\x7f\u009b"

// fill sets each string, pointer and slice of a report.
func fill(v reflect.Value, depth int) {
	if depth > 8 {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(hostile)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth+1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, depth+1)
		fill(value, depth+1)
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i), depth+1)
			}
		}
	case reflect.Int, reflect.Int64, reflect.Int32:
		v.SetInt(3)
	case reflect.Bool:
		v.SetBool(true)
	}
}

// The table names the ceiling of a limit that is used up and does not rise any further.
func TestWhyNamesTheCeiling(t *testing.T) {
	r := &view.Report{
		Inotify: &view.Inotify{
			Accounts:  []view.Account{{Instances: 128, InstancesLimit: 128, WatchesLimit: 8192}},
			Processes: []view.Process{{PID: 7, Comm: "tail", NOFILESoft: view.NoLimit}},
		},
		Sysctl: &view.Sysctl{},
	}
	r.Inotify.Processes[0].Namespace, r.Inotify.Processes[0].Pod = "shop", "cart-1"
	for ceiling, want := range map[string]string{"128": "reached, at its ceiling (128)\n", "8192": "reached\n", "": "reached\n"} {
		r.Sysctl.Rules = []view.Rule{{Key: "fs.inotify.max_user_instances", Ceiling: ceiling}}
		var b bytes.Buffer
		if err := Why(r, "n1", "shop", "cart-1", "").Table(&b); err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("ceiling %q: %v\n%s", ceiling, err, b.String())
		}
	}
}
