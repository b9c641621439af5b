package sysctld

import (
	"math"
	"strconv"
	"strings"

	"github.com/nodetune/nodetune/sysctl"
)

// takes reports whether the kernel would accept value for the one number that
// path holds: proc_get_long in kernel/sysctl.c reads the first word as decimal,
// 0x hexadecimal or 0 octal and ignores the rest after a blank.
func takes(path, value string) bool {
	n := number(value)
	return n.Known() && n <= most(path)
}

// number is value as the kernel reads it; unknown where it is no number.
func number(value string) sysctl.Value {
	value = strings.TrimLeft(value, " \t\n\v\f\r") // skip_spaces
	// Only these may stand behind a number: proc_wspace_sep.
	if end := strings.IndexAny(value, " \t\n"); end >= 0 {
		value = value[:end]
	}
	digits, base := strings.ToLower(value), 10
	if hex, ok := strings.CutPrefix(digits, "0x"); ok {
		digits, base = hex, 16
	} else if len(digits) > 1 && digits[0] == '0' {
		base = 8
	}
	n, err := strconv.ParseUint(digits, base, 63)
	if err != nil {
		return sysctl.Unknown
	}
	return sysctl.Value(n)
}

// Number is the value of s as the kernel reads it; unknown where it is no number.
func (s Setting) Number() sysctl.Value { return number(s.Value) }

// most is the largest value of path. The limits of inotify are ints
// (fs/notify/inotify/inotify_user.c), as are their twins below user/ and
// fs.nr_open; the other keys nodetune knows are longs.
func most(path string) sysctl.Value {
	if strings.HasPrefix(path, "fs/inotify/") || strings.HasPrefix(path, "user/") || path == "fs/nr_open" {
		return math.MaxInt32
	}
	return math.MaxInt64
}
