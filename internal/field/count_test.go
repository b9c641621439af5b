package field

import "testing"

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 logs", 1: "1 log", 2: "2 logs", -1: "-1 logs"} {
		if got := Count(n, "log", "logs"); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
