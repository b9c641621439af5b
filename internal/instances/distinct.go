package instances

import (
	"errors"
	"slices"
	"sort"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/procwalk"
)

// compare says whether two descriptors are of one instance, and in which
// order instances stand: kcmp(2), or a test's stand-in.
type compare func(a, b *Descriptor) (procwalk.Order, error)

func kcmp(a, b *Descriptor) (procwalk.Order, error) {
	return procwalk.CompareFile(a.TID, a.FD, b.TID, b.FD)
}

// distinct groups descriptors by instance. Every descriptor is looked up by
// binary search among the instances seen so far, since kcmp(2) orders them:
// 480 descriptors take some 4,000 calls of 0.45 µs. No cheaper test comes
// first, as there is none that is sound without reading fdinfo: all anonymous
// inodes are one, and fdinfo is what is to be spared.
//
// Descriptors that are closed meanwhile are left out. Where the kernel refuses
// to compare, every descriptor counts as an instance of its own and exact is
// false: the number is an upper bound.
func distinct(all []Descriptor, cmp compare) (heads []Instance, exact bool, refused error) {
	exact = true
	heads = make([]Instance, 0, len(all))
	// One array for all the holder lists that have a single entry, which
	// most have.
	index := make([]int, len(all))
	for i := range all {
		index[i] = i
		self := index[i : i+1 : i+1]
		if !exact {
			heads = append(heads, Instance{Holders: self})
			continue
		}
		at, found, err := search(&heads, all, i, cmp)
		switch {
		case errors.Is(err, errClosed):
		case err != nil:
			exact, refused = false, err
			heads = append(heads, Instance{Holders: self})
		case found:
			heads[at].Holders = append(heads[at].Holders, i)
		default:
			heads = slices.Insert(heads, at, Instance{Holders: self})
		}
	}
	return heads, exact, refused
}

// ErrOthersPIDs says that the pids in procfs are not ours, so that no call can
// name them.
var ErrOthersPIDs = errors.New("the pids in this procfs are those of another pid namespace: run with hostPID")

var errClosed = errors.New("the descriptor is closed")

func closed(err error) bool { return err != nil && (procwalk.Gone(err) || errors.Is(err, unix.EBADF)) }

// search finds the place of descriptor i among the instances. An instance whose
// representative is gone is represented by its next holder, or dropped.
func search(heads *[]Instance, all []Descriptor, i int, cmp compare) (at int, found bool, err error) {
	for {
		gone, same := -1, -1
		at = sort.Search(len(*heads), func(j int) bool {
			if same >= 0 || gone >= 0 || err != nil {
				return true // the search is over
			}
			order, e := cmp(&all[i], &all[(*heads)[j].Holders[0]])
			switch {
			case e == nil:
				if order == procwalk.Same {
					same = j
				}
				return order != procwalk.After
			case closed(e):
				gone = j
			default:
				err = e
			}
			return true
		})
		switch {
		case err != nil:
			return 0, false, err
		case same >= 0:
			return same, true, nil
		}
		// With itself it is the same, if it is still there.
		if _, e := cmp(&all[i], &all[i]); closed(e) {
			return 0, false, errClosed
		} else if e != nil {
			return 0, false, e
		}
		if gone < 0 {
			return at, false, nil
		}
		if h := &(*heads)[gone]; len(h.Holders) > 1 {
			h.Holders = h.Holders[1:]
		} else {
			*heads = slices.Delete(*heads, gone, gone+1)
		}
	}
}
