package reporter

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/sysctl"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// The ring keeps the last 200 acts, and equal ones are one.
func TestActs(t *testing.T) {
	var r Acts
	if got := r.Recent(); len(got) != 0 {
		t.Fatalf("before the first act: %v", got)
	}
	for i := range 500 {
		r.Add(Act{At: noon.Add(time.Duration(i) * time.Second), Kind: ActRaise, What: fmt.Sprint(i)})
		r.Add(Act{At: noon.Add(time.Duration(i) * time.Second), Kind: ActUndoDrift, What: "the same"})
	}
	got := r.Recent()
	if len(got) != actsKept {
		t.Fatalf("%d acts are kept, want %d", len(got), actsKept)
	}
	last := noon.Add(499 * time.Second)
	if got[0].What != "the same" || got[0].Count != 500 || !got[0].First.Equal(noon) || !got[0].At.Equal(last) {
		t.Errorf("the latest is %+v", got[0])
	}
	if got[1].What != "499" || got[1].Count != 1 || got[actsKept-1].What != "301" {
		t.Errorf("the others are %+v to %+v", got[1], got[actsKept-1])
	}
	got[0].What = "changed by the reader"
	if r.Recent()[0].What != "the same" {
		t.Error("a reader can change what is kept")
	}
}

func TestActsDiffer(t *testing.T) {
	var r Acts
	base := Act{At: noon, Kind: ActRaise, On: "k", What: "w", Why: "y"}
	all := []Act{base, base, base, base, base, base}
	all[1].Kind, all[2].On, all[3].What, all[4].Why, all[5].Failed = ActSet, "o", "o", "o", true
	r.Add(all...)
	if got := r.Recent(); len(got) != len(all) {
		t.Errorf("%d acts differ in one field, %d are kept", len(all), len(got))
	}
}

// What others choose does not grow the ring.
func TestActsBoundText(t *testing.T) {
	for _, s := range []string{strings.Repeat("x", 5000), strings.Repeat("é", 3000), strings.Repeat("\xff", 4096), "\xff\xfe", strings.Repeat("a", maxActText)} {
		var r Acts
		r.Add(Act{On: s, What: s, Why: s})
		a := r.Recent()[0]
		for _, got := range []string{a.On, a.What, a.Why} {
			if len(got) > 3*maxActText || utf8.RuneCountInString(got) > maxActText || !utf8.ValidString(got) {
				t.Errorf("%d bytes, valid %v", len(got), utf8.ValidString(got))
			}
		}
		if a.At.IsZero() {
			t.Error("the act has no time")
		}
	}
}

func TestActsOfManyTasks(t *testing.T) {
	var r Acts
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 100 {
				r.Add(Act{At: noon, What: fmt.Sprint(i, j)})
				_ = r.Recent()
			}
		})
	}
	wg.Wait()
	if got := len(r.Recent()); got != actsKept {
		t.Errorf("%d acts", got)
	}
}

