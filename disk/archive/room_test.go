package archive

import "testing"

func TestRoomFor(t *testing.T) {
	for _, c := range []struct {
		avail, size, n uint64
		ok             bool
	}{
		{64 << 20, 1 << 40, 0, true},
		{64<<20 - 1, 1 << 40, 0, false},
		{1 << 30, 1 << 40, 900 << 20, true},
		{1 << 30, 1 << 40, 920 << 20, false}, // 5 % and 64 MiB are missing
		{0, 1 << 40, 1, false},
		{19 << 20, 200 << 20, 8 << 20, true}, // a small filesystem
		{18 << 20, 200 << 20, 8 << 20, false},
	} {
		if err := roomFor(c.avail, c.size, c.n); (err == nil) != c.ok {
			t.Errorf("%d available for %d: %v", c.avail, c.n, err)
		}
	}
}
