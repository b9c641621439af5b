package instances

import (
	"errors"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/procwalk"
)

// fakeKernel orders descriptors by the instance they are of. Those in gone are
// closed.
func fakeKernel(of []int, gone map[int]bool) compare {
	return func(a, b *Descriptor) (procwalk.Order, error) {
		switch {
		case gone[a.FD] || gone[b.FD]:
			return 0, unix.EBADF
		case of[a.FD] == of[b.FD]:
			return procwalk.Same, nil
		case of[a.FD] < of[b.FD]:
			return procwalk.Before, nil
		}
		return procwalk.After, nil
	}
}

func TestDistinct(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		n := r.IntN(60)
		of, gone := make([]int, n), map[int]bool{}
		alive := map[int]int{}
		all := make([]Descriptor, n)
		for i := range n {
			of[i] = r.IntN(20)
			all[i] = Descriptor{Process: i, FD: i}
			if r.IntN(5) == 0 {
				gone[i] = true
			} else {
				alive[of[i]]++
			}
		}
		got, exact, err := distinct(all, fakeKernel(of, gone))
		if err != nil || !exact || len(got) != len(alive) {
			t.Fatalf("got %d instances, %v, %v, want %d", len(got), exact, err, len(alive))
		}
		for _, in := range got {
			want := of[in.Holders[0]]
			if len(in.Holders) != alive[want] {
				t.Fatalf("instance %d: got holders %v, want %d", want, in.Holders, alive[want])
			}
			for _, h := range in.Holders {
				if of[h] != want {
					t.Fatalf("instance %d: holder %d is of instance %d", want, h, of[h])
				}
			}
		}
	}
}

// TestDistinctClosedLater: a representative may end after it was taken.
func TestDistinctClosedLater(t *testing.T) {
	of, gone := []int{1, 1, 2, 1, 2}, map[int]bool{}
	kernel := fakeKernel(of, gone)
	all := make([]Descriptor, len(of))
	for i := range all {
		all[i] = Descriptor{Process: i, FD: i}
	}
	got, exact, err := distinct(all, func(a, b *Descriptor) (procwalk.Order, error) {
		if a.FD == 3 || a.FD == 4 {
			gone[0], gone[2] = true, true
		}
		return kernel(a, b)
	})
	if err != nil || !exact || len(got) != 2 {
		t.Fatalf("got %+v, %v, %v", got, exact, err)
	}
	for _, in := range got {
		if n := len(in.Holders); of[in.Holders[0]] == 1 && n != 2 || of[in.Holders[0]] == 2 && n != 1 {
			t.Errorf("instance %d: got holders %v", of[in.Holders[0]], in.Holders)
		}
	}
}

func TestDistinctRefused(t *testing.T) {
	calls := 0
	got, exact, err := distinct(make([]Descriptor, 5), func(_, _ *Descriptor) (procwalk.Order, error) {
		calls++
		return 0, unix.EPERM
	})
	if exact || !errors.Is(err, unix.EPERM) || len(got) != 5 || calls != 1 {
		t.Errorf("got %d instances, %v, %v after %d calls", len(got), exact, err, calls)
	}
}
