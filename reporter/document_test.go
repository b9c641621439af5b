package reporter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter/internal/reportertest"
	"github.com/nodetune/nodetune/sysctl"
)

// A program that decodes a Report gets what was encoded: with every field set, with
// none, and with what could not be known.
func TestDocumentDecodesWhole(t *testing.T) {
	var full Document
	fillIn(t, reflect.ValueOf(&full).Elem(), "Document")
	unknown := NewDocument(Snapshot{
		Sysctl: Result[sysctl.PassResult]{At: time.Now(), Value: sysctl.PassResult{Rules: []sysctl.Status{{
			Rule: sysctl.Rule{Key: "fs.file-max", Op: sysctl.Report, Want: sysctl.Unknown, Ceiling: sysctl.Unknown}, Value: sysctl.Unknown, Before: sysctl.Unknown, Outcome: sysctl.Absent,
		}}}},
		Inotify: Result[inotify.Usage]{At: time.Now(), Value: inotify.Usage{Accounts: []inotify.Account{{InstancesLimit: inotify.NoLimit}}}},
		Disk:    Result[disk.Usage]{At: time.Now(), Value: reportertest.FullDisk(time.Now())},
	})
	for name, d := range map[string]Document{"full": full, "empty": {}, "unknown": unknown} {
		t.Run(name, func(t *testing.T) {
			want, err := json.MarshalIndent(d, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			var back Document
			dec := json.NewDecoder(bytes.NewReader(want))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&back); err != nil {
				t.Fatal(err)
			}
			if got, err := json.MarshalIndent(back, "", " "); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%v: the document\n%s\ncame back as\n%s", err, want, got)
			}
		})
	}
	var l disk.Severity
	if err := l.UnmarshalText([]byte("dreadful")); err == nil {
		t.Error("an unknown level was taken")
	}
}

// fillIn sets every field of v that JSON has to something that is not its zero.
func fillIn(t *testing.T, v reflect.Value, path string) {
	t.Helper()
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Date(2026, 1, 31, 12, 0, 0, 500, time.UTC)
		return
	case *disk.Severity:
		*x = disk.Bad
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(path)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(int64(len(path)))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(len(path)))
	case reflect.Float64:
		v.SetFloat(float64(len(path)) + 0.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillIn(t, v.Elem(), path)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fillIn(t, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fillIn(t, key, path+" key")
		fillIn(t, value, path+" value")
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Tag.Get("json") != "-" {
				fillIn(t, v.Field(i), path+"."+f.Name)
			}
		}
	default:
		t.Fatalf("%s is a %v: add here how to fill it", path, v.Kind())
	}
}

// The document has the names that others rely on, and no list is null.
func TestDiskDocument(t *testing.T) {
	b, err := json.Marshal(NewDocument(Snapshot{Disk: Result[disk.Usage]{At: time.Now(), Value: reportertest.FullDisk(time.Now())}}))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"path", "size_bytes", "avail_bytes", "inodes", "inodes_free", "growth_bytes_per_second", "seconds_to_full", "seconds_to_eviction",
		"producers", "bytes_per_second", "readers", "lag_bytes", "offset_bytes", "stalled_since", "unfollowed", "deleted", "orphans", "corrupt", "findings",
	} {
		if !bytes.Contains(b, []byte(`"`+name+`":`)) {
			t.Errorf("no %s in %s", name, b)
		}
	}
	if !bytes.Contains(b, []byte(`"pressure":{"level":"bad"`)) {
		t.Errorf("%s", b)
	}
}
