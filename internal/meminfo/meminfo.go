// Package meminfo reads one line of <procfs>/meminfo, proc_meminfo(5). It needs no
// capability. Meminfo of prometheus/procfs does not serve: v0.22 panics on a blank line,
// and one line that it does not know fails the whole file.
package meminfo

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Lines of the file.
const (
	Total     = "MemTotal"
	Available = "MemAvailable" // since Linux 3.14
)

// Read returns a line of the file in bytes.
func Read(procfs, name string) (int64, error) {
	f, err := os.Open(filepath.Join(procfs, "meminfo"))
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	n, err := parse(f, name)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return n, nil
}

// parse returns the line name in bytes, which is above 0. The bound of 64 KiB only keeps
// a wrong file from being read to its end.
func parse(r io.Reader, name string) (int64, error) {
	lines := bufio.NewScanner(io.LimitReader(r, 64<<10))
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name+":")
		if !ok {
			continue
		}
		kib, ok := strings.CutSuffix(strings.TrimSpace(rest), " kB")
		n, err := strconv.ParseInt(strings.TrimSpace(kib), 10, 64)
		if !ok || err != nil || n <= 0 || n > 1<<52 {
			return 0, fmt.Errorf("%s is %.40q, want a number of kB", name, rest)
		}
		return n << 10, nil
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, errors.New("it has no line " + name)
}
