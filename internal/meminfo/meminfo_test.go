package meminfo

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	longLine := strings.Repeat("x", 1<<20) + "\nMemTotal: 1 kB\n"
	for text, want := range map[string]int64{
		"MemTotal:       24683520 kB\nMemFree: 1 kB\n": 24683520 << 10,
		"MemFree:   5 kB\nMemTotal: 1 kB\n":            1 << 10,
		"":                                             0,
		"MemTotalX: 7 kB\nXMemTotal: 8 kB\n":           0,
		"\nno colon\nMemTotal:\t3 kB\n":                3 << 10,
		"MemTotal: kB\n":                               0,
		"MemTotal: -5 kB\n":                            0,
		"MemTotal: 5\n":                                0,
		"MemTotal: 99999999999999999999 kB\n":          0,
		"MemTotal: 9223372036854775807 kB\n":           0,
		longLine:                                       0,
	} {
		got, err := parse(strings.NewReader(text), Total)
		if got != want || (err != nil) != (want == 0) {
			t.Errorf("%.40q: %d, %v, want %d", text, got, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("MemTotal:       24683520 kB\nMemFree: 1 kB\n")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := parse(strings.NewReader(text), Total)
		if (err == nil) != (n > 0) || n%1024 != 0 {
			t.Fatalf("%q: %d bytes, %v", text, n, err)
		}
	})
}
