package field

import (
	"encoding/json"
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	var d Duration
	if err := json.Unmarshal([]byte(`"1m30s"`), &d); err != nil || d.D() != 90*time.Second {
		t.Errorf("got %v, %v; want 1m30s", d, err)
	}
	for _, bad := range []string{`30`, `"30"`, `"x"`, `null1`, `[]`} {
		if err := json.Unmarshal([]byte(bad), &d); err == nil {
			t.Errorf("%s was taken as %v", bad, d)
		}
	}
}

func TestParseBytes(t *testing.T) {
	for in, want := range map[string]Bytes{
		"0": 0, "1": 1, "10Mi": 10 << 20, "10M": 10e6, "1.5Gi": 3 << 29, "1e3": 1000, "0.1k": 100, "1.5": 2,
		"9223372036854775807": 1<<63 - 1, "7Ei": 7 << 60, "1k": 1000,
	} {
		if got, err := ParseBytes(in); err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, bad := range []string{"", "Mi", "k", "i", "-1", "+1", "1 Mi", "1mi", "1Xi", "8Ei", "1e30", "9e18k", "0x10", "1_000", "Inf", "NaN", "10%"} {
		if got, err := ParseBytes(bad); err == nil {
			t.Errorf("ParseBytes(%q) = %d, want an error", bad, got)
		}
	}
}

func FuzzParseBytes(f *testing.F) {
	for _, s := range []string{"10Mi", "1.5G", "1e3", "8Ei", "0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := ParseBytes(s)
		if err != nil {
			return
		}
		if b < 0 {
			t.Fatalf("ParseBytes(%q) = %d", s, b)
		}
		if again, err := ParseBytes(b.String()); err != nil || again != b {
			t.Fatalf("%q is %d, but its text %q is %d, %v", s, b, b, again, err)
		}
	})
}
