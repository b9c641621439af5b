package inotify

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
	return func(a, b holding) (procwalk.Order, error) {
		switch {
		case gone[a.fd] || gone[b.fd]:
			return 0, unix.EBADF
		case of[a.fd] == of[b.fd]:
			return procwalk.Same, nil
		case of[a.fd] < of[b.fd]:
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
		holdings := make([]holding, n)
		for i := range n {
			of[i] = r.IntN(20)
			holdings[i] = holding{process: i, fd: i}
			if r.IntN(5) == 0 {
				gone[i] = true
			} else {
				alive[of[i]]++
			}
		}
		got, exact, err := distinct(holdings, fakeKernel(of, gone))
		if err != nil || !exact || len(got) != len(alive) {
			t.Fatalf("got %d instances, %v, %v, want %d", len(got), exact, err, len(alive))
		}
		for _, in := range got {
			want := of[in.holders[0]]
			if len(in.holders) != alive[want] {
				t.Fatalf("instance %d: got holders %v, want %d", want, in.holders, alive[want])
			}
			for _, h := range in.holders {
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
	holdings := make([]holding, len(of))
	for i := range holdings {
		holdings[i] = holding{process: i, fd: i}
	}
	got, exact, err := distinct(holdings, func(a, b holding) (procwalk.Order, error) {
		if a.fd == 3 || a.fd == 4 {
			gone[0], gone[2] = true, true
		}
		return kernel(a, b)
	})
	if err != nil || !exact || len(got) != 2 {
		t.Fatalf("got %+v, %v, %v", got, exact, err)
	}
	for _, in := range got {
		if n := len(in.holders); of[in.holders[0]] == 1 && n != 2 || of[in.holders[0]] == 2 && n != 1 {
			t.Errorf("instance %d: got holders %v", of[in.holders[0]], in.holders)
		}
	}
}

func TestDistinctRefused(t *testing.T) {
	calls := 0
	got, exact, err := distinct(make([]holding, 5), func(_, _ holding) (procwalk.Order, error) {
		calls++
		return 0, unix.EPERM
	})
	if exact || !errors.Is(err, unix.EPERM) || len(got) != 5 || calls != 1 {
		t.Errorf("got %d instances, %v, %v after %d calls", len(got), exact, err, calls)
	}
}
