package inotify

import (
	"slices"
)

// NOFILERaise is a soft RLIMIT_NOFILE to raise before the process meets it.
type NOFILERaise struct {
	PID      int
	Start    uint64 // of the process, so that a pid used again is not mistaken for it
	Comm     string
	Used     int64
	From, To Limit
}

// RaiseNOFILE returns what to raise among the programs that the policy names:
// where RaisePercent of the soft limit are in use, it doubles until fewer are,
// up to the hard limit. Nothing beyond the hard limit, which is the
// administrator's word. Programs are named one by one, since one that uses
// select(2) breaks with a descriptor of 1024 or more.
func RaiseNOFILE(processes []Process, p Policy) []NOFILERaise {
	var raises []NOFILERaise
	for _, q := range processes {
		if !slices.Contains(p.RaiseNOFILE, q.Comm) || q.NOFILESoft < 1 || q.NOFILEHard <= q.NOFILESoft {
			continue
		}
		to := q.NOFILESoft
		for to < q.NOFILEHard && to.Percent(q.FDs) >= p.RaisePercent {
			to = min(2*to, q.NOFILEHard)
		}
		if to > q.NOFILESoft {
			raises = append(raises, NOFILERaise{PID: q.PID, Start: q.Start, Comm: q.Comm, Used: q.FDs, From: q.NOFILESoft, To: to})
		}
	}
	return raises
}
