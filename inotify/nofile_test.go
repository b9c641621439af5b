package inotify

import (
	"testing"
)

func TestRaiseNOFILEPlan(t *testing.T) {
	p := DefaultPolicy()
	p.RaiseNOFILE = []string{"fluent-bit"}
	for _, test := range []struct {
		name             string
		comm             string
		used, soft, hard Limit
		want             Limit // 0: nothing
	}{
		{"below the share", "fluent-bit", 700, 1024, 1 << 20, 0},
		{"near it", "fluent-bit", 717, 1024, 1 << 20, 2048},
		{"more than doubled", "fluent-bit", 4000, 1024, 1 << 20, 8192},
		{"up to the hard limit", "fluent-bit", 1000, 1024, 1500, 1500},
		{"at the hard limit", "fluent-bit", 1000, 1024, 1024, 0},
		{"not named", "vector", 1000, 1024, 1 << 20, 0},
		{"limits unknown", "fluent-bit", 1000, NoLimit, NoLimit, 0},
		{"no descriptor at all", "fluent-bit", 1, 0, 1024, 0},
	} {
		got := RaiseNOFILE([]Process{{PID: 7, Start: 9, Comm: test.comm, FDs: int64(test.used), NOFILESoft: test.soft, NOFILEHard: test.hard}}, p)
		switch {
		case test.want == 0 && len(got) != 0:
			t.Errorf("%s: %+v, want nothing", test.name, got)
		case test.want != 0 && (len(got) != 1 || got[0].To != test.want || got[0].PID != 7 || got[0].Start != 9):
			t.Errorf("%s: %+v, want to %d", test.name, got, test.want)
		}
	}
}
