// Command onlyscan makes ten passes and prints how much memory that took: the
// scanner alone, without the rest of nodetune or of a test binary.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/nodetune/nodetune/inotify"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	p := inotify.DefaultPolicy()
	p.CountPercent, p.MaxReadWatches = 100, 1<<30
	s, err := inotify.NewScanner("/proc", "/sys", p)
	if err != nil {
		return err
	}
	for range 10 {
		if _, err := s.Usage(context.Background()); err != nil {
			return err
		}
	}
	// VmHWM of proc_pid_status(5); ru_maxrss would count the parent process, too.
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(status)) {
		if hwm, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			_, err = fmt.Fprintln(os.Stdout, strings.TrimSuffix(strings.TrimSpace(hwm), " kB"))
		}
	}
	return err
}
