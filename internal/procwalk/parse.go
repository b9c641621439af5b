package procwalk

import (
	"bytes"
	"errors"
	"strconv"
)

var errFormat = errors.New("not the format of proc(5)")

// parseStat reads PID/stat, proc_pid_stat(5). The name of the program is what
// stands between the first '(' and the last ')': it is not escaped there and
// may hold blanks, newlines and parentheses.
func parseStat(b []byte, st *Stat) error {
	left, right := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if left < 0 || right < left {
		return errFormat
	}
	const tty, flags, utime, stime, starttime = 7, 9, 14, 15, 22
	st.CPUTicks = 0
	field := 2
	for rest := b[right+1:]; len(rest) > 0; {
		for len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\n') {
			rest = rest[1:]
		}
		end := bytes.IndexByte(rest, ' ')
		if end < 0 {
			end = len(rest)
		}
		field++
		switch field {
		case tty:
			st.Terminal = string(rest[:end]) != "0" // tty_nr, which may be negative
		case flags, utime, stime, starttime:
			n, ok := parseUint(bytes.TrimRight(rest[:end], "\n"))
			if !ok {
				return errFormat
			}
			switch field {
			case flags:
				const pfKthread = 0x00200000 // include/linux/sched.h
				st.KernelThread = n&pfKthread != 0
			case utime, stime:
				st.CPUTicks += n
			case starttime:
				st.Start = n
				st.commLen = copy(st.comm[:], b[left+1:right])
				return nil
			}
		}
		rest = rest[end:]
	}
	return errFormat
}

// UIDs are the user ids of a process as proc_pid_status(5) prints them, seen
// from the user namespace of the reader. inotify charges the effective one.
type UIDs struct{ Real, Effective, Saved, FS uint32 }

// parseUIDs reads the Uid line of PID/status. The Name line before it is
// escaped by the kernel, so a program cannot print a line of its own here.
func parseUIDs(b []byte) (UIDs, error) {
	line, ok := lineAfter(b, "Uid:")
	if !ok {
		return UIDs{}, errFormat
	}
	var ids [4]uint32
	for i := range ids {
		line = bytes.TrimLeft(line, "\t ")
		end := bytes.IndexAny(line, "\t ")
		if end < 0 {
			end = len(line)
		}
		n, ok := parseUint(line[:end])
		if !ok || n > 1<<32-1 {
			return UIDs{}, errFormat
		}
		ids[i] = uint32(n)
		line = line[end:]
	}
	return UIDs{Real: ids[0], Effective: ids[1], Saved: ids[2], FS: ids[3]}, nil
}

// Unlimited is RLIM_INFINITY, getrlimit(2).
const Unlimited = ^uint64(0)

// parseNOFILE reads the "Max open files" line of PID/limits, proc_pid_limits(5).
func parseNOFILE(b []byte) (soft, hard uint64, err error) {
	line, ok := lineAfter(b, "Max open files")
	if !ok {
		return 0, 0, errFormat
	}
	var v [2]uint64
	for i := range v {
		line = bytes.TrimLeft(line, " ")
		end := bytes.IndexByte(line, ' ')
		if end < 0 {
			end = len(line)
		}
		if n, ok := parseUint(line[:end]); ok {
			v[i] = n
		} else if string(line[:end]) == "unlimited" {
			v[i] = Unlimited
		} else {
			return 0, 0, errFormat
		}
		line = line[end:]
	}
	return v[0], v[1], nil
}

// parseCgroup returns the path in PID/cgroup (cgroups(7)) that says most about
// where the process belongs: that of the v2 hierarchy, or, where a process is
// in its root as on a node with v1, that of the memory controller, then of any
// other. The path stays valid as long as b.
func parseCgroup(b []byte) []byte {
	var best []byte
	rank := 0
	for len(b) > 0 {
		line := b
		if end := bytes.IndexByte(b, '\n'); end >= 0 {
			line, b = b[:end], b[end+1:]
		} else {
			b = nil
		}
		_, rest, ok := bytes.Cut(line, colon)
		controllers, path, ok2 := bytes.Cut(rest, colon)
		if !ok || !ok2 || len(path) == 0 || path[0] != '/' {
			continue
		}
		r := 1
		switch {
		case len(path) == 1:
		case len(controllers) == 0:
			r = 5
		case string(controllers) == "memory":
			r = 4
		case string(controllers) == "name=systemd":
			r = 3
		default:
			r = 2
		}
		if r > rank {
			best, rank = path, r
		}
	}
	return best
}

var colon = []byte(":")

// parseNSPids returns how many pid namespaces the NSpid line of PID/status
// lists: one for the namespace of that procfs and one for each below it, down
// to the one of the process (since Linux 4.1).
func parseNSPids(b []byte) int {
	line, _ := lineAfter(b, "NSpid:")
	return len(bytes.Fields(line))
}

// parseUserNS reads the target of PID/ns/user, user:[4026531837].
func parseUserNS(target []byte) (uint64, error) {
	inum, ok := bytes.CutPrefix(target, []byte("user:["))
	inum, ok2 := bytes.CutSuffix(inum, []byte("]"))
	n, ok3 := parseUint(inum)
	if !ok || !ok2 || !ok3 {
		return 0, errFormat
	}
	return n, nil
}

// lineAfter returns the rest of the first line that begins with prefix.
func lineAfter(b []byte, prefix string) ([]byte, bool) {
	for len(b) > 0 {
		line := b
		if end := bytes.IndexByte(b, '\n'); end >= 0 {
			line, b = b[:end], b[end+1:]
		} else {
			b = nil
		}
		if len(line) >= len(prefix) && string(line[:len(prefix)]) == prefix {
			return line[len(prefix):], true
		}
	}
	return nil, false
}

// parseUint is strconv.ParseUint without its string and its error.
func parseUint(b []byte) (n uint64, ok bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' || n > (1<<64-1)/10 {
			return 0, false
		}
		m := n*10 + uint64(c-'0')
		if m < n*10 {
			return 0, false
		}
		n = m
	}
	return n, true
}

// appendPID appends pid as the NUL-terminated name of its directory.
func appendPID(b []byte, pid int) []byte {
	return append(strconv.AppendInt(b, int64(pid), 10), 0)
}
