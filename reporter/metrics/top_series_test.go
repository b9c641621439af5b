package metrics

import (
	"math/rand/v2"
	"testing"
)

func TestTopSet(t *testing.T) {
	ranked := func(first, n int) (all []int) {
		for i := range n {
			all = append(all, first+i)
		}
		return all
	}
	var s topSet[int]
	if got := s.pick(ranked(0, 100)); len(got) != topSeries || !got[topSeries-1] || got[topSeries] {
		t.Errorf("at first: %v", got)
	}
	if got := s.pick(ranked(-15, 100)); !got[-15] || !got[topSeries-1] {
		t.Errorf("rank 35 has left: %v", got)
	}
	if got := s.pick(ranked(-25, 100)); got[topSeries-1] {
		t.Errorf("rank 45 has not left: %v", got)
	}
	// Ranks that move by a few each time: the series stay the same.
	all := map[int]bool{}
	s = topSet[int]{}
	for range 100 {
		r := ranked(0, 200)
		for i := 0; i+8 <= len(r); i += 8 {
			rand.Shuffle(8, func(a, b int) { r[i+a], r[i+b] = r[i+b], r[i+a] })
		}
		got := s.pick(r)
		if len(got) > keepSeries {
			t.Fatalf("%d series", len(got))
		}
		for k := range got {
			all[k] = true
		}
	}
	if len(all) > 24 {
		t.Errorf("%d series in 100 scrapes", len(all))
	}
}
