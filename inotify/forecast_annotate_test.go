package inotify

import (
	"testing"
	"time"
)

// A report has the growth of accounts, of open files, and of processes that are
// half way to their limit, after three passes.
func TestAnnotate(t *testing.T) {
	var h History
	start := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	for pass := range int64(4) {
		u := Usage{
			Limits:   Limits{OpenFiles: 1000 + 60*pass, FileMax: 100_000},
			Accounts: []Account{{Owner: Owner{UserNS: InitialUserNS}, Instances: 10 + pass, Watches: 100 - pass}},
			Processes: []Process{
				{PID: 1, Start: 1, FDs: 600 + 2*pass, NOFILESoft: 1024},
				{PID: 2, Start: 1, FDs: 10 + pass, NOFILESoft: 1024},
			},
		}
		h.Add(start.Add(time.Duration(pass)*time.Minute), u, time.Second)
		h.Annotate(&u)
		a, p := u.Accounts[0], u.Processes
		if pass < 2 {
			if a.Growth != nil || u.OpenFilesPerHour != nil || p[0].Growth != nil {
				t.Errorf("after %d passes there is a growth already", pass+1)
			}
			continue
		}
		switch {
		case a.Growth == nil || a.Growth.Instances != 60 || a.Growth.Watches != -60:
			t.Errorf("account: %+v", a.Growth)
		case u.OpenFilesPerHour == nil || *u.OpenFilesPerHour != 3600:
			t.Errorf("open files: %v", u.OpenFilesPerHour)
		case p[0].Growth == nil || p[0].Growth.FDs != 120:
			t.Errorf("process: %+v", p[0].Growth)
		case p[1].Growth != nil:
			t.Errorf("a process far from its limit: %+v", p[1].Growth)
		}
	}
}

func TestAnnotateWithoutFileNr(t *testing.T) {
	var h History
	for i := range 5 {
		u := Usage{}
		h.Add(time.Unix(int64(i)*60, 0), u, time.Second)
		if h.Annotate(&u); u.OpenFilesPerHour != nil {
			t.Fatal("open files that could not be read grow")
		}
	}
}
