package archive

import (
	"bytes"
	"testing"
)

func TestArchive(t *testing.T) {
	for name, want := range map[string]string{
		"syslog.1":                      "syslog",
		"syslog.12.gz":                  "syslog",
		"syslog-20260131":               "syslog",
		"syslog-20260131-1769817600.gz": "syslog",
		"access.log.1.zst":              "access.log",
		"app.log.gz":                    "app.log",
		"0.log.20260131-120000":         "0.log",
		"0.log.20260131-120000.gz":      "0.log",
		"system@00062.journal":          "system",
		"user-1000@00062-ab.journal~":   "user-1000",
		// live
		"syslog": "", "0.log": "", "12.log": "", "system.journal": "", "app-1.log": "",
		"2026-01-31": "", "20260131": "", ".1": "", ".gz": "", "api-v2": "", "node.2026": "", "user@host": "",
	} {
		base, ok := ParseName([]byte(name))
		if ok != (want != "") || ok && string(base) != want {
			t.Errorf("parseName(%q) = %q, %v; want %q", name, base, ok, want)
		}
	}
}

// Whatever the name: the live log of an archive is a proper beginning of it,
// not empty, and the same for the archive compressed.
func FuzzArchive(f *testing.F) {
	for _, s := range []string{"syslog.1", "0.log.20260131-120000.gz", "a@b.journal", "..1", "1.1.1.1"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, name []byte) {
		base, ok := ParseName(name)
		if !bytes.HasPrefix(name, base) || len(base) == 0 && len(name) > 0 {
			t.Fatalf("parseName(%q) = %q", name, base)
		}
		if ok == (len(base) == len(name)) {
			t.Fatalf("parseName(%q) = %q, %v", name, base, ok)
		}
		if len(name) == 0 || bytes.IndexByte(name, '@') >= 0 {
			return
		}
		if _, gz := ParseName(append(bytes.Clone(name), ".gz"...)); !gz {
			t.Fatalf("%q.gz is not an archive", name)
		}
	})
}
