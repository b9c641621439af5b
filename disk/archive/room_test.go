package archive

import "testing"

func TestRoomFor(t *testing.T) {
	for _, c := range []struct {
		avail, n uint64
		ok       bool
	}{
		{64 << 20, 0, true},
		{64<<20 - 1, 0, false},
		{1 << 30, 900 << 20, true},
		{1 << 30, 920 << 20, false}, // 5 % and 64 MiB are missing
		{0, 1, false},
	} {
		if err := roomFor(c.avail, c.n); (err == nil) != c.ok {
			t.Errorf("%d available for %d: %v", c.avail, c.n, err)
		}
	}
}
