package metrics

import (
	"time"

	"github.com/nodetune/nodetune/internal/workload"
)

const (
	// maxWorkloadSeries bounds the workloads with a series of their own.
	maxWorkloadSeries = 100
	// quietAfter is how long a workload must have had no increase before another one gets
	// its series: pods come and go.
	quietAfter = time.Hour
)

// otherWorkloads has the sum of the workloads without a series of their own.
var otherWorkloads = workload.Workload{Namespace: "other"}

// workloadSeries are the workloads with a series of their own. A counter that has begun
// never moves to another series, since its sum would shrink: the first workloads get a
// series, and a new one takes the place of one that had no increase for an hour.
type workloadSeries struct {
	remove func(workload.Workload) // the series of a workload
	last   map[workload.Workload]time.Time
}

// of returns whose series an increase of w is added to.
func (s *workloadSeries) of(w workload.Workload, now time.Time) workload.Workload {
	w = workload.Workload{Namespace: w.Namespace, Pod: w.Pod, Container: w.Container}
	if w == (workload.Workload{}) {
		return w // logs of no container
	}
	if s.last == nil {
		s.last = map[workload.Workload]time.Time{}
	}
	if _, ok := s.last[w]; !ok && len(s.last) >= maxWorkloadSeries {
		oldest := w
		for x, at := range s.last {
			if oldest == w || at.Before(s.last[oldest]) {
				oldest = x
			}
		}
		if now.Sub(s.last[oldest]) < quietAfter {
			return otherWorkloads
		}
		delete(s.last, oldest)
		s.remove(oldest)
	}
	s.last[w] = now
	return w
}
