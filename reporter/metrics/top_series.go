package metrics

// keepSeries is the rank up to which a series that was sent is sent again.
const keepSeries = 2 * topSeries

// topSet picks the first of a ranking, with hysteresis: a series enters at rank 20
// and leaves below rank 40. With one threshold, equals at it displace each other at
// every scrape, and each leaves a series behind.
type topSet[K comparable] struct{ shown map[K]bool }

// pick returns which of ranked, the highest first, are sent; at most keepSeries.
func (s *topSet[K]) pick(ranked []K) map[K]bool {
	next := make(map[K]bool, keepSeries)
	for i, k := range ranked[:min(len(ranked), keepSeries)] {
		if i < topSeries || s.shown[k] {
			next[k] = true
		}
	}
	s.shown = next
	return next
}
