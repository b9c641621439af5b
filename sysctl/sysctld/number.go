package sysctld

import (
	"math"
	"strconv"
	"strings"
)

// takes reports whether the kernel would take value for the one number that
// path holds: proc_get_long in kernel/sysctl.c reads the first word as decimal,
// 0x hexadecimal or 0 octal and leaves what follows a blank.
func takes(path, value string) bool {
	words := strings.Fields(value)
	if len(words) == 0 {
		return false
	}
	digits, base := strings.ToLower(words[0]), 10
	if hex, ok := strings.CutPrefix(digits, "0x"); ok {
		digits, base = hex, 16
	} else if len(digits) > 1 && digits[0] == '0' {
		base = 8
	}
	n, err := strconv.ParseUint(digits, base, 64)
	return err == nil && n <= most(path)
}

// most is the largest value of path. The limits of inotify are ints
// (fs/notify/inotify/inotify_user.c), as are their twins below user/ and
// fs.nr_open; the other keys nodetune knows are longs.
func most(path string) uint64 {
	if strings.HasPrefix(path, "fs/inotify/") || strings.HasPrefix(path, "user/") || path == "fs/nr_open" {
		return math.MaxInt32
	}
	return math.MaxInt64
}