func TestSysctlActs(t *testing.T) {
	status := func(before, value sysctl.Value, outcome sysctl.Outcome) sysctl.Status {
		return sysctl.Status{
			Rule:   sysctl.Rule{Key: sysctl.MaxUserInstances, Op: sysctl.AtLeast, Want: 8192, Ceiling: sysctl.Unknown, Why: "shims share it"},
			Before: before, Value: value, Outcome: outcome, Changed: before != value, Reason: "reason",
		}
	}
	pass := func(all ...sysctl.Status) sysctl.PassResult { return sysctl.PassResult{Rules: all} }
	reported := status(1, 1, sysctl.Failed)
	reported.Op = sysctl.Report
	paused := pass(status(8192, 8192, sysctl.InForce))
	paused.Paused = "/run/nodetune/pause"
	for _, tt := range []struct {
		name       string
		prev, next sysctl.PassResult
		by         string
		want       string // KIND What (Why), "!" where it failed
	}{
		{"nothing", pass(), pass(), "", ""},
		{"in force", pass(), pass(status(8192, 8192, sysctl.InForce)), "", ""},
		{"the first pass raises", pass(), pass(status(128, 8192, sysctl.InForce)), "", "raise fs.inotify.max_user_instances: 128 → 8192 (shims share it)"},
		{"use raises", pass(status(8192, 8192, sysctl.InForce)), pass(status(8192, 16384, sysctl.InForce)), "", "raise fs.inotify.max_user_instances: 8192 → 16384 (shims share it)"},
		{"drift", pass(status(8192, 8192, sysctl.InForce)), pass(status(128, 8192, sysctl.InForce)), "", "undo_drift fs.inotify.max_user_instances: 128 → 8192 (another program had lowered it from 8192)"},
		{"drift whose writer was seen", pass(status(8192, 8192, sysctl.InForce)), pass(status(128, 8192, sysctl.InForce)), "lowered once by tuned[812]", "undo_drift fs.inotify.max_user_instances: 128 → 8192 (lowered once by tuned[812])"},
		{"it was too low before", pass(status(128, 128, sysctl.Drifted)), pass(status(128, 8192, sysctl.InForce)), "", "raise fs.inotify.max_user_instances: 128 → 8192 (shims share it)"},
		{"lowered on request", pass(status(9000, 9000, sysctl.Drifted)), pass(status(9000, 8192, sysctl.InForce)), "", "set fs.inotify.max_user_instances: 9000 → 8192 (shims share it)"},
		{"refused", pass(), pass(status(128, 128, sysctl.Refused)), "", "raise! could not set fs.inotify.max_user_instances to 8192; it is 128 (reason)"},
		{"still refused", pass(status(128, 128, sysctl.Refused)), pass(status(128, 128, sysctl.Refused)), "", ""},
		{"failed", pass(status(8192, 8192, sysctl.InForce)), pass(status(sysctl.Unknown, sysctl.Unknown, sysctl.Failed)), "", "raise! could not set fs.inotify.max_user_instances to 8192; it is unknown (reason)"},
		{"a key that is only reported", pass(), pass(reported), "", ""},
		{"drift that was not written", pass(), pass(status(128, 128, sysctl.Drifted)), "", ""},
		{"paused", pass(status(8192, 8192, sysctl.InForce)), paused, "", "pause paused: nodetune writes nothing (/run/nodetune/pause exists)"},
		{"still paused", paused, paused, "", ""},
		{"resumed", paused, pass(status(8192, 8192, sysctl.InForce)), "", "resume resumed (/run/nodetune/pause was removed)"},
	} {
		var got []string
		for _, a := range SysctlActs(tt.prev, tt.next, func(sysctl.Key) string { return tt.by }, noon) {
			got = append(got, actText(a))
			if !a.At.Equal(noon) || a.On == "" {
				t.Errorf("%s: %+v", tt.name, a)
			}
		}
		if s := strings.Join(got, "\n"); s != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, s, tt.want)
		}
	}
}

func actText(a Act) string {
	s := string(a.Kind)
	if a.Failed {
		s += "!"
	}
	return s + " " + a.What + " (" + a.Why + ")"
}

func TestLogAct(t *testing.T) {
	for _, tt := range []struct {
		a    logdir.Action
		want string
	}{
		{logdir.Action{Verb: logdir.ActionRotate, Path: "/var/log/a", Bytes: 2048, Reason: "larger than 1 KiB"}, "rotate /var/log/a: 2.0 KiB (larger than 1 KiB)"},
		{logdir.Action{Verb: logdir.ActionRotate, Path: "/var/log/a", Asked: "rsyslogd[7] by SIGHUP"}, "rotate /var/log/a: 0 B, asked rsyslogd[7] by SIGHUP ()"},
		{logdir.Action{Verb: logdir.ActionRemove, Path: "/var/log/a.1", Bytes: 2048, Unread: 1024, Reason: "space"}, "remove /var/log/a.1: 2.0 KiB, 1.0 KiB of it unread (space)"},
		{logdir.Action{Verb: logdir.ActionCompress, Path: "/var/log/a.1"}.WithError(errors.New("no space")), "compress! /var/log/a.1 (no space)"},
		{logdir.Action{Verb: logdir.ActionSkip, Path: "/var/log/a", Error: "is a link"}, "refuse! /var/log/a (is a link)"},
	} {
		if got := actText(LogAct(tt.a, noon)); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
