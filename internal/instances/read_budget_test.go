package instances

import (
	"testing"
	"time"
)

// play asks the candidates in order, whose true sizes are given, and returns
// which were read.
func play(r *readBudget, candidates []candidate, sizes []int64) map[int]bool {
	r.left, r.unknown, r.counted = len(candidates), 0, 0
	for i := range candidates {
		if candidates[i].bound == 0 {
			candidates[i].bound = 1 << 31
		}
		if candidates[i].known {
			r.counted += candidates[i].watches
		} else {
			r.unknown++
		}
	}
	read := map[int]bool{}
	for _, i := range order(candidates) {
		if r.allow(candidates[i]) {
			read[i] = true
			r.read(candidates[i], sizes[i], time.Duration(sizes[i])*watchCost)
		}
	}
	return read
}

func newRation(node int64) *readBudget {
	return &readBudget{node: node, limit: 192_536, budget: 1 << 30, maxRead: 50_000, credit: maxCredit}
}

func TestRationSparesTheLargeOne(t *testing.T) {
	candidates := []candidate{{effort: 3}, {effort: 100}, {effort: 0}, {effort: 5000}, {effort: 2}}
	sizes := []int64{10, 190_000, 5, 60, 0}
	r := newRation(190_100)
	read := play(r, candidates, sizes)
	if read[1] {
		t.Error("the large instance was read")
	}
	for _, i := range []int{0, 2, 4} {
		if !read[i] {
			t.Errorf("instance %d was not read: %+v", i, r)
		}
	}
}

func TestRationLastOneIsKnownUnread(t *testing.T) {
	r := newRation(190_015)
	if read := play(r, []candidate{{effort: 1}, {effort: 90}}, []int64{15, 190_000}); !read[0] || read[1] {
		t.Errorf("read %v", read)
	}
	if r.unaccounted() != 190_000 || r.unknown != 1 {
		t.Errorf("%d watches of %d instances are left over", r.unaccounted(), r.unknown)
	}
}

func TestRationReadsWhatIsNotTooLarge(t *testing.T) {
	// 30,000 at most, in whichever instance.
	read := play(newRation(30_050), []candidate{{effort: 7}, {effort: 0}, {effort: 1}}, []int64{30_000, 20, 10})
	if len(read) != 3 {
		t.Errorf("read %v", read)
	}
}

func TestRationByCgroup(t *testing.T) {
	// The CPU time points the wrong way; the memory of the cgroup decides.
	read := play(newRation(190_500), []candidate{
		{effort: 9000, bound: 4000}, {effort: 10, bound: 400_000}, {effort: 8000, bound: 9000},
	}, []int64{200, 190_000, 300})
	if !read[0] || !read[2] || read[1] {
		t.Errorf("read %v", read)
	}
}

func TestRationMemory(t *testing.T) {
	r := newRation(190_000)
	r.budget = 8 << 20
	read := play(r, []candidate{{}, {bound: 1000}}, []int64{190_000, 20})
	if read[0] || !read[1] || r.tooMuch != 1 {
		t.Errorf("read %v, %+v", read, r)
	}
	// Nor where the kernel does not say how many watches there are.
	r = newRation(-1)
	r.budget = 8 << 20
	if read := play(r, []candidate{{}, {}}, []int64{1, 1}); len(read) != 0 {
		t.Errorf("read %v", read)
	}
}

func TestRationKnown(t *testing.T) {
	for _, c := range []struct {
		name string
		candidate
		node int64
		want bool
	}{
		{"small", candidate{watches: 100, age: time.Second}, 100, true},
		{"large, read just now", candidate{watches: 20_000, age: time.Second}, 20_000, false},
		{"large, a while ago", candidate{watches: 20_000, age: time.Minute}, 20_000, true},
		{"too large", candidate{watches: 60_000, age: time.Hour}, 60_000, false},
		{"grown too large", candidate{watches: 100, age: time.Minute, effort: 100}, 190_000, false},
		{"grown", candidate{watches: 100, age: time.Minute, effort: 100}, 45_000, true},
	} {
		c.known, c.bound = true, 1<<31
		r := newRation(c.node)
		r.left, r.counted = 1, c.watches
		if got := r.allow(c.candidate); got != c.want {
			t.Errorf("%s: got %v: %+v", c.name, got, r)
		}
	}
}

func TestRationCredit(t *testing.T) {
	r := newRation(400_000)
	r.maxRead = 1 << 30
	r.credit = 100 * time.Millisecond
	candidates := make([]candidate, 10)
	sizes := make([]int64, 10)
	for i := range sizes {
		sizes[i] = 40_000
	}
	// Each takes 80 ms: the second one is begun with what is left.
	if read := play(r, candidates, sizes); len(read) != 2 || r.later != 8 {
		t.Errorf("read %v, %+v", read, r)
	}
}

func TestRecordBytes(t *testing.T) {
	// 32 MiB were measured for 190,000 watches of 119 bytes; this is for
	// lines of up to 200.
	for watches, want := range map[int64]int64{0: 4096, 20: 4096, 21: 8192, 190_000: 64 << 20} {
		if got := recordBytes(watches); got != want {
			t.Errorf("%d watches: got %d, want %d", watches, got, want)
		}
	}
}
