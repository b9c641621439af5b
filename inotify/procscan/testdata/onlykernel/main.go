// Command onlykernel asks the kernel itself who holds what, again and again, and
// prints what that took: the BPF source alone, without the rest of nodetune or of
// a test binary.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/inotify/bpf"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var took struct {
		Open, Walk, Table, Pass time.Duration // CPU time, of one each
		Instances               int64
		RSSAnonKiB              int64 // while both are open
	}
	s, err := inotify.NewScanner("/proc", "/sys", inotify.DefaultPolicy())
	if err != nil {
		return err
	}
	began := used()
	types := bpf.NewTypes()
	table, err := bpf.Open("/proc", types)
	if err != nil {
		return err
	}
	walk, err := bpf.OpenWalk("/proc", types)
	if err != nil {
		return err
	}
	types.Close()
	took.Open = used() - began
	s.SetLedger(table)
	s.SetHolders(walk)
	if took.Walk, err = each(20, func() error {
		_, err := walk.Holders()
		return err
	}); err != nil {
		return err
	}
	if took.Table, err = each(500, func() error {
		_, err := table.Accounts()
		return err
	}); err != nil {
		return err
	}
	if took.Pass, err = each(20, func() error {
		u, err := s.Usage(context.Background())
		took.Instances = u.Instances
		return err
	}); err != nil {
		return err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(status)) {
		if anon, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			if _, err := fmt.Sscan(anon, &took.RSSAnonKiB); err != nil {
				return err
			}
		}
	}
	return json.NewEncoder(os.Stdout).Encode(took)
}

// each returns what one of n calls takes, after a first one.
func each(n int, f func() error) (time.Duration, error) {
	if err := f(); err != nil {
		return 0, err
	}
	began := used()
	for range n {
		if err := f(); err != nil {
			return 0, err
		}
	}
	return (used() - began) / time.Duration(n), nil
}

func used() time.Duration {
	var r unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &r) // cannot fail with this argument
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
