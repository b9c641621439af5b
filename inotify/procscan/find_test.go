package procscan

import (
	"testing"

	"github.com/nodetune/nodetune/internal/workload"
)

func TestMatches(t *testing.T) {
	pod := ProcessName{PID: 5, Comm: "containerd-shim", Workload: workload.Workload{Namespace: "logging", Pod: "fluent-bit-x7k2p", Container: "main", PodUID: "u"}}
	unit := ProcessName{PID: 6, Comm: "rsyslogd", Workload: workload.Workload{Unit: "rsyslog.service"}}
	for _, c := range []struct {
		n                 ProcessName
		name              string
		goesBy, resembles bool
	}{
		{pod, "containerd-shim", true, true},
		{pod, "containerd-shim-runc-v2", true, false},
		{pod, "containerd", false, true},
		{pod, "fluent-bit-x7k2p", true, true},
		{pod, "logging/fluent-bit-x7k2p", true, true},
		{pod, "logging/fluent-bit-x7k2p:main", true, true},
		{pod, "fluent-bit-x7k2p:main", true, true},
		{pod, "fluent-bit-x7k2p:other", false, false},
		{pod, "default/fluent-bit-x7k2p", false, false},
		{pod, "fluent-bit", false, true},
		{pod, "/", false, true},
		{unit, "rsyslog", true, true},
		{unit, "rsyslog.service", true, true},
		{unit, "syslog", false, true},
		{unit, "/", false, false},
		{unit, ":", false, false},
	} {
		if got := c.n.matches(c.name); got != c.goesBy {
			t.Errorf("%q matches %q: %v", c.n.Comm, c.name, got)
		}
		if got := c.n.resembles(c.name); got != c.resembles {
			t.Errorf("%q resembles %q: %v", c.n.Comm, c.name, got)
		}
	}
}

func TestWithoutSandboxes(t *testing.T) {
	pause := ProcessName{PID: 1, Workload: workload.Workload{PodUID: "a", Pod: "a"}}
	main := ProcessName{PID: 2, Workload: workload.Workload{PodUID: "a", Pod: "a", Container: "c"}}
	alone := ProcessName{PID: 3, Workload: workload.Workload{PodUID: "b", Pod: "b"}}
	got := withoutSandboxes([]ProcessName{pause, main, alone})
	if len(got) != 2 || got[0].PID != 2 || got[1].PID != 3 {
		t.Errorf("got %+v", got)
	}
}

func TestLowestFree(t *testing.T) {
	for _, c := range []struct {
		fds  []int
		want int64
	}{{nil, 0}, {[]int{0, 1, 2}, 3}, {[]int{1, 2}, 0}, {[]int{0, 1, 3}, 2}, {[]int{0, 1024}, 1}} {
		if got := lowestFree(c.fds); got != c.want {
			t.Errorf("lowestFree(%v) = %d, want %d", c.fds, got, c.want)
		}
	}
}

func TestHasCapability(t *testing.T) {
	for _, c := range []struct {
		status string
		want   bool
	}{
		{"Name:\tx\nCapEff:\t0000000000200000\n", true},
		{"CapPrm:\t0000000000200000\nCapEff:\t0000000000000000\n", false},
		{"CapEff:\tzz\n", false},
		{"", false},
	} {
		if got := hasCapability([]byte(c.status), 21); got != c.want { // CAP_SYS_ADMIN
			t.Errorf("%q: %v", c.status, got)
		}
	}
}
